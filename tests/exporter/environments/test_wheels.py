"""Wheels for another processor, by pip."""

from __future__ import annotations

import hashlib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from converters.errors import StepError
from exporter.environments import wheels
from exporter.environments.wheels import Interpreter, installed, versions_here

DEBIAN_12 = Interpreter((3, 11), (2, 36), "aarch64")


def test_a_newer_c_library_takes_older_wheels_and_no_newer_ones() -> None:
    platforms = DEBIAN_12.platforms
    assert platforms[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_17_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64", "any"} <= set(platforms)
    assert "manylinux_2_39_aarch64" not in platforms


def test_the_versions_are_those_that_are_installed_here() -> None:
    names = {"numpy": ("numpy",), "ai-edge-litert": ("no-such-distribution", "ai-edge-litert")}
    assert versions_here(names) == {"numpy": version("numpy"), "ai-edge-litert": version("ai-edge-litert")}
    with pytest.raises(StepError, match="nothing-of-the-sort is not installed here"):
        versions_here({"nothing-of-the-sort": ("nothing-of-the-sort",)})


def test_a_wheel_for_that_processor_is_unpacked_and_its_digest_told(tmp_path: Path) -> None:
    wheel = tmp_path / "shelf" / "thing-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    wheel.parent.mkdir()
    info = "thing-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("thing.py", "x = 1\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_28_aarch64\n"
        )
        file.writestr(f"{info}/RECORD", f"thing.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    told = installed({"thing": "1.0"}, DEBIAN_12, tmp_path / "site", wheel.parent)
    assert told == [{"name": wheel.name, "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    assert (tmp_path / "site" / "thing.py").is_file()
    with pytest.raises(StepError, match=r"aarch64 wheels of thing 2.0 failed: .*No matching distribution"):
        installed({"thing": "2.0"}, DEBIAN_12, tmp_path / "site", wheel.parent)


def test_without_pip_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "find_spec", lambda _name: None)
    with pytest.raises(StepError, match="pip is not here") as error:
        installed({"thing": "1.0"}, DEBIAN_12, tmp_path, None)
    assert "ensurepip" in error.value.next_step
