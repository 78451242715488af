from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.bundle import staged
from exporter.cli import hook

ROOT = Path(__file__).parents[3]


@pytest.fixture
def repository(
    tmp_path: Path, sample_document: dict[str, Any], fill_bundle: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A checkpoint with a bundle that was made from it and passes."""
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    Path("model/digits.keras").write_bytes(b"weights")
    document = copy.deepcopy(sample_document)
    document["failures"] = []
    document["source"] |= {"path": "model/digits.keras", "sha256": hashlib.sha256(b"weights").hexdigest()}
    with staged(Path("bundle")) as staging:
        fill_bundle(staging, document)
    return tmp_path


def test_a_bundle_that_fits_its_checkpoint_may_be_committed(repository: Path) -> None:
    assert hook.main(["model/digits.keras", "bundle/manifest.json", "bundle/digits.float32.onnx"]) == 0


def test_a_new_checkpoint_wants_a_new_bundle(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model/digits.keras").write_bytes(b"other weights")
    assert hook.main(["model/digits.keras"]) == 1
    assert "edgeport run model/digits.keras -o bundle" in capsys.readouterr().out


def test_an_edited_bundle_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bundle/report.md").write_text("all is well")
    assert hook.main(["bundle/report.md"]) == 1
    assert "report.md is changed" in capsys.readouterr().out


def test_a_bundle_that_fails_its_gates_is_refused(
    repository: Path,
    sample_document: dict[str, Any],
    fill_bundle: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    sample_document["verdicts"][0]["status"] = "disagree"
    with staged(Path("bundle")) as staging:
        fill_bundle(staging, sample_document)
    assert hook.main(["bundle/manifest.json"]) == 1
    assert "does not pass its gates" in capsys.readouterr().out


def test_foreign_manifests_are_none_of_its_business(repository: Path) -> None:
    Path("app").mkdir()
    Path("app/manifest.json").write_text('{"name": "an extension"}')
    assert hook.main(["app/manifest.json", "model/digits.keras"]) == 0


def test_the_hook_s_pattern_takes_what_a_bundle_holds() -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text()
    found = re.search(r"files: '(.*)'", text)
    assert found
    for name in ("model/x.keras", "b/manifest.json", "b/x.int8.tflite", "b/x.savedmodel/variables/variables.index"):
        assert re.search(found[1], name), name
    assert not re.search(found[1], "src/main.py")
