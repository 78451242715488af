"""Bundles as earlier versions wrote them still verify: `released/` keeps one for each version of the manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from exporter import diff
from exporter.bundle import rewrite_reports, verify
from exporter.cli.main import run
from exporter.manifest.passing import passing
from exporter.manifest.reader import load
from exporter.manifest.schema import SCHEMA
from tests.manifest_schema import PUBLISHED

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
    jsonschema.validate(again.to_document(), json.loads(PUBLISHED.read_text()))
    (copy / "golden.npz").write_bytes(b"x")
    assert [problem.path for problem in verify(copy)] == ["golden.npz"]


@pytest.mark.parametrize("bundle", RELEASED, ids=lambda path: path.name)
@pytest.mark.parametrize("command", ["verify", "report", "diff"])
def test_an_older_one_is_told_of_once(
    bundle: Path, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    newest = json.loads((copy / "manifest.json").read_text())["schema"] == SCHEMA
    folders = [str(copy)] if command != "diff" else [str(copy), str(copy)]
    assert run([command, *folders]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("older edgeport") == (0 if newest else len(folders))


def test_a_version_that_is_not_known_is_exit_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(RELEASED[0], copy)
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace("edgeport.manifest/1", "edgeport.manifest/9"))
    assert run(["verify", str(copy)]) == 8
    assert "edgeport.manifest/9" in capsys.readouterr().err
