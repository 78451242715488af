"""Bundles as earlier versions wrote them still verify: `released/` keeps one for each version of the manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exporter import diff
from exporter.bundle import rewrite_reports, verify
from exporter.manifest import SCHEMA
from exporter.manifest_file import load
from exporter.passing import passing
from tests.manifest_schema import undescribed

RELEASED = sorted((Path(__file__).parent / "released").iterdir())


@pytest.mark.parametrize("bundle", RELEASED, ids=lambda path: path.name)
def test_it_verifies(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    assert verify(copy) == []
    manifest = load(copy / "manifest.json")
    assert manifest.artifacts
    assert diff(copy, copy).regressions == ()
    assert rewrite_reports(copy).schema_version == SCHEMA, "what is written again is written as the newest"
    assert verify(copy) == []
    again = load(copy / "manifest.json")
    assert (again.passing, again.content_digest) == (passing(manifest), manifest.content_digest)
    assert undescribed(again.to_document()) == []
    (copy / "golden.npz").write_bytes(b"x")
    assert [problem.path for problem in verify(copy)] == ["golden.npz"]
