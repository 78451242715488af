"""From arrays on disk to a judgement of each output. NumPy alone; knows no framework."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import StepError
from validate.agreement.arrays import blocks, read, wide
from validate.agreement.decisions import LabelsKept, accuracy, allowed, labels_kept, lower_bound, scores
from validate.agreement.gates import MORE_SAMPLES, Gate
from validate.agreement.metrics import (
    Difference,
    Signal,
    TopOne,
    difference,
    sigmoid,
    signal,
    softmax,
    sqnr_db,
    top_one,
)
from validate.agreement.plan import Plan
from validate.agreement.results import AGREE, DISAGREE, INCONCLUSIVE, OutputRow
from validate.runtimes.base import Array

_MAPS = {"softmax": (softmax, 0.5), "sigmoid": (sigmoid, 0.25)}
"""The final maps and how much they can stretch a difference: |d softmax| <= |d x| / 2, |d sigmoid| <= |d x| / 4."""

LEFT_DB = 3.0
"""What a reduced precision's probabilities must keep of their movement, whatever its logits keep."""

CREST = 4.0
"""Greatest error over rms error that a gate on the rms lets pass where a greatest error is needed."""


@dataclass(frozen=True)
class Reference:
    """What the candidates are measured against.

    Attributes:
        work: the folder of the comparison, see `workers`.
        kinds: by output name, the map that its logits go through.
    """

    work: Path
    plan: Plan
    output_names: tuple[str, ...]
    kinds: dict[str, str]
    labels: Array | None = None

    def values(self, stem: str, k: int) -> Array:
        return _need(self.work / "reference", stem, k)


@dataclass(frozen=True)
class Yardstick:
    """The reference's values of one output on one basis, and float32's own noise in them.

    Attributes:
        noise: float32 Keras' greatest error against the oracle, not below the signal's floor; None without an oracle.
    """

    values: Array
    singles: Array | None
    oracle: Array | None
    signal: Signal
    noise: float | None

    @classmethod
    def of(cls, reference: Reference, stem: str, k: int) -> Yardstick:
        values = reference.values(stem, k)
        singles = read(reference.work / "reference", f"{stem}1", k)
        oracle = read(reference.work / "oracle", stem, k) if reference.plan.oracle else None
        moves = signal(values)
        noise = None
        if oracle is not None:
            worst = difference(values[: len(oracle)], oracle).max_abs
            if singles is not None:
                both = slice(0, min(len(singles), len(oracle)))
                worst = max(worst, difference(singles, oracle, both).max_abs)
            noise = max(worst, moves.floor)
        return cls(values, singles, oracle, moves, noise)


@dataclass(frozen=True)
class Candidate:
    """What one candidate gave."""

    folder: Path
    kinds: dict[str, str]

    def values(self, stem: str, k: int) -> Array:
        return _need(self.folder, stem, k)


@dataclass(frozen=True)
class Judged:
    """One gate applied.

    Attributes:
        measure: what was measured, with its `value`, and the `limit` that it kept to when `passed`.
        dead_passes: a dead model would pass the same gate.
        undecided: greatest difference that two float32 runs of one model may show: classes that lie closer than twice
            this are ties, and a map may be off by what it makes of this.
        allowed: how far from the reference the gate lets the values lie: at most for `noise_ratio`, where float32 Keras
            may lie as far from the oracle as its noise is; in the mean square's root for `sqnr_db`.
    """

    measure: str
    value: float
    limit: float
    passed: bool
    dead_passes: bool
    undecided: float
    allowed: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        fields = ("measure", "value", "limit", "dead_passes", "allowed")
        return {field: getattr(self, field) for field in fields}


def _need(folder: Path, stem: str, k: int) -> Array:
    array = read(folder, stem, k)
    if array is None:
        raise StepError(
            f"The values {stem}.{k} were not written by their worker.", next_step="Run again with --debug.",
            file=folder, step="validate",
        )  # fmt: skip
    return array


@dataclass(frozen=True)
class _Values:
    """One output of a candidate beside the reference's: on the basis that is judged, and as the files give it."""

    stick: Yardstick
    values: Array
    singles: Array | None
    outputs: Array
    wanted: Array

    @property
    def fits(self) -> bool:
        pairs = ((self.values, self.stick.values), (self.outputs, self.wanted))
        return all(tuple(got.shape) == tuple(want.shape) for got, want in pairs)


