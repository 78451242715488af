"""One gate applied: to float32's noise, to the rounding of a precision, or to decibels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from converters.arrays import Array
from validate.agreement.judging.gates import ILL_CONDITIONED, MORE_SAMPLES, Gate
from validate.agreement.judging.many_samples import limit_for
from validate.agreement.judging.metrics import beside_signal, difference, row_errors, sqnr_db
from validate.agreement.judging.reference_values import ReferenceValues, Rounding, Values
from validate.agreement.rows import GateRow

INPUTS = "inputs"
"""The name of the drawn or given samples among the kinds."""

STEPS = "consecutive"
"""Of a step model, the samples as the steps of one long run."""

CREST = 4.0
"""Maximum error over rms error that a gate on the rms lets pass where a maximum error is needed."""


@dataclass(frozen=True)
class GateResult:
    """One gate applied.

    Attributes:
        measure: what was measured, with its `value`, and the `limit` that it kept to when `passed`.
        dead_passes: a dead model would pass the same gate.
        undecided: maximum difference that two float32 runs of one model may show: a map may be off by what it makes
            of this.
        tie: classes that lie closer than twice this, or labels closer than this to their threshold, are ties; one
            number, or one a sample.
        allowed: how far from the reference the gate lets the values lie: at most for `noise_ratio`, where float32 Keras
            may lie as far from the oracle as its noise is; in the mean square's root for the others.
    """

    measure: str
    value: float
    limit: float
    passed: bool
    dead_passes: bool
    undecided: float
    tie: float | Array
    allowed: float
    reason: str

    @property
    def row(self) -> GateRow:
        tie = float(np.max(self.tie, initial=0.0))
        return GateRow(self.measure, self.value, self.limit, self.dead_passes, self.allowed, tie)


def noise_ratios(values: Values) -> dict[str, float]:
    """The maximum over the samples of the error against the oracle over float32's own there, by kind of samples.

    Nothing without an oracle.
    """
    expected = values.expected
    if expected.oracle is None or expected.noise is None:
        return {}
    count = len(expected.oracle)
    undecided = expected.undecided
    worst = _worst_ratio(values.values[:count], expected.oracle, expected.noise, undecided)
    for array, rows in values.other_batches:
        judged_rows = [k for k, row in enumerate(rows) if row < count]
        samples = [rows[k] for k in judged_rows]
        of_these = None if undecided is None else undecided[samples]
        ratio = _worst_ratio(array[judged_rows], expected.oracle[samples], expected.noise[samples], of_these)
        worst = max(worst, ratio)
    ratios = {INPUTS: worst}
    for name, cases in expected.edge_cases.items():
        if len(values.all_rows) >= cases.rows.stop:
            ratios[name] = _worst_ratio(values.all_rows[cases.rows], cases.oracle, cases.noise, cases.undecided)
    steps = expected.sequence
    if values.sequence is not None and steps is not None and steps.oracle is not None and steps.noise is not None:
        ratios[STEPS] = _ratio(difference(values.sequence, steps.oracle).max_abs, steps.noise)
    return ratios


def _worst_ratio(candidate: Array, oracle: Array, noise: Array, undecided: Array | None) -> float:
    if undecided is not None:
        candidate = np.where(undecided, oracle, candidate)
    errors = row_errors(candidate, oracle)
    return max((_ratio(float(error), float(own)) for error, own in zip(errors, noise, strict=True)), default=0.0)


def _ratio(error: float, noise: float) -> float:
    if noise == 0.0:  # the reference is zero throughout
        return 0.0 if error == 0.0 else math.inf
    return error / noise


def by_noise(values: Values, ratios: dict[str, float], limit: float) -> GateResult:
    expected = values.expected
    noise = np.zeros(0) if expected.noise is None else expected.noise
    largest = float(np.max(noise, initial=0.0))
    limits = dict.fromkeys(ratios, limit) | {INPUTS: limit_for(limit, len(noise))}
    beyond_limit = [name for name in (INPUTS, *ratios) if ratios[name] > limits[name]]
    kind = beyond_limit[0] if beyond_limit else INPUTS
    ratio, limit = ratios[kind], limits[kind]
    passed = ratio <= limit
    where = "" if kind == INPUTS else f" on {kind} inputs"
    reason = f"its error is {ratio:.2g} times float32's own noise{where} (limit {limit:.3g})"
    conditioning = expected.conditioning or 0.0
    if conditioning > ILL_CONDITIONED:
        reason += (
            f", which is {conditioning:.1g} of its maximum value: float32 cannot tell a smaller fault on this model"
        )
    beyond = len(values.values) - len(noise)
    fault = _fault_beyond(values, len(noise), limit, largest) if passed and beyond else None
    passed, reason = passed and fault is None, fault or reason
    max_distance = (limit + 1) * largest * (MORE_SAMPLES if beyond else 1.0)
    return GateResult(
        "noise_ratio",
        ratio,
        limit,
        passed,
        expected.dead_passes(limit),
        limit * largest,
        limit * np.concatenate([noise, np.full(max(0, beyond), largest)]),
        max_distance,
        reason,
    )


def _fault_beyond(values: Values, count: int, limit: float, largest: float) -> str | None:
    """What is wrong with the samples that the oracle did not run, held against the reference itself."""
    expected, rows = values.expected, slice(count, None)
    if expected.undecided is not None:
        share = float(np.mean(values.values[rows] != expected.values[rows]))
        may = MORE_SAMPLES * float(np.mean(expected.undecided))
        if share <= may:
            return None
        turned = f"rounding may turn {may:.2%}"
        return f"beyond the oracle's {count} samples {share:.2%} of its values are others, where {turned}"
    factor = MORE_SAMPLES * (limit + 1)
    distance = difference(values.values, expected.values, rows).max_abs
    if distance <= factor * largest:
        return None
    return (
        f"beyond the oracle's {count} samples it lies {distance:.2g} from the reference, "
        f"more than {factor:g} times float32's noise"
    )


def by_rounding(expected: ReferenceValues, rms: float, rounding: Rounding, limit: float, drawn: bool) -> GateResult:
    """The rms error over that of the emulated precision.

    On drawn inputs the reference's decisions are nobody's: one that the precision's own rounding may turn is a tie. On
    the user's inputs that is not an excuse.
    """
    floor = expected.signal.floor
    allowed = max(limit * rounding.rms, floor)
    ratio = _ratio(rms, max(rounding.rms, floor))
    level = sqnr_db(expected.signal.moving_square, rms**2)
    reason = (
        f"its error is {ratio:.2g} times what rounding to the precision costs (limit {limit:g}), "
        f"{beside_signal(level)} the moving part of the signal"
    )
    dead = math.sqrt(expected.signal.moving_square) <= allowed
    tie = max(rounding.max_abs, floor) if drawn else floor
    return GateResult("rounding_ratio", ratio, limit, rms <= allowed, dead, floor, tie, allowed, reason)


def by_sqnr(expected: ReferenceValues, error_square: float, gate: Gate) -> GateResult:
    moving, floor = expected.signal.moving_square, expected.signal.floor**2
    allowed = max(moving * 10 ** (-gate.sqnr_db / 10), floor)
    value = sqnr_db(moving, error_square)
    reason = f"its error is {beside_signal(value)} the moving part of the signal (limit {gate.sqnr_db:g} dB)"
    if error_square == 0:
        reason = "it has no error at all"
    # A reduced precision's own error is not an excuse for another class: the share that may change is its gate.
    undecided = expected.signal.floor if gate.noise_ratio is None else CREST * math.sqrt(allowed)
    passed, dead, root = error_square <= allowed, moving <= allowed, math.sqrt(allowed)
    return GateResult("sqnr_db", value, gate.sqnr_db, passed, dead, undecided, undecided, root, reason)
