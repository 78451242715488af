"""The self-test on the digits checkpoint: every fault that has a place there is caught, in memory and in files."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import RefusedError
from validate.agreement import JudgeJob
from validate.mutants import CAUGHT, NO_PLACE, NOT_WRITTEN, MutantRow, SelfTest, self_test
from validate.mutants.faults import unlike
from validate.mutants.selftest import _round


@pytest.fixture(scope="session")
def digits(examples: Path) -> SelfTest:
    return self_test(examples / "digits_se_inception.keras", "exporter.run.twins:write", ("onnx",))


@pytest.mark.slow
def test_every_fault_is_caught_in_the_model_and_in_the_file(digits: SelfTest) -> None:
    rows = {(row.mutant, row.subject): row for row in digits.rows}
    assert (digits.rows[0].mutant, digits.rows[0].status) == ("no fault", "agree")
    assert {row.status for row in digits.rows[1:]} == {CAUGHT, NO_PLACE}
    assert [row.mutant for row in digits.rows if row.status == NO_PLACE] == ["tanh-gelu"]
    assert len({row.mutant for row in digits.rows[1:]}) == 13
    assert all(
        (row.mutant, subject) in rows for row in digits.rows if row.status == CAUGHT for subject in ("keras", "onnx")
    )
    assert min(row.noise_ratio or 0 for row in digits.rows if row.status == CAUGHT) > 10
    assert digits.passed


@pytest.mark.slow
def test_the_weaker_the_inputs_the_less_is_caught(examples: Path) -> None:
    """Blank images: what is not brought out is told apart from what is missed, and nothing is called caught."""
    options = JudgeJob.of(input_range=(0.0, 1e-6), samples=4)
    weak = self_test(examples / "digits_se_inception.keras", "exporter.run.twins:write", (), options)
    assert any(row.status != CAUGHT and row.status != NO_PLACE for row in weak.rows)
    document = weak.to_json()
    assert {"reference", "seed", "samples", "passed", "mutants", "unexercised", "notes"} <= document.keys()
    assert "relu6" in {row["mutant"] for row in document["mutants"] if row["status"] == "not exercised"}


def test_what_is_not_written_is_not_called_caught(examples: Path) -> None:
    """A format that cannot be had: nothing was judged, so nothing was caught in it."""
    outcome = _round(
        examples / "digits_se_inception.keras",
        JudgeJob.of(samples=2),
        lambda _stage, _share: None,
        "exporter.run.twins:write",
        ("ort",),
        {"epsilon", "tanh-gelu"},
    )
    found = {(row.mutant, row.subject): row.status for row in outcome.rows}
    assert found == {("epsilon", "keras"): CAUGHT, ("epsilon", "ort"): NOT_WRITTEN, ("tanh-gelu", "keras"): NO_PLACE}


@pytest.fixture
def crashing_maker() -> Iterator[str]:
    """A writer that ends its process; workers run isolated, so it goes where installed packages are."""
    path = Path(sysconfig.get_paths()["purelib"]) / f"edgeport_crashing_maker_{os.getpid()}.py"
    path.write_text("import os, signal\n\ndef write(*_):\n    os.kill(os.getpid(), signal.SIGSEGV)\n")
    yield f"{path.stem}:write"
    path.unlink()


def test_a_fault_that_ends_its_worker_is_an_error_and_the_rest_goes_on(examples: Path, crashing_maker: str) -> None:
    outcome = _round(
        examples / "digits_se_inception.keras",
        JudgeJob.of(samples=2),
        lambda _stage, _share: None,
        crashing_maker,
        ("onnx",),
        {"epsilon", "tanh-gelu"},
    )
    found = {(row.mutant, row.subject): row.status for row in outcome.rows}
    assert found == {("epsilon", "keras"): CAUGHT, ("epsilon", "onnx"): "error", ("tanh-gelu", "keras"): NO_PLACE}
    assert "SIGSEGV" in next(row.reason for row in outcome.rows if row.status == "error")
    assert not outcome.passed


@pytest.mark.slow
def test_what_the_samples_do_not_show_is_run_on_all_inputs(examples: Path) -> None:
    """Samples too dark to reach a cap at 6, which the ones beyond their range do: caught at the second look."""
    options = JudgeJob.of(samples=4, input_range=(0.0, 4.5))
    (row,) = _round(
        examples / "digits_se_inception.keras",
        options,
        lambda _stage, _share: None,
        "exporter.run.twins:write",
        (),
        {"relu6"},
    ).rows
    assert (row.mutant, row.status) == ("relu6", CAUGHT)
    assert "saturating inputs" in row.reason


def test_a_healthy_file_that_fails_fails_the_self_test() -> None:
    rows = (MutantRow("no fault", "onnx", None, "disagree", ""), MutantRow("epsilon", "onnx", "bn", CAUGHT, ""))
    outcome = SelfTest(Path("m.keras"), 0, 16, rows)
    assert (outcome.false_alarms, outcome.passed) == (["onnx"], False)


def test_channels_that_are_alike_are_not_exchanged() -> None:
    """A stem that copies a grey image to three colours: exchanging two of them is no fault."""
    kernel = np.ones((3, 3, 1, 3), np.float32)
    assert unlike(kernel) == ()
    kernel[..., 1] *= 0.9
    kernel[..., 2] *= -0.5
    assert unlike(kernel) == (0, 2)


def test_only_a_checkpoint_can_be_broken(tmp_path: Path) -> None:
    (tmp_path / "file.onnx").write_bytes(b"")
    with pytest.raises(RefusedError, match="no Keras checkpoint"):
        self_test(tmp_path / "file.onnx", "exporter.run.twins:write")


def test_usage(edgeport: Any, examples: Path, tmp_path: Path) -> None:
    checkpoint = examples / "digits_se_inception.keras"
    assert edgeport("validate", checkpoint).code == 2
    both = edgeport("validate", "--self-test", checkpoint, tmp_path)
    assert both.code == 2
    assert "takes no artifacts" in both.stderr
    unknown = edgeport("validate", "--self-test", checkpoint, "-f", "caffe")
    assert unknown.code == 2
    assert "caffe" in unknown.stderr
