"""Environments of targets in tests: made once into a folder that later sessions find too, or the test is skipped."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

from converters.errors import StepError
from validate.targets.browser import PACKAGE
from validate.targets.environment import RECORD, Environment, environment_of

from .tools import npm_package, program

NONE = Path(__file__).parents[1] / "build" / "no_targets"
"""What EDGEPORT_TARGETS names in tests, so that what is installed on a machine changes none of them."""

_SHARED = Path(__file__).parents[1] / "build" / "targets"


@pytest.fixture(scope="session")
def shared_targets() -> Path:
    """The folder with the target arm64 in it: about 30 s and 250 MB, the first time."""
    if platform.machine() != "x86_64":
        pytest.skip("needs a processor that QEMU is fetched for: x86-64")
    for name in ("bwrap", "gpgv", "apt-get", "dpkg-deb"):
        program(name)
    _SHARED.parent.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, FileLock(_SHARED.with_suffix(".lock")):
        patch.setenv("EDGEPORT_TARGETS", str(_SHARED))
        if not _fits(environment_of("arm64")):
            from exporter.environments.installing import install

            try:
                install("arm64")
            except StepError as error:
                pytest.skip(f"needs the packages of the target arm64: {error.message}")
    return _SHARED


@pytest.fixture
def arm64(shared_targets: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """The target arm64, installed."""
    monkeypatch.setenv("EDGEPORT_TARGETS", str(shared_targets))
    environment = environment_of("arm64")
    assert environment is not None
    return environment


@pytest.fixture(scope="session")
def with_qnn() -> Iterator[Environment]:
    """The target qnn, installed: about 20 s and 400 MB, the first time. For slow tests."""
    with pytest.MonkeyPatch.context() as patch, FileLock(_SHARED.with_suffix(".lock")):
        patch.setenv("EDGEPORT_TARGETS", str(_SHARED))
        if environment_of("qnn") is None:
            from exporter.environments.installing import install

            install("qnn")
        environment = environment_of("qnn")
        assert environment is not None
        yield environment


@pytest.fixture(scope="session")
def browser_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the target browser in it, made of the npm package that tests have."""
    program("chromium", "chromium-browser", "google-chrome")
    package, folder = npm_package(PACKAGE), tmp_path_factory.mktemp("targets")
    (folder / "browser").mkdir()
    (folder / "browser" / PACKAGE).symlink_to(package)
    versions = {PACKAGE: str(json.loads((package / "package.json").read_text())["version"])}
    (folder / "browser" / RECORD).write_text(json.dumps(Environment(folder / "browser", "", versions).to_json()))
    return folder


@pytest.fixture
def with_browser(browser_package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The target browser, installed: the folder of onnxruntime-web."""
    monkeypatch.setenv("EDGEPORT_TARGETS", str(browser_package))
    return browser_package / "browser" / PACKAGE


@pytest.fixture
def own_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for environments of this test alone."""
    folder = tmp_path / "targets"
    monkeypatch.setenv("EDGEPORT_TARGETS", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _fits(environment: Environment | None) -> bool:
    """Whether it has the versions that are installed here."""
    names = ("numpy", "ai-edge-litert")
    return environment is not None and all(environment.versions.get(name) == version(name) for name in names)
