"""onnxruntime-web installed for the target browser: held to its digest, tried, and made of its own parts alone."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from converters.errors import IntegrityError, StepError, UsageError
from exporter.cli.main import run
from exporter.doctor.checks import PROBES, try_runtime
from exporter.environments import browser
from exporter.environments.installing import install
from exporter.environments.request import Request
from validate.runtimes import DeviceUnavailableError
from validate.runtimes.browser import chromium
from validate.targets.browser import PACKAGE
from validate.targets.environment import environment_of

from ...tools import npm_package, program


def archive(folder: Path, monkeypatch: pytest.MonkeyPatch, *, without: str = "") -> Path:
    """The package as npm packs it, with a hostile member, and known to edgeport."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for part in browser._PARTS:
            if part != without:
                tar.add(npm_package(PACKAGE) / part, f"package/{part}")
        tar.addfile(tarfile.TarInfo("package/../../../escaped"))
    path = folder / "given.tgz"
    path.write_bytes(gzip.compress(buffer.getvalue(), 0))
    known = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    monkeypatch.setattr(browser, "INTEGRITY", f"sha512-{known}")
    return path


@pytest.fixture(autouse=True)
def _browser() -> None:
    program("chromium", "chromium-browser", "google-chrome")


def test_it_is_tried_and_doctor_finds_it(own_targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = archive(tmp_path, monkeypatch)
    assert run(["target", "install", "browser", "--npm-archive", str(given)]) == 0
    environment = environment_of("browser")
    assert environment is not None
    assert environment.versions == {PACKAGE: browser.VERSION}
    assert environment.files[0]["sha256"] == hashlib.sha256(given.read_bytes()).hexdigest()
    assert not (own_targets.parent / "escaped").exists()
    probe = next(probe for probe in PROBES if probe.device == "browser")
    state = try_runtime(probe)
    assert (state.ok, state.version) == (True, browser.VERSION), state.reason
    assert run(["target", "remove", "browser"]) == 0
    assert environment_of("browser") is None
    assert try_runtime(probe).mend == "Run `edgeport target install browser`."


def test_another_archive_is_refused_and_nothing_is_installed(
    own_targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = archive(tmp_path, monkeypatch, without="dist/ort.wasm.min.mjs")
    with pytest.raises(IntegrityError, match="lacks files"):
        install("browser", Request(npm_archive=given))
    given.write_bytes(given.read_bytes() + b"x")
    with pytest.raises(IntegrityError, match="its SHA-512 is another"):
        install("browser", Request(npm_archive=given))
    assert given.exists()
    assert environment_of("browser") is None


def test_one_that_was_fetched_wrongly_is_fetched_anew(own_targets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = own_targets / ".browser.downloads" / browser._ARCHIVE
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"half")
    with pytest.raises(IntegrityError, match="its SHA-512 is another"):
        install("browser")
    assert not fetched.exists()


def test_without_a_browser_nothing_is_fetched(own_targets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chromium.VARIABLE, "/nowhere")
    monkeypatch.setattr(browser, "_fetched", pytest.fail)
    with pytest.raises(DeviceUnavailableError, match="which is no program"):
        install("browser")


def test_the_registry_is_npms(own_targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepError, match="npm is not here") as error:
        browser.registry_of({})
    assert "--npm-archive FILE" in error.value.next_step
    assert (
        browser.registry_of({"NPM_CONFIG_REGISTRY": "https://mine/npm/", "npm_config_registry": ""})
        == "https://mine/npm"
    )
    with pytest.raises(UsageError, match="--registry has to be an address"):
        Request(registry="--global")
    monkeypatch.setattr(browser.shutil, "which", lambda _name: None)
    with pytest.raises(UsageError, match="https:// alone"):
        browser._fetched(tmp_path, "http://mine/npm")
