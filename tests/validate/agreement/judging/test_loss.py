"""What a file costs, on synthetic arrays: decisions, decibels, and which of them decides."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.formats import Precision
from tests.validate.agreement.judging.test_judge import NOISE, Bench, emulate, living
from validate.agreement.judging.loss import decibels
from validate.agreement.losses import KEPT, LOST, UNPROVEN, Changed, Estimate, Loss, worst_loss


def loss_of(bench: Bench, values: Any, precision: Precision, *, drawn: bool = True) -> Loss:
    bench.reference = replace(bench.reference, drawn=drawn)
    loss = bench.judge(values, precision=precision).loss
    assert loss is not None
    return loss


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.FLOAT16, Precision.INT8])
def test_a_file_whose_decisions_stay_keeps_all(tmp_path: Path, precision: Precision) -> None:
    bench = Bench(tmp_path, living(), "softmax")
    loss = loss_of(bench, bench.mine, precision)
    assert loss.status == KEPT
    assert loss.changed is not None
    assert (loss.changed.what, loss.changed.count, loss.changed.of, loss.changed.samples) == ("classes", 0, 16, ())
    assert loss.changed.share.high == pytest.approx(1 - 0.025 ** (1 / 16))  # what 16 samples prove


def test_one_class_that_changes_on_drawn_inputs_proves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living(), "softmax")
    values = bench.mine.copy()
    order = values[3].argsort()
    values[3, order[[-1, -2]]] = values[3, order[[-2, -1]]]
    for precision in (Precision.DYNAMIC_INT8, Precision.INT8):
        loss = loss_of(bench, values, precision)
        assert (loss.status, loss.gate and loss.gate.limit) == (UNPROVEN, 1.0)
        assert loss.changed is not None
        assert loss.changed.samples == (3,)
        assert "--inputs" in loss.reason


def test_a_tie_of_float32_is_no_change(tmp_path: Path) -> None:
    exact = living()
    exact[:, :2] = 5.0 + NOISE * np.arange(2)
    bench = Bench(tmp_path, exact, "softmax")
    values = bench.mine.copy()
    values[:, [0, 1]] = values[:, [1, 0]]
    loss = loss_of(bench, values, Precision.INT8)
    assert loss.changed is not None
    assert loss.changed.count == 0


@pytest.mark.parametrize(("changed", "status"), [(2, KEPT), (3, LOST)])
def test_the_precision_s_gate_holds_on_the_user_s_inputs(tmp_path: Path, changed: int, status: str) -> None:
    """98 % of classes must stay in int8: two of 100 may change."""
    bench = Bench(tmp_path, 3 * living(100), "softmax")
    values = bench.mine.copy()
    for row in values[:changed]:
        order = row.argsort()
        row[order[[-1, -2]]] = row[order[[-2, -1]]]
    loss = loss_of(bench, values, Precision.INT8, drawn=False)
    assert (loss.status, loss.changed and loss.changed.count) == (status, changed)


def test_labels_are_counted_apart_from_the_samples_they_are_of(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 3 * living(), "sigmoid")
    values = bench.mine.copy()
    values[5] *= -1
    loss = loss_of(bench, values, Precision.INT8)
    assert loss.changed is not None
    assert (loss.changed.what, loss.changed.count, loss.changed.of) == ("labels", 4, 64)
    assert (loss.changed.samples, loss.changed.share.value) == ((5,), 1 / 16)


@pytest.mark.parametrize(("drawn", "status"), [(True, UNPROVEN), (False, LOST)])
def test_an_output_that_decides_nothing_is_held_by_decibels(tmp_path: Path, drawn: bool, status: str) -> None:
    """Rounding may cost what it costs, and the verdict agrees; what is left is another question."""
    bench = Bench(tmp_path, living())
    error = emulate(bench, Precision.DYNAMIC_INT8, 0.2)
    loss = loss_of(bench, bench.mine + error, Precision.DYNAMIC_INT8, drawn=drawn)
    assert (loss.status, loss.gate and loss.gate.measure) == (status, "sqnr_db")
    assert loss_of(bench, bench.mine + error / 10, Precision.DYNAMIC_INT8, drawn=drawn).status == KEPT


def test_decibels_have_an_interval_that_holds_them() -> None:
    reference = living(200)
    error = np.random.default_rng(3).standard_normal(reference.shape)
    level, low, high = decibels(reference + 0.1 * error, reference)
    assert low < level < high
    assert 19 < low < 20 < high < 21
    assert decibels(reference, reference) == (math.inf, math.inf, math.inf)


def test_the_worst_output_speaks_for_the_file() -> None:
    def loss(status: Any, count: int, level: float) -> Loss:
        share = Estimate(0.0, 0.0, 1.0)
        return Loss(status, "", str(count), Changed("classes", count, 9, share, ()), level)

    losses = (loss(KEPT, 9, 1.0), loss(UNPROVEN, 1, 5.0), loss(UNPROVEN, 2, 50.0))
    worst = worst_loss(losses)
    assert worst is losses[2]
    assert worst_loss(()) is None


def test_inputs_that_cannot_tell_prove_nothing(tmp_path: Path) -> None:
    """A dead model would pass: that no class changes says nothing then."""
    bench = Bench(tmp_path, np.tile(living()[:1], (16, 1)) + 1e-9 * np.arange(16)[:, None], "softmax")
    loss = loss_of(bench, bench.mine, Precision.FLOAT32)
    assert (loss.status, loss.changed and loss.changed.count) == (UNPROVEN, 0)
    assert "cannot tell" in loss.reason
