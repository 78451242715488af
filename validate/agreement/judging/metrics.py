"""Numbers between two arrays, in float64, a block of samples at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from converters.arrays import Array
from validate.agreement.arrays import blocks, wide
from validate.agreement.judging.gates import FLOOR_ULPS, ULP


@dataclass(frozen=True)
class Difference:
    """How far a candidate lies from something.

    Attributes:
        max_abs: maximum absolute difference over the elements that are finite on both sides.
        mean_square: mean of the squared differences over the same.
        nonfinite: elements that are finite there and not in the candidate.
    """

    max_abs: float
    mean_square: float
    nonfinite: int

    @property
    def rmse(self) -> float:
        return math.sqrt(self.mean_square)


def difference(candidate: Array, truth: Array, rows: slice | None = None) -> Difference:
    """Compares the candidate with the truth over these samples (all by default). Equal infinities differ by nothing."""
    if rows is not None:
        candidate, truth = candidate[rows], truth[rows]
    max_abs, squares, count, nonfinite = 0.0, 0.0, 0, 0
    for part in blocks(len(truth), candidate, truth):
        true = wide(truth[part])
        gap = wide(candidate[part])
        with np.errstate(invalid="ignore"):
            gap -= true
        if not np.isfinite(gap).all():
            finite = np.isfinite(true)
            both = finite & np.isfinite(gap)
            nonfinite += int((finite & ~both).sum())
            gap = gap[both]
        max_abs = max(max_abs, _max_abs(gap))
        squares += float(np.vdot(gap, gap))
        count += gap.size
    return Difference(max_abs, squares / count if count else 0.0, nonfinite)


def row_errors(candidate: Array, truth: Array) -> Array:
    """Maximum absolute difference of each row over the elements that are finite on both sides; 0 without any."""
    worst = np.zeros(len(truth))
    for part in blocks(len(truth), candidate, truth):
        with np.errstate(invalid="ignore"):
            gap = np.abs(wide(candidate[part]) - wide(truth[part])).reshape(part.stop - part.start, -1)
        worst[part] = np.where(np.isfinite(gap), gap, 0.0).max(axis=1, initial=0.0)
    return worst


def row_maxima(values: Array) -> Array:
    """Maximum absolute value of each row; what is not finite is left out."""
    return row_errors(values, np.broadcast_to(np.zeros((), values.dtype), values.shape))


def _max_abs(values: Array) -> float:
    """Maximum absolute value; 0 of nothing."""
    return max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))


@dataclass(frozen=True)
class Signal:
    """The range and movement of the reference's values over the inputs: the yardstick for errors.

    Attributes:
        max_abs: maximum absolute value.
        moving_square: mean square of what is left after subtracting each element's mean over the samples.
        dead_max: maximum distance of a dead model (each element's mean over the samples) from the values.
        floor: the minimum noise that float32 is granted, `FLOOR_ULPS` unit roundoffs of `max_abs`.
    """

    max_abs: float
    moving_square: float
    dead_max: float

    @property
    def floor(self) -> float:
        return FLOOR_ULPS * ULP * self.max_abs


def mean_of(values: Array) -> Array:
    """The mean over the samples, in float64; what is not finite is left out."""
    total, count = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
    for part in blocks(len(values), values):
        block = wide(values[part])
        finite = np.isfinite(block)
        total += block.sum(axis=0, where=finite)
        count += finite.sum(axis=0)
    mean: Array = total / np.maximum(count, 1)
    return mean


def signal(values: Array) -> Signal:
    """Measures the values over all their samples; what is not finite is left out."""
    mean = mean_of(values)
    max_abs, squares, dead, elements = 0.0, 0.0, 0.0, 0
    for part in blocks(len(values), values):
        block = wide(values[part])
        finite = np.isfinite(block)
        if finite.all():
            gap = block - mean
        else:
            gap, block = (block - mean)[finite], block[finite]
        max_abs = max(max_abs, _max_abs(block))
        dead = max(dead, _max_abs(gap))
        squares += float(np.vdot(gap, gap))
        elements += gap.size
    return Signal(max_abs, squares / elements if elements else 0.0, dead)


def sqnr_db(moving_square: float, error_square: float) -> float:
    """Signal over error in decibels; infinite where there is no error, minus infinite where nothing moves.

    >>> round(sqnr_db(1.0, 0.01), 6)
    20.0
    """
    if error_square == 0.0:
        return math.inf
    return 10 * math.log10(moving_square / error_square) if moving_square > 0.0 else -math.inf


def beside_signal(level: float) -> str:
    """Where an error stands whose signal is so many decibels louder, in words.

    >>> beside_signal(20.0), beside_signal(-25.3)
    ('20.0 dB below', '25.3 dB above')
    """
    return f"{abs(level):.1f} dB {'above' if level < 0 else 'below'}"


@dataclass(frozen=True)
class TopOne:
    """Classes alike.

    Attributes:
        agreement: share of decisions for the reference's class, near-ties counted as alike.
        flips: decisions for another class that are not near-ties.
        ties: decisions whose two best classes lie closer in the reference than `margin`.
        count: decisions in all: one a sample, or one a position.
    """

    agreement: float
    flips: int
    ties: int
    count: int


def top_one(candidate: Array, reference: Array, margin: float | Array) -> TopOne:
    """Compares classes; a flip between classes that lie within `margin` in the reference tells nothing.

    Args:
        margin: one number, or one a sample.
    """
    margins, flips, ties = np.broadcast_to(margin, (len(reference),)), 0, 0
    for part in blocks(len(reference), candidate, reference):
        near = _lead(wide(reference[part])) <= _each(margins[part], reference.ndim - 1)
        flips += int(changed_classes(candidate[part], reference[part], margins[part]).sum())
        ties += int(near.sum())
    count = reference.size // reference.shape[-1]
    return TopOne(1.0 - flips / max(1, count), flips, ties, count)


def changed_classes(candidate: Array, reference: Array, margin: float | Array) -> Array:
    """Where the greatest value of the last axis is another, and the reference's leads by more than `margin`."""
    got, want = wide(candidate), wide(reference)
    other: Array = (got.argmax(axis=-1) != want.argmax(axis=-1)) & (_lead(want) > _each(margin, want.ndim - 1))
    return other


def _each(margin: float | Array, axes: int) -> Array:
    """A margin a sample, shaped to stand beside values of so many axes."""
    margins: Array = np.reshape(margin, (-1, *(1,) * (axes - 1)))
    return margins


def _lead(values: Array) -> Array:
    """How far the greatest value of the last axis lies before the next."""
    order = np.partition(values, -2, axis=-1)
    lead: Array = order[..., -1] - order[..., -2]
    return lead


def softmax(logits: Array) -> Array:
    """Softmax over the classes (the last axis), in float64."""
    values = wide(logits)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    result: Array = powers / powers.sum(axis=-1, keepdims=True)
    return result


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-x)) in float64, without overflow."""
    values = wide(logits)
    result: Array = 0.5 * (1.0 + np.tanh(0.5 * values))
    return result