def judge_output(
    reference: Reference, yardsticks: dict[tuple[str, int], Yardstick], candidate: Candidate, k: int, gate: Gate
) -> OutputRow:
    """Judges output `k`; `yardsticks` keeps what was measured of the reference, by basis and output."""
    name = reference.output_names[k]
    kind = reference.kinds.get(name)
    tapped = kind is not None and name in candidate.kinds
    stem = "logits" if tapped else "out"
    basis = "logits" if tapped else "probabilities" if kind or name in candidate.kinds else "outputs"
    if (stem, k) not in yardsticks:
        yardsticks[stem, k] = Yardstick.of(reference, stem, k)
    values = _Values(
        yardsticks[stem, k], candidate.values(stem, k), read(candidate.folder, f"{stem}1", k),
        candidate.values("out", k), reference.values("out", k),
    )  # fmt: skip
    if not values.fits:
        return _misshapen(name, basis, values)
    return _row(name, basis, kind, values, gate, reference.labels)


def _row(
    name: str, basis: str, kind: str | None, values: _Values, gate: Gate, labels: Array | None
) -> OutputRow:
    stick = values.stick
    gap = difference(values.values, stick.values)
    probability = difference(values.outputs, values.wanted) if basis == "logits" else gap
    lone = _singles_difference(values)
    nonfinite = max(gap.nonfinite, lone.nonfinite if lone else 0, probability.nonfinite)
    ratio = _noise_ratio(values)
    if gate.noise_ratio is not None and ratio is not None:
        judged = _by_noise(values, ratio, gate.noise_ratio)
    else:
        judged = _by_sqnr(stick, max(gap.mean_square, lone.mean_square if lone else 0.0), gate)
    ranked = values.values.ndim == 2 and values.values.shape[1] > 1
    top = top_one(values.values, stick.values, 2 * judged.undecided) if ranked and kind != "sigmoid" else None
    kept = _labels(values, judged, basis) if kind == "sigmoid" else None
    faults = [] if judged.passed else [judged.reason]
    if nonfinite:
        faults.insert(0, f"{nonfinite} values are not finite where the reference's are")
    if top is not None and kind == "softmax" and top.flips > allowed(len(values.values), gate.top1):
        faults.append(f"{top.flips} of {len(values.values)} samples change class, and {gate.top1:.1%} must keep theirs")
    if kept is not None and kept.flips > allowed(kept.count, gate.top1):
        faults.append(f"{kept.flips} of {kept.count} labels change, and {gate.top1:.1%} must keep theirs")
    if basis == "logits":
        faults += _map_faults(values, str(kind), gate, judged.undecided)
        faults += _lost_outputs(values, probability, str(kind), gate)
    status = DISAGREE if faults else INCONCLUSIVE if judged.dead_passes else AGREE
    return OutputRow(
        name=name, basis=basis, max_abs=gap.max_abs, rmse=gap.rmse,
        sqnr_db=sqnr_db(stick.signal.moving_square, gap.mean_square), noise_ratio=ratio,
        top1_agreement=top.agreement if top else None, accuracy=accuracy(values.outputs, labels),
        nonfinite=nonfinite, samples=len(values.values),
        probability_max_abs=probability.max_abs if basis == "logits" else None,
        ties=top.ties if top else kept.ties if kept else None,
        labels_agreement=kept.agreement if kept else None, agreement_low=_sure(top, kept, len(values.values)),
        scores=scores(values.outputs, labels, kind), gate=judged.to_json(), status=status,
        reason="; ".join(faults) if faults else _dead(stick) if judged.dead_passes else judged.reason,
    )  # fmt: skip


def _labels(values: _Values, judged: Judged, basis: str) -> LabelsKept:
    """A label is on above a probability of one half, which is a logit of 0."""
    return labels_kept(values.values, values.stick.values, judged.undecided, 0.0 if basis == "logits" else 0.5)


def _sure(top: TopOne | None, kept: LabelsKept | None, samples: int) -> float | None:
    """The least share of classes or labels alike that so few samples prove."""
    if top is not None:
        return lower_bound(samples - top.flips, samples)
    return None if kept is None else lower_bound(kept.count - kept.flips, kept.count)


def _singles_difference(values: _Values) -> Difference | None:
    """What batches of one give against the reference's larger batch."""
    singles = values.singles
    return None if singles is None else difference(singles, values.stick.values[: len(singles)])


