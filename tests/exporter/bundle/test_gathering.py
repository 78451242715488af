"""What a report draws is read from the bundle, and only where its digest is the manifest's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import UsageError
from exporter.bundle import finish, read_answers, rewrite_reports, staged, verify, write_answers
from exporter.bundle.sealing import gather
from exporter.manifest.reader import load
from exporter.manifest.schema import MANIFEST

ONNX = "digits.float32.onnx"
SAMPLES = f"latency/{ONNX}.cpu.t2.b1.npy"


@pytest.fixture
def full(tmp_path: Path, sample_document: dict[str, Any], fill_bundle: Callable[..., Any]) -> Path:
    """A bundle with raw samples of one timing and the answers of one artifact."""
    with staged(tmp_path / "full") as staging:
        manifest = fill_bundle(staging, sample_document)
        rounds = np.repeat(np.arange(30), 4)
        nanoseconds = np.linspace(100_000, 200_000, 120).astype(np.int64)
        np.save(staging / SAMPLES, np.stack([rounds, nanoseconds], axis=1))
        write_answers(staging / "answers.npz", {ONNX: {"digit": np.eye(10, dtype=np.float32)[:4]}})
        finish(staging, manifest)
    return tmp_path / "full"


def gathered(folder: Path) -> Any:
    manifest = load(folder / MANIFEST)
    return gather(folder, manifest, {row.path: row for row in manifest.files})


def test_samples_answers_and_golden_vectors_are_found(full: Path) -> None:
    found = gathered(full)
    assert set(found.inputs) == {"image"}
    np.testing.assert_array_equal(found.answers[ONNX]["digit"], read_answers(full / "answers.npz")[ONNX]["digit"])
    assert list(found.samples) == [2], "by the index of the timing"
    assert (found.samples[2].min(), found.samples[2].max()) == (0.1, 0.2)
    page = (full / "report.html").read_text()
    assert "Every run of every artifact" in page
    assert "ONNX float32</th>" in page


@pytest.mark.parametrize("name", ["answers.npz", "golden.npz", SAMPLES])
def test_what_was_changed_is_not_shown(full: Path, name: str) -> None:
    with (full / name).open("ab") as stream:
        stream.write(b"x")
    found = gathered(full)
    missing = {"answers.npz": found.answers, "golden.npz": found.inputs, SAMPLES: found.samples}
    assert {path for path, arrays in missing.items() if not arrays} == {name}
    rewrite_reports(full)
    assert {problem.path for problem in verify(full)} == {name}


@pytest.mark.parametrize("raw", [np.zeros((0, 2), np.int64), np.zeros(5, np.int64), np.full((3, 2), 0.5)])
def test_samples_of_another_kind_are_left_out(full: Path, raw: Any) -> None:
    np.save(full / SAMPLES, raw)
    finish(full, load(full / MANIFEST))
    assert verify(full) == []
    assert gathered(full).samples == {}


def test_a_model_card_that_was_added_to_is_not_written_over(full: Path) -> None:
    card = full / "MODEL_CARD.md"
    card.write_text(card.read_text() + "\nMeant for postal codes.\n")
    with pytest.raises(UsageError, match="was changed"):
        rewrite_reports(full)
    assert "postal codes" in card.read_text()
    card.unlink()
    rewrite_reports(full)
    assert verify(full) == []
