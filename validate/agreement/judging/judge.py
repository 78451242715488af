"""From arrays on disk to a judgement of each output. NumPy alone; knows no framework."""

from __future__ import annotations

import math
from dataclasses import dataclass

from converters.arrays import Array
from converters.formats import Precision
from validate.agreement.arrays import read
from validate.agreement.judging.class_decisions import LabelsKept, accuracy, allowed, labels_kept, lower_bound, scores
from validate.agreement.judging.final_activation import lost_outputs, map_faults
from validate.agreement.judging.gate_checks import INPUTS, Judged, by_noise, by_rounding, by_sqnr, noise_ratios
from validate.agreement.judging.gates import Gate
from validate.agreement.judging.metrics import Difference, TopOne, difference, sqnr_db, top_one
from validate.agreement.judging.reference_values import Candidate, Reference, ReferenceValues, Rounding, Values
from validate.agreement.results import AGREE, DISAGREE, INCONCLUSIVE, GateRow, OutputRow
from validate.agreement.worker.batches import SMALL, WIDE


def judge_output(
    reference: Reference,
    reference_values: dict[tuple[str, int], ReferenceValues],
    candidate: Candidate,
    k: int,
    gate: Gate,
) -> OutputRow:
    """Judges output `k`; `reference_values` keeps what was measured of the reference, by basis and output."""
    name = reference.output_names[k]
    kind = reference.kinds.get(name)
    tapped = kind is not None and name in candidate.kinds
    stem = "logits" if tapped else "out"
    basis = "logits" if tapped else "probabilities" if kind or name in candidate.kinds else "outputs"
    if (stem, k) not in reference_values:
        reference_values[stem, k] = ReferenceValues.of(reference, stem, k)
    wanted = reference.values("out", k)
    values = Values(
        reference_values[stem, k],
        candidate.values(stem, k),
        _again(reference, candidate, stem, k),
        candidate.values("out", k)[: len(wanted)],
        wanted,
        _pairs(reference, candidate, k) if tapped else (),
    )
    if not values.fits:
        return _misshapen(name, basis, values)
    return _row(_Head(name, basis, kind), values, reference, candidate.precision, gate)


@dataclass(frozen=True)
class _Head:
    """Which output is judged, on what, and the map that its logits go through."""

    name: str
    basis: str
    kind: str | None


def _row(head: _Head, values: Values, reference: Reference, precision: Precision, gate: Gate) -> OutputRow:
    expected, kind, labels = values.expected, head.kind, reference.labels
    gap = difference(values.values, expected.values)
    probability = difference(values.outputs, values.wanted) if head.basis == "logits" else gap
    lone = _difference_again(values)
    ratios = noise_ratios(values)
    judged = _judged(
        values,
        ratios,
        max(gap.mean_square, lone.mean_square if lone else 0.0),
        gate,
        expected.roundings.get(precision),
        reference.drawn,
    )
    nonfinite = max(gap.nonfinite, lone.nonfinite if lone else 0, probability.nonfinite, _lost_beside(values, judged))
    ranked = values.values.ndim == 2 and values.values.shape[1] > 1
    top = top_one(values.values, expected.values, 2 * judged.tie) if ranked and kind != "sigmoid" else None
    kept = _labels(values, judged, head.basis) if kind == "sigmoid" else None
    faults = _faults(judged, nonfinite, _decided(head, values, gate, top, kept))
    if head.basis == "logits":
        faults += map_faults(values, str(kind), gate, judged.undecided)
        faults += lost_outputs(values, str(kind), gate)
    status = DISAGREE if faults else INCONCLUSIVE if judged.dead_passes else AGREE
    gated = {judged.measure: judged.value}
    return OutputRow(
        name=head.name,
        basis=head.basis,
        max_abs=gap.max_abs,
        rmse=gap.rmse,
        sqnr_db=sqnr_db(expected.signal.moving_square, gap.mean_square),
        noise_ratio=gated.get("noise_ratio", ratios.get(INPUTS)),
        top1_agreement=top.agreement if top else None,
        accuracy=accuracy(values.outputs, labels),
        nonfinite=nonfinite,
        samples=len(values.values),
        probability_max_abs=probability.max_abs if head.basis == "logits" else None,
        ties=top.ties if top else kept.ties if kept else None,
        labels_agreement=kept.agreement if kept else None,
        agreement_low=_sure(top, kept, len(values.values)),
        scores=scores(values.outputs, labels, kind),
        gate=judged.row,
        status=status,
        reason="; ".join(faults) if faults else _dead(expected) if judged.dead_passes else judged.reason,
        noise_ratios=ratios,
        rounding_ratio=gated.get("rounding_ratio"),
    )


