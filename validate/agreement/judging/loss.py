"""What a file costs: decisions that change, and decibels, each with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from converters.arrays import Array
from converters.formats import Precision
from validate.agreement.arrays import blocks, wide
from validate.agreement.judging.class_decisions import allowed, changed_labels, share_interval
from validate.agreement.judging.decisions import Decides
from validate.agreement.judging.gate_checks import GateResult
from validate.agreement.judging.gates import GATES, Gate
from validate.agreement.judging.metrics import beside_signal, changed_classes, mean_of, sqnr_db
from validate.agreement.judging.paired import RESAMPLES, TAILS
from validate.agreement.judging.reference_values import ReferenceValues, Values
from validate.agreement.losses import (
    KEPT,
    LOST,
    SAMPLES_LISTED,
    UNPROVEN,
    Changed,
    Estimate,
    Loss,
    LossGate,
    LossStatus,
)
from validate.agreement.rows import INCONCLUSIVE, OutputRow

_REAL_INPUTS = "give your own with --inputs"


@dataclass(frozen=True)
class Task:
    """What an output is used for, and on which inputs it was asked.

    Attributes:
        decides: see `decisions`.
        threshold: above which a label is on.
        drawn: the inputs are nobody's.
    """

    decides: Decides
    threshold: float
    drawn: bool


def loss_of(row: OutputRow, values: Values, result: GateResult, gate: Gate, task: Task) -> Loss:
    """The loss of one output whose fidelity `row` tells.

    Decisions are held against float32's own ties alone: one that a precision's rounding turns has changed all the same.
    Of an output that decides nothing, float32 is held by its noise, and a reduced precision by the decibels that
    `gates` names for it: how far the error must lie below what moves.
    """
    changed = _changed(values, _own_ties(values.expected, result, gate), task) if task.decides else None
    level, low, high = decibels(values.values, values.expected.values)
    status, held, reason = _held(row, changed, level, result, gate, task)
    return Loss(status, reason, row.name, changed, level, low, high, held)


def _held(
    row: OutputRow, changed: Changed | None, level: float, result: GateResult, gate: Gate, task: Task
) -> tuple[LossStatus, LossGate, str]:
    otherwise = UNPROVEN if task.drawn else LOST
    if changed is not None:
        held, reason = _held_by_decisions(changed, gate, task)
    elif gate.noise_ratio is not None:
        held = LossGate(result.measure, result.value, result.limit)
        reason = result.reason
    else:
        limit = gate.sqnr_db
        held = LossGate("sqnr_db", level, limit)
        reason = (
            f"its error is {beside_signal(level)} what moves (limit {limit:g} dB)"
            if level < math.inf
            else "it has no error"
        )
    if row.nonfinite:
        return otherwise, held, f"{row.nonfinite} values are not finite"
    if not _keeps(held, result, changed):
        told = f"{reason} on drawn inputs; {_REAL_INPUTS}" if task.drawn else reason
        return otherwise, held, told
    if row.status == INCONCLUSIVE:
        return UNPROVEN, held, f"these inputs cannot tell: {_REAL_INPUTS}"
    return KEPT, held, reason


def _keeps(held: LossGate, result: GateResult, changed: Changed | None) -> bool:
    if held.measure == result.measure:
        return result.passed
    if held.value is None or held.limit is None:
        return False
    return held.value >= held.limit


def _held_by_decisions(changed: Changed, gate: Gate, task: Task) -> tuple[LossGate, str]:
    """On drawn inputs no decision may change; on the user's the precision's share must keep theirs."""
    limit = 1.0 if task.drawn else gate.top1
    share = 1 - changed.count / max(1, changed.of)
    keeps = changed.count <= allowed(changed.of, limit)
    wanted = "" if task.drawn else f", and {limit:.1%} must keep theirs"
    reason = f"{changed.count} of {changed.of} {changed.what} change{wanted}"
    return LossGate(changed.what, max(share, limit) if keeps else share, limit), reason


def _own_ties(expected: ReferenceValues, result: GateResult, gate: Gate) -> float | Array:
    """How far from a decision's border float32 itself may not tell, one number or one a sample."""
    if gate.noise_ratio is not None:
        return result.tie
    if expected.noise is None or not len(expected.noise):
        return expected.signal.floor
    limit = GATES[Precision.FLOAT32].noise_ratio or 0.0
    beyond = max(0, len(expected.values) - len(expected.noise))
    return limit * np.concatenate([expected.noise, np.full(beyond, float(expected.noise.max()))])


def _changed(values: Values, ties: float | Array, task: Task) -> Changed:
    got, want = values.values, values.expected.values
    margins = np.broadcast_to(np.asarray(ties, np.float64), (len(want),))
    counts = np.zeros(len(want), np.int64)
    for part in blocks(len(want), got, want):
        if task.decides == "classes":
            other = changed_classes(got[part], want[part], 2 * margins[part])
        else:
            other = changed_labels(got[part], want[part], margins[part], task.threshold)
        counts[part] = other.reshape(len(other), -1).sum(axis=1)
    which = np.flatnonzero(counts)
    share = share_interval(len(which), len(want))
    of = want.size // want.shape[-1] if task.decides == "classes" else want.size
    return Changed(
        task.decides,
        int(counts.sum()),
        of,
        Estimate(share["value"], share["low"], share["high"]),
        tuple(map(int, which[:SAMPLES_LISTED])),
    )


def decibels(candidate: Array, reference: Array) -> tuple[float, float, float]:
    """Signal over error, with a 95 % interval: a seeded bootstrap over the samples (percentile).

    What moves is taken about the mean of all samples: a resample that repeats some of them has another.
    """
    moving, errors = _squares(candidate, reference)
    value = sqnr_db(float(moving.sum()), float(errors.sum()))
    if not math.isfinite(value) or len(moving) < 2:
        return value, value, value
    rng = np.random.Generator(np.random.PCG64(0))
    picked = rng.integers(0, len(moving), (RESAMPLES, len(moving)))
    with np.errstate(divide="ignore"):
        levels = 10 * np.log10(moving[picked].sum(axis=1)) - 10 * np.log10(errors[picked].sum(axis=1))
    low, high = np.quantile(levels, TAILS, method="nearest")  # the others would take infinity from infinity
    return value, float(low), float(high)


def _squares(candidate: Array, reference: Array) -> tuple[Array, Array]:
    """By sample, the sum of the squares of what moves, and of the error; what is not finite is left out."""
    mean = mean_of(reference)
    moving, errors = np.zeros(len(reference)), np.zeros(len(reference))
    for part in blocks(len(reference), candidate, reference):
        true = wide(reference[part])
        with np.errstate(invalid="ignore"):
            gaps = (true - mean, wide(candidate[part]) - true)
        for sums, gap in zip((moving, errors), gaps, strict=True):
            sums[part] = np.square(np.where(np.isfinite(gap), gap, 0.0)).reshape(len(gap), -1).sum(axis=1)
    return moving, errors