def _misshapen(name: str, basis: str, values: _Values) -> OutputRow:
    reason = f"it has shape {values.outputs.shape} instead of {values.wanted.shape}"
    return OutputRow(
        name=name, basis=basis, max_abs=math.nan, rmse=math.nan, sqnr_db=None, noise_ratio=None, top1_agreement=None,
        accuracy=None, nonfinite=0, samples=len(values.values), probability_max_abs=None, ties=None, gate={},
        status=DISAGREE, reason=reason,
    )  # fmt: skip


def _noise_ratio(values: _Values) -> float | None:
    """The greatest error against the oracle, in batches and alone, over float32's own; None without an oracle."""
    stick = values.stick
    if stick.oracle is None or stick.noise is None:
        return None
    worst = difference(values.values[: len(stick.oracle)], stick.oracle).max_abs
    if values.singles is not None:
        both = slice(0, min(len(values.singles), len(stick.oracle)))
        worst = max(worst, difference(values.singles, stick.oracle, both).max_abs)
    if stick.noise == 0.0:  # the reference is zero throughout
        return 0.0 if worst == 0.0 else math.inf
    return worst / stick.noise


def _by_noise(values: _Values, ratio: float, limit: float) -> Judged:
    stick, noise = values.stick, values.stick.noise or 0.0
    passed = ratio <= limit
    reason = f"its error is {ratio:.2g} times float32's own noise (limit {limit:g})"
    seen = 0 if stick.oracle is None else len(stick.oracle)
    if passed and seen < len(values.values):
        wider = MORE_SAMPLES * (limit + 1)
        rest = difference(values.values, stick.values, slice(seen, None)).max_abs
        passed = rest <= wider * noise
        if not passed:
            reason = (
                f"beyond the oracle's {seen} samples it lies {rest:.2g} from the reference, "
                f"more than {wider:g} times float32's noise"
            )
    dead = stick.signal.dead_max <= limit * noise
    furthest = (limit + 1) * noise * (MORE_SAMPLES if seen < len(values.values) else 1.0)
    return Judged("noise_ratio", ratio, limit, passed, dead, limit * noise, furthest, reason)


def _by_sqnr(stick: Yardstick, error_square: float, gate: Gate) -> Judged:
    moving, floor = stick.signal.moving_square, stick.signal.floor**2
    allowed = max(moving * 10 ** (-gate.sqnr_db / 10), floor)
    value = sqnr_db(moving, error_square)
    reason = f"its error is {value:.1f} dB below the moving part of the signal (limit {gate.sqnr_db:g} dB)"
    if error_square == 0:
        reason = "it has no error at all"
    # A reduced precision's own error is no excuse for another class: the share that may change is its gate.
    undecided = stick.signal.floor if gate.noise_ratio is None else CREST * math.sqrt(allowed)
    passed, dead = error_square <= allowed, moving <= allowed
    return Judged("sqnr_db", value, gate.sqnr_db, passed, dead, undecided, math.sqrt(allowed), reason)


def _dead(stick: Yardstick) -> str:
    return (
        f"these inputs cannot tell: a constant output would pass too, for the reference moves by "
        f"{stick.signal.dead_max:.2g} only; give real --inputs, another --input-range, or a trained checkpoint"
    )


def _map_faults(values: _Values, kind: str, gate: Gate, undecided: float) -> list[str]:
    """The untouched file's probabilities must be the map of its tapped copy's logits.

    The two are separate runs whose kernels may differ, so float32's allowance comes on top, shrunk by the map.
    """
    function, slope = _MAPS[kind]
    worst = 0.0
    for part in blocks(len(values.outputs), values.outputs):
        gap = np.abs(wide(values.outputs[part]) - function(values.values[part]))
        worst = max(worst, float(gap[np.isfinite(gap)].max(initial=0.0)))
    limit = gate.map_slack + slope * undecided
    if worst <= limit:
        return []
    return [f"its probabilities lie {worst:.2g} from the {kind} of its logits (limit {limit:.2g})"]


def _lost_outputs(values: _Values, gap: Difference, kind: str, gate: Gate) -> list[str]:
    """A file may compute right logits and lose them in its last operation: an int8 sigmoid has steps of 1/256, which
    give one constant for a network whose probabilities all lie near 0.5."""
    moving = signal(values.wanted).moving_square
    if gate.noise_ratio is not None or gap.mean_square <= moving * 10 ** (-LEFT_DB / 10):
        return []
    return [
        f"its {kind} loses what its logits tell: the error of the probabilities is "
        f"{sqnr_db(moving, gap.mean_square):.1f} dB below what they move by, and a constant would have 0 dB "
        f"(limit {LEFT_DB:g} dB)"
    ]
