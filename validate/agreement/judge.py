"""From arrays on disk to a judgement of each output. NumPy alone; knows no framework."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import StepError
from validate.agreement.arrays import blocks, read, wide
from validate.agreement.gates import MORE_SAMPLES, Gate
from validate.agreement.metrics import Signal, difference, sigmoid, signal, softmax, sqnr_db, top_one
from validate.agreement.plan import Plan
from validate.agreement.results import AGREE, DISAGREE, INCONCLUSIVE, OutputRow
from validate.runtimes.base import Array

_MAPS = {"softmax": (softmax, 0.5), "sigmoid": (sigmoid, 0.25)}
"""The final maps and how much they can stretch a difference: |d softmax| <= |d x| / 2, |d sigmoid| <= |d x| / 4."""

_CREST = 4.0
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
    """One gate applied: what was measured, against what, and whether a dead model would pass the same."""

    measure: str
    value: float
    limit: float
    passed: bool
    dead_passes: bool
    allowed: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"measure": self.measure, "value": self.value, "limit": self.limit, "dead_passes": self.dead_passes}


def _need(folder: Path, stem: str, k: int) -> Array:
    array = read(folder, stem, k)
    if array is None:
        raise StepError(
            f"The values {stem}.{k} were not written by their worker.", next_step="Run again with --debug.",
            file=folder, step="validate",
        )  # fmt: skip
    return array


def judge_output(reference: Reference, yardsticks: dict[tuple[str, int], Yardstick], candidate: Candidate,
                 k: int, gate: Gate) -> OutputRow:  # fmt: skip
    """Judges output `k`; `yardsticks` keeps what was measured of the reference, by basis and output."""
    name = reference.output_names[k]
    kind = reference.kinds.get(name)
    tapped = kind is not None and name in candidate.kinds
    stem = "logits" if tapped else "out"
    basis = "logits" if tapped else "probabilities" if kind or name in candidate.kinds else "outputs"
    key = (stem, k)
    if key not in yardsticks:
        yardsticks[key] = Yardstick.of(reference, stem, k)
    stick, values = yardsticks[key], candidate.values(stem, k)
    outputs = candidate.values("out", k)
    if values.shape != stick.values.shape or outputs.shape != reference.values("out", k).shape:
        return _misshapen(name, basis, values, stick)
    singles = read(candidate.folder, f"{stem}1", k)
    gap = difference(values, stick.values)
    lone = difference(singles, stick.values, slice(0, len(singles))) if singles is not None else None
    nonfinite = gap.nonfinite + (lone.nonfinite if lone else 0) + difference(outputs, reference.values("out", k)).nonfinite
    ratio = _noise_ratio(stick, values, singles)
    judged = _by_noise(stick, values, ratio, gate) if _uses_noise(gate, ratio) else _by_sqnr(
        stick, max(gap.mean_square, lone.mean_square if lone else 0.0), gate)  # fmt: skip
    top = top_one(values, stick.values, 2 * judged.allowed) if values.ndim == 2 and values.shape[1] > 1 else None
    faults = [] if judged.passed else [judged.reason]
    if nonfinite:
        faults.insert(0, f"{nonfinite} values are not finite where the reference's are")
    if top is not None and kind == "softmax" and top.flips > math.ceil((1 - gate.top1) * len(values)):
        faults.append(f"{top.flips} of {len(values)} samples get another class, and {gate.top1:.1%} must be alike")
    probability = None
    if tapped:
        probability = difference(outputs, reference.values("out", k)).max_abs
        faults += _map_faults(outputs, values, str(kind), gate, judged.allowed)
    status = DISAGREE if faults else INCONCLUSIVE if judged.dead_passes else AGREE
    reason = "; ".join(faults) if faults else _dead(stick) if judged.dead_passes else judged.reason
    return OutputRow(
        name=name, basis=basis, max_abs=gap.max_abs, rmse=gap.rmse,
        sqnr_db=sqnr_db(stick.signal.moving_square, gap.mean_square), noise_ratio=ratio,
        top1_agreement=top.agreement if top else None, accuracy=accuracy(outputs, reference.labels),
        nonfinite=nonfinite, samples=len(values), probability_max_abs=probability, ties=top.ties if top else None,
        gate=judged.to_json(), status=status, reason=reason,
    )  # fmt: skip


def _misshapen(name: str, basis: str, values: Array, stick: Yardstick) -> OutputRow:
    reason = f"it has shape {values.shape} instead of {stick.values.shape}"
    return OutputRow(
        name=name, basis=basis, max_abs=math.nan, rmse=math.nan, sqnr_db=None, noise_ratio=None, top1_agreement=None,
        accuracy=None, nonfinite=0, samples=len(values), probability_max_abs=None, ties=None, gate={},
        status=DISAGREE, reason=reason,
    )  # fmt: skip


def _noise_ratio(stick: Yardstick, values: Array, singles: Array | None) -> float | None:
    if stick.oracle is None or not stick.noise:
        return None if stick.oracle is None else (math.inf if difference(values, stick.values).max_abs else 0.0)
    worst = difference(values[: len(stick.oracle)], stick.oracle).max_abs
    if singles is not None:
        both = slice(0, min(len(singles), len(stick.oracle)))
        worst = max(worst, difference(singles, stick.oracle, both).max_abs)
    return worst / stick.noise


def _uses_noise(gate: Gate, ratio: float | None) -> bool:
    return gate.noise_ratio is not None and ratio is not None


def _by_noise(stick: Yardstick, values: Array, ratio: float | None, gate: Gate) -> Judged:
    limit, noise, value = float(gate.noise_ratio or 0), float(stick.noise or 0), float(ratio or 0)
    passed = value <= limit
    reason = f"its error is {value:.2g} times float32's own noise (limit {limit:g})"
    seen = len(stick.oracle) if stick.oracle is not None else 0
    if passed and seen < len(values):
        rest = difference(values, stick.values, slice(seen, None)).max_abs
        passed = rest <= MORE_SAMPLES * (limit + 1) * noise
        if not passed:
            reason = (
                f"beyond the oracle's {seen} samples it is {rest / noise:.2g} times float32's noise from the reference "
                f"(limit {MORE_SAMPLES * (limit + 1):g})"
            )
    return Judged("noise_ratio", value, limit, passed, stick.signal.dead_max <= limit * noise, limit * noise, reason)


def _by_sqnr(stick: Yardstick, error_square: float, gate: Gate) -> Judged:
    moving, floor = stick.signal.moving_square, stick.signal.floor**2
    allowed = max(moving * 10 ** (-gate.sqnr_db / 10), floor)
    value = sqnr_db(moving, error_square)
    reason = "it has no error at all" if error_square == 0 else f"its error is {value:.1f} dB below the moving part of the signal (limit {gate.sqnr_db:g} dB)"
    return Judged(
        "sqnr_db", value, gate.sqnr_db, error_square <= allowed, moving <= allowed, _CREST * math.sqrt(allowed), reason
    )


def _dead(stick: Yardstick) -> str:
    return (
        f"these inputs cannot tell: a constant output would pass too, for the reference moves by "
        f"{stick.signal.dead_max:.2g} only; give real --inputs, another --input-range, or a trained checkpoint"
    )


def _map_faults(outputs: Array, logits: Array, kind: str, gate: Gate, allowed: float) -> list[str]:
    """The untouched file's probabilities must be the map of its tapped copy's logits.

    The two are separate runs whose kernels may differ, so the logits' allowance comes on top, shrunk by the map.
    """
    function, slope = _MAPS[kind]
    worst = 0.0
    for part in blocks(len(outputs), outputs):
        gap = np.abs(wide(outputs[part]) - function(logits[part]))
        worst = max(worst, float(gap[np.isfinite(gap)].max(initial=0.0)))
    limit = gate.map_slack + slope * allowed
    if worst <= limit:
        return []
    return [f"its probabilities lie {worst:.2g} from the {kind} of its logits (limit {limit:.2g})"]


def accuracy(outputs: Array, labels: Array | None) -> float | None:
    """Share of samples of the labelled class: the greatest of several outputs, or a single one over 0.5.

    None without labels or where they do not fit: they must be one whole number a sample, or one-hot rows.
    """
    if labels is None or outputs.ndim != 2:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape == outputs.shape and bool((labels.sum(axis=1) == 1).all()):
        labels = labels.argmax(axis=1)
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        return None
    guess = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.5
    return float((guess == labels).mean())
