"""Layers to blame within a run: of what disagrees, of everything, of nothing, and never the end of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.identify import identify
from converters.errors import CrashError, UsageError
from exporter.options import RunOptions
from exporter.run import localize as locating
from exporter.run.localize import Located, locate
from exporter.run.pipeline import run
from exporter.run.workspace import Place
from validate.agreement.results import Agreement, Verdict
from validate.localize import Localized

EXAMPLES = Path(__file__).parents[3] / "examples"
DIGITS = EXAMPLES / "digits_se_inception.keras"


def test_a_run_names_the_first_layer_of_what_disagrees(tmp_path: Path) -> None:
    """int8 calibrated on single dots: the first convolution's sums are clipped when whole digits come."""
    generator = np.random.default_rng(0)
    dots = np.zeros((128, 8, 8, 1), np.float32)
    places = (generator.integers(0, 8, 128), generator.integers(0, 8, 128))
    dots[np.arange(128), *places, 0] = generator.uniform(1, 16, 128)
    np.savez(tmp_path / "dots.npz", image=dots)
    options = RunOptions.of(
        formats=("onnx",),
        precisions=("int8",),
        inputs=EXAMPLES / "digits.npz",
        time=False,
        calibration=str(tmp_path / "dots.npz"),
        rescue_budget=0.0,
        selfcheck=False,
    )
    manifest = run(str(DIGITS), tmp_path / "out", options).manifest
    (verdict,) = manifest.verdicts
    assert verdict.status == "disagree"
    listed: Any = manifest.environment["localized"]
    (row,) = listed
    assert row["artifact"] == "digits_se_inception.int8.onnx"
    assert row["first_divergent_layer"].startswith("stem_")
    assert any(note == locating.sentence_of(row) for note in verdict.notes)
    assert "Error by layer" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CrashError("The localize step's worker crashed (SIGSEGV).", next_step="Read the log."), "worker crashed"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_what_cannot_be_localized_is_a_note(
    error: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashing(*_: object) -> object:
        raise error

    monkeypatch.setattr(locating, "localize", crashing)
    place = Place(tmp_path, tmp_path, tmp_path, lambda step: lambda label, share: None)
    found = locate(identify(DIGITS), _agreement(Verdict(tmp_path / "a.onnx", "disagree", "")), RunOptions(), place)
    assert found.rows == ()
    ((name, note),) = found.notes
    assert name == "a.onnx"
    assert note.startswith("It could not be localized: ")
    assert told in note


def test_there_is_no_other_mode() -> None:
    with pytest.raises(UsageError, match="`none`"):
        RunOptions.of(localize="none")


def test_of_many_only_some_are_localized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def seen(_reference: Path, candidate: Path, *_: object) -> object:
        asked.append(candidate)
        raise CrashError("gone", next_step="")

    monkeypatch.setattr(locating, "localize", seen)
    verdicts = [Verdict(tmp_path / f"{k}.onnx", "disagree", "") for k in range(5)]
    place = Place(tmp_path, tmp_path, tmp_path, lambda step: lambda label, share: None)
    found = locate(identify(DIGITS), _agreement(*verdicts), RunOptions(), place)
    assert len(asked) == 3
    assert sorted(name for name, _ in found.notes) == [f"{k}.onnx" for k in range(5)]


@pytest.mark.parametrize(("mode", "names"), [("auto", ["b.onnx"]), ("all", ["a.onnx", "b.onnx"]), ("off", [])])
def test_what_is_localized(mode: str, names: list[str]) -> None:
    agreement = _agreement(
        Verdict(Path("a.onnx"), "agree", ""),
        Verdict(Path("b.onnx"), "disagree", ""),
        Verdict(Path("c.ort"), "disagree", ""),
        Verdict(Path("d.tflite"), "error", ""),
    )
    assert [v.artifact.name for v in locating._to_localize(agreement, Localized(mode))] == names


def test_notes_join_those_that_are_there() -> None:
    located = Located(notes=(("a", "two"), ("b", "three")))
    assert located.noted({"a": ("one",)}) == {"a": ("one", "two"), "b": ("three",)}


def _agreement(*verdicts: Verdict) -> Agreement:
    agreement = object.__new__(Agreement)  # of all that it holds only the verdicts are read
    object.__setattr__(agreement, "verdicts", verdicts)
    return agreement