def _judged(
    values: Values, ratios: dict[str, float], mean_square: float, gate: Gate, rounding: Rounding | None, drawn: bool
) -> Judged:
    """The first yardstick that tells: float32's noise, the emulated precision, decibels.

    Rounding that costs as much as the signal moves is no yardstick: a dead model would pass by it.
    """
    if gate.noise_ratio is not None and ratios:
        return by_noise(values, ratios, gate.noise_ratio)
    if gate.rounding_ratio is not None and rounding is not None:
        judged = by_rounding(values.expected, math.sqrt(mean_square), rounding, gate.rounding_ratio, drawn)
        if not judged.dead_passes:
            return judged
    return by_sqnr(values.expected, mean_square, gate)


def _lost_beside(values: Values, judged: Judged) -> int:
    """Values that are not finite in the samples beside the others: a reduced precision may overflow there."""
    if judged.measure != "noise_ratio":
        return 0
    found = [
        difference(values.every[b.rows], b.oracle).nonfinite
        for b in values.expected.beside.values()
        if len(values.every) >= b.rows.stop
    ]
    return max(found, default=0)


def _faults(judged: Judged, nonfinite: int, decided: list[str]) -> list[str]:
    faults = [f"{nonfinite} values are not finite where the reference's are"] if nonfinite else []
    return [*faults, *([] if judged.passed else [judged.reason]), *decided]


def _decided(head: _Head, values: Values, gate: Gate, top: TopOne | None, kept: LabelsKept | None) -> list[str]:
    """Classes and labels that change, where more do than may."""
    count = len(values.values)
    if top is not None and head.kind == "softmax" and top.flips > allowed(count, gate.top1):
        return [f"{top.flips} of {count} samples change class, and {gate.top1:.1%} must keep theirs"]
    if kept is not None and kept.flips > allowed(kept.count, gate.top1):
        return [f"{kept.flips} of {kept.count} labels change, and {gate.top1:.1%} must keep theirs"]
    return []


def _labels(values: Values, judged: Judged, basis: str) -> LabelsKept:
    """A label is on above a probability of one half, which is a logit of 0."""
    return labels_kept(values.values, values.expected.values, judged.tie, 0.0 if basis == "logits" else 0.5)


def _sure(top: TopOne | None, kept: LabelsKept | None, samples: int) -> float | None:
    """The least share of classes or labels alike that so few samples prove."""
    if top is not None:
        return lower_bound(samples - top.flips, samples)
    return None if kept is None else lower_bound(kept.count - kept.flips, kept.count)


def _again(reference: Reference, candidate: Candidate, stem: str, k: int) -> tuple[tuple[Array, list[int]], ...]:
    """What the small batches and the wide one gave, where they were run."""
    small, wide = read(candidate.folder, f"{stem}{SMALL}", k), read(candidate.folder, f"{stem}{WIDE}", k)
    found = [] if small is None else [(small, list(range(len(small))))]
    return (*found, *(() if wide is None else ((wide, reference.plan.wide_rows),)))


def _pairs(reference: Reference, candidate: Candidate, k: int) -> tuple[tuple[Array, Array], ...]:
    """The untouched file's outputs and its copy's logits in the small batches and the wide one, where they were run."""
    both = zip(_again(reference, candidate, "out", k), _again(reference, candidate, "logits", k), strict=True)
    return tuple((outputs, logits) for (outputs, _), (logits, _) in both)


def _difference_again(values: Values) -> Difference | None:
    """How far other batches lie from the reference, at worst."""
    gaps = [difference(array, values.expected.values[rows]) for array, rows in values.again]
    if not gaps:
        return None
    return Difference(
        max(gap.max_abs for gap in gaps), max(gap.mean_square for gap in gaps), max(gap.nonfinite for gap in gaps)
    )


def _misshapen(name: str, basis: str, values: Values) -> OutputRow:
    reason = f"it has shape {values.outputs.shape} instead of {values.wanted.shape}"
    return OutputRow(
        name=name,
        basis=basis,
        max_abs=None,
        rmse=None,
        sqnr_db=None,
        noise_ratio=None,
        top1_agreement=None,
        accuracy=None,
        nonfinite=0,
        samples=len(values.values),
        probability_max_abs=None,
        ties=None,
        gate=GateRow(),
        status=DISAGREE,
        reason=reason,
    )


def _dead(expected: ReferenceValues) -> str:
    return (
        f"these inputs cannot tell: a constant output would pass too, for the reference moves by "
        f"{expected.signal.dead_max:.2g} only; give real --inputs, another --input-range, or a trained checkpoint"
    )
