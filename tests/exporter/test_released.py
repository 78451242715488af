"""Bundles as earlier versions wrote them still verify: `released/` keeps one for each version of the manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exporter.bundle import verify
from exporter.manifest_file import load

RELEASED = sorted((Path(__file__).parent / "released").iterdir())


@pytest.mark.parametrize("bundle", RELEASED, ids=lambda path: path.name)
def test_it_verifies(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    assert verify(copy) == []
    assert load(copy / "manifest.json").artifacts
    (copy / "golden.npz").write_bytes(b"x")
    assert [problem.path for problem in verify(copy)] == ["golden.npz"]
