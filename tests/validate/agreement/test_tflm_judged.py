"""Files judged in TensorFlow Lite for Microcontrollers: right ones agree, faults are found, refusals have its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from validate.agreement import Agreement, JudgeJob, Verdict
from validate.agreement.compare import compare
from validate.targets import Places

pytest.importorskip("tflite_micro", reason="needs the extra `tflm`")

JUDGED = ("small.tflite", "small.int8.tflite", "mutant-epsilon.tflite", "half.tflite", "crasher.tflite", "small.onnx")


@pytest.fixture(scope="module")
def placed(zoo: Path) -> Agreement:
    files = [zoo / name for name in JUDGED]
    return compare(zoo / "small.keras", files, JudgeJob(places=Places(devices=("tflm",))))


def there(agreement: Agreement, name: str) -> Verdict:
    return next(v for v in agreement.verdicts if v.artifact.name == name and v.target == "tflm")


@pytest.mark.parametrize("name", ["small.tflite", "small.int8.tflite"])
def test_an_honest_file_agrees_and_its_arena_was_measured(placed: Agreement, name: str) -> None:
    row = there(placed, name).row
    assert row.status == "agree", row.reason
    assert (row.runtime, row.setting) == ("tflm", "default")
    assert row.runtime_version
    assert row.arena is not None
    assert row.arena.least >= row.arena.recorded > 0


def test_only_tflm_measures_an_arena_and_only_of_what_it_opens(placed: Agreement) -> None:
    assert all(v.row.arena is None for v in placed.verdicts if v.target == "host")
    assert [v.target for v in placed.verdicts if v.artifact.name == "small.onnx"] == ["host"]


def test_a_planted_fault_is_found(placed: Agreement) -> None:
    verdict = there(placed, "mutant-epsilon.tflite")
    assert verdict.status == "disagree"
    assert verdict.row.runtime == "tflm"


def test_what_tflm_has_no_kernel_for_is_refused_in_its_own_words(placed: Agreement) -> None:
    verdict = there(placed, "half.tflite")
    assert verdict.status == "error"
    assert "DEQUANTIZE (number 0) failed to prepare" in verdict.reason


def test_a_file_that_ends_the_process_is_its_own_verdict(placed: Agreement) -> None:
    """One whose graph calls itself for ever; the others are judged all the same."""
    assert there(placed, "crasher.tflite").status == "error"
