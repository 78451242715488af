"""Packages of Python for another processor: pip picks the wheels, holds each to its index's digest and unpacks them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from converters.errors import StepError
from exporter.environments.commands import STEP, carried_out


@dataclass(frozen=True)
class Interpreter:
    """The Python that the packages are for: its version, and that of its C library, both as major and minor."""

    python: tuple[int, int]
    libc: tuple[int, int]
    machine: str

    @property
    def platforms(self) -> list[str]:
        """The tags of wheels that it takes, the newest C library first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.libc[1], 16, -1)]
        return [*names, f"manylinux2014_{self.machine}", "any"]


def versions_here(distributions: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """By package to install, the version that is installed here, maybe by another name of the same.

    Raises:
        StepError: none of the names is installed.
    """
    found = {}
    for package, names in distributions.items():
        found[package] = next((told for name in names if (told := _version(name))), "")
        if not found[package]:
            raise StepError(
                f"{package} is not installed here, so there is no telling which version is wanted there.",
                next_step=f"Run `pip install {package}`.",
                step=STEP,
            )
    return found


def installed(
    packages: Mapping[str, str], python: Interpreter, folder: Path, wheels: Path | None
) -> list[dict[str, str]]:
    """Puts packages of these versions into a folder and nothing that they depend on: `{name, sha256}` of each wheel.

    Args:
        wheels: takes them from this folder alone.
    """
    if find_spec("pip") is None:
        raise StepError(
            "pip is not here, which picks the wheels.",
            next_step=f"Run `{sys.executable} -m ensurepip`, or install pip with what made this environment.",
            step=STEP,
        )
    report = folder.with_name("pip.json")
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"),
        *("--no-compile", "--only-binary", ":all:", "--implementation", "cp", "--target", str(folder)),
        *("--python-version", ".".join(map(str, python.python)), "--report", str(report)),
        *(word for platform in python.platforms for word in ("--platform", platform)),
        *(("--no-index", "--find-links", str(wheels)) if wheels else ()),
        *(f"{name}=={number}" for name, number in packages.items()),
    ]
    carried_out(
        command,
        f"Fetching the {python.machine} wheels of {', '.join(f'{n} {v}' for n, v in packages.items())}",
        "Run the same command again. Where there is no such wheel, install a version here that has one.",
    )
    items = json.loads(report.read_text())["install"]
    report.unlink()
    return [_digest(item["download_info"]) for item in items]


def _digest(info: Mapping[str, object]) -> dict[str, str]:
    archive = info["archive_info"]
    assert isinstance(archive, dict)
    return {"name": re.split(r"[/#?]", str(info["url"]))[-1], "sha256": str(archive["hashes"]["sha256"])}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
