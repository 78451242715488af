from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from validate.agreement import arrays as arrays_module
from validate.agreement.judging.metrics import difference, sigmoid, signal, softmax, sqnr_db, top_one

FINITE = st.floats(-1e4, 1e4, width=32)
MATRIX = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6), elements=FINITE)


@given(MATRIX)
def test_nothing_differs_from_itself(values: Any) -> None:
    gap = difference(values, values)
    assert (gap.max_abs, gap.mean_square, gap.nonfinite) == (0.0, 0.0, 0)


@given(MATRIX, st.floats(1e-3, 10))
def test_a_shift_is_measured_exactly(values: Any, shift: float) -> None:
    gap = difference(values.astype(np.float64) + shift, values)
    assert gap.max_abs == pytest.approx(shift, rel=1e-6, abs=1e-8)
    assert gap.rmse == pytest.approx(shift, rel=1e-6, abs=1e-8)


@given(MATRIX)
def test_blocks_change_nothing(values: Any) -> None:
    """One sample a block gives what one block gives."""
    other = values[::-1]
    whole = difference(other, values), signal(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays_module, "_BLOCK_BYTES", 1)
        parts = difference(other, values), signal(values)
    assert parts[0].max_abs == whole[0].max_abs
    assert parts[0].mean_square == pytest.approx(whole[0].mean_square)
    assert parts[1].moving_square == pytest.approx(whole[1].moving_square, rel=1e-9, abs=1e-9)
    assert parts[1].dead_max == pytest.approx(whole[1].dead_max, rel=1e-9, abs=1e-9)


@given(MATRIX, FINITE)
def test_what_does_not_move_is_no_signal(values: Any, offset: float) -> None:
    """SQNR does not profit from a constant: the moving part is the same whatever is added to all samples."""
    plain, shifted = signal(values), signal(values.astype(np.float64) + offset)
    assert shifted.moving_square == pytest.approx(plain.moving_square, rel=1e-6, abs=1e-6)
    assert signal(np.broadcast_to(values[:1], values.shape)).dead_max == pytest.approx(0.0, abs=1e-9)


@given(MATRIX)
def test_a_dead_model_has_no_decibels(values: Any) -> None:
    """The mean over the samples, as a candidate, is measured as the signal's own moving part: 0 dB."""
    moves = signal(values)
    dead = np.broadcast_to(values.astype(np.float64).mean(axis=0), values.shape)
    gap = difference(dead, values)
    assert gap.max_abs == pytest.approx(moves.dead_max, rel=1e-6, abs=1e-6)
    if moves.moving_square > 1e-6:
        assert sqnr_db(moves.moving_square, gap.mean_square) == pytest.approx(0.0, abs=1e-6)


def test_values_that_are_not_finite_are_counted_where_the_truth_is() -> None:
    truth = np.array([[1.0, math.inf, 2.0, math.nan]])
    gap = difference(np.array([[math.nan, 0.0, 2.5, 1.0]]), truth)
    assert gap.nonfinite == 1
    assert gap.max_abs == 0.5
    assert difference(np.array([[1.0, math.inf, 2.0, math.nan]]), truth).nonfinite == 0


def test_sqnr_at_the_ends() -> None:
    assert sqnr_db(1.0, 0.0) == math.inf
    assert sqnr_db(0.0, 1.0) == -math.inf


def test_a_flip_counts_unless_the_reference_itself_is_undecided() -> None:
    reference = np.array([[1.0, 0.0], [0.5, 0.49], [0.0, 1.0], [0.2, 0.9]])
    candidate = np.array([[0.0, 1.0], [0.4, 0.6], [0.0, 1.0], [0.2, 0.9]])
    strict, lenient = top_one(candidate, reference, 0.0), top_one(candidate, reference, 0.02)
    assert (strict.flips, strict.ties, strict.agreement) == (2, 0, 0.5)
    assert (lenient.flips, lenient.ties, lenient.agreement) == (1, 1, 0.75)


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-700, 700)))
def test_the_maps(logits: Any) -> None:
    shares, chances = softmax(logits), sigmoid(logits)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(chances + sigmoid(-logits), 1.0)
    np.testing.assert_allclose(softmax(logits + 5.0), shares, atol=1e-12)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(chances, 1 / (1 + np.exp(-logits)), atol=1e-15)


@given(hnp.arrays(np.float64, (2, 5), elements=st.floats(-30, 30)), st.floats(1e-6, 1.0), st.integers(0, 2**32 - 1))
def test_the_maps_shrink_differences_as_the_judge_says(logits: Any, size: float, seed: int) -> None:
    shift = np.random.default_rng(seed).uniform(-size, size, logits.shape)
    slack = 1e-12
    assert np.abs(softmax(logits + shift) - softmax(logits)).max() <= size / 2 + slack
    assert np.abs(sigmoid(logits + shift) - sigmoid(logits)).max() <= size / 4 + slack
