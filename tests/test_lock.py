"""The locks are closed: what each locked package requires, and what pyproject.toml asks for, is met inside them.

Requirements are read from the metadata of the installed packages, markers and extras are evaluated for each Python that
edgeport supports. Where a package has one version for older Pythons and another for newer ones, the metadata of the
version that is installed stands for both; the other's is read when the tests run on a Python that installs it.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from converters.compat.patch import parts_in

ROOT = Path(__file__).parent.parent
RUN, DEV = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
PYTHONS = ("3.11.0", "3.11.14", "3.12.0", "3.13.0")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="the locks are for Linux x86-64"
)


def environment(python: str) -> dict[str, str]:
    """The markers' values on that Python."""
    here = {key: str(value) for key, value in default_environment().items()}
    return {**here, "python_full_version": python, "python_version": python.rpartition(".")[0], "extra": ""}


def locked(*locks: Path) -> list[Requirement]:
    lines = [line for lock in locks for line in lock.read_text().splitlines() if re.match(r"[\w.-]+==", line)]
    return [Requirement(line.removesuffix("\\").strip()) for line in lines]


def pins(packages: list[Requirement], python: str) -> dict[str, Version]:
    """The version of each package which that Python installs."""
    chosen = [one for one in packages if one.marker is None or one.marker.evaluate(environment(python))]
    versions = {one.name: Version(next(iter(one.specifier)).version) for one in chosen}
    assert len(versions) == len(chosen), "a package is locked twice for one Python"
    return versions


def unmet(asked: list[str], versions: dict[str, Version], python: str) -> list[str]:
    """What is missing or of the wrong version for `asked` and, in turn, for what that brings."""
    markers, missing = environment(python), []
    waiting = [("pyproject.toml", Requirement(text), "") for text in asked]
    seen: set[tuple[str, str]] = set()
    while waiting:
        asker, wanted, extra = waiting.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({**markers, "extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        if name not in versions or not wanted.specifier.contains(versions[name], prereleases=True):
            missing.append(f"{asker} wants {wanted}, locked is {versions.get(name)}")
            continue
        for needed in {"", *wanted.extras}:
            if (name, needed) not in seen:
                seen.add((name, needed))
                requires = metadata.requires(name) or []
                waiting += [(name, Requirement(text), needed) for text in requires]
    reached = {name for name, _ in seen}
    return missing + [f"nothing wants {name}" for name in versions if not missing and name not in reached]


@pytest.mark.parametrize("python", PYTHONS)
def test_what_runs_is_closed(python: str) -> None:
    assert unmet(PROJECT["dependencies"], pins(locked(RUN), python), python) == []


@pytest.mark.parametrize("python", PYTHONS)
def test_what_develops_is_closed(python: str) -> None:
    asked = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert unmet(asked, pins(locked(RUN, DEV), python), python) == []


def test_no_package_is_for_some_pythons_alone() -> None:
    """Else its metadata would be read on those alone, and a hole behind it be seen there alone."""
    names = [set(pins(locked(RUN, DEV), python)) for python in PYTHONS]
    assert all(one == names[0] for one in names)


def test_the_second_lock_only_adds() -> None:
    assert {one.name for one in locked(RUN)} & {one.name for one in locked(DEV)} == set()


@pytest.mark.parametrize("name", ["flatbuffers", "wheel", "numpy", "markdown-it-py"])
def test_a_hole_is_found(name: str) -> None:
    versions = pins(locked(RUN), PYTHONS[0])
    del versions[name]
    assert any(f"wants {name}" in line for line in unmet(PROJECT["dependencies"], versions, PYTHONS[0]))


def test_a_version_that_does_not_fit_is_found() -> None:
    versions = {**pins(locked(RUN), PYTHONS[0]), "typing-extensions": Version("3.0")}
    assert any("locked is 3.0" in line for line in unmet(PROJECT["dependencies"], versions, PYTHONS[0]))


def test_what_is_installed_is_what_is_locked() -> None:
    here = pins(locked(RUN, DEV), platform.python_version())
    assert {name: Version(metadata.version(name)) for name in here} == here


def test_pip_finds_nothing_broken() -> None:
    ran = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "No broken requirements found.")


def test_no_index_is_named_and_every_package_has_hashes() -> None:
    for lock in (RUN, DEV):
        text = lock.read_text()
        assert "://" not in text
        assert "--index" not in text
        entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
        assert len(entries) == len(locked(lock))
        assert all("--hash=sha256:" in entry for entry in entries)


def test_a_library_whose_parts_are_used_has_an_upper_bound() -> None:
    """Nobody promised to keep them: a release that does not is not taken before it was tried."""
    libraries = {part.library for part in parts_in("converters.compat", "validate.compat")}
    bounded = {
        canonicalize_name(one.name).removesuffix("-gpu")
        for one in map(Requirement, PROJECT["dependencies"])
        if any(bound.operator == "<" for bound in one.specifier)
    }
    assert len(libraries) > 3
    assert {canonicalize_name(library) for library in libraries} <= bounded
