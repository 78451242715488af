"""From arrays on disk to a judgement of each output. NumPy alone; knows no framework."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from converters.arrays import Array
from validate.agreement.arrays import read
from validate.agreement.judging.class_decisions import (
    LabelAgreement,
    accuracy,
    allowed,
    label_agreement,
    lower_bound,
    scores,
)
from validate.agreement.judging.decisions import CLASSES, LABELS
from validate.agreement.judging.final_activation import lost_outputs, map_faults
from validate.agreement.judging.gate_checks import INPUTS, GateResult, by_noise, by_rounding, by_sqnr, noise_ratios
from validate.agreement.judging.gates import Gate
from validate.agreement.judging.loss import Task, loss_of
from validate.agreement.judging.lost_columns import lost_columns
from validate.agreement.judging.metrics import Difference, TopOne, difference, sqnr_db, top_one
from validate.agreement.judging.reference_values import Candidate, Reference, ReferenceValues, Rounding, Values
from validate.agreement.judging.texts import judge_texts
from validate.agreement.rows import AGREE, DISAGREE, INCONCLUSIVE, OutputRow
from validate.agreement.worker.batches import SEQUENCE, SMALL, WIDE


def judge_output(
    reference: Reference,
    reference_values: dict[tuple[str, int], ReferenceValues],
    candidate: Candidate,
    k: int,
    gate: Gate,
) -> OutputRow:
    """Judges output `k`; `reference_values` keeps what was measured of the reference, by basis and output."""
    name = reference.output_names[k]
    if reference.values("out", k).dtype.kind == "S":
        return judge_texts(reference, candidate, k)
    kind = reference.kinds.get(name)
    tapped = kind is not None and name in candidate.kinds
    stem = "logits" if tapped else "out"
    basis = "logits" if tapped else "probabilities" if kind or name in candidate.kinds else "outputs"
    if (stem, k) not in reference_values:
        reference_values[stem, k] = ReferenceValues.of(reference, stem, k)
    reference_outputs = reference.values("out", k)
    values = Values(
        reference_values[stem, k],
        candidate.values(stem, k),
        _other_batches(reference, candidate, stem, k),
        candidate.values("out", k)[: len(reference_outputs)],
        reference_outputs,
        _pairs(reference, candidate, k) if tapped else (),
        read(candidate.folder, f"{stem}{SEQUENCE}", k),
    )
    if not values.fits:
        return _shape_mismatch(name, basis, values)
    return _row(_Head(name, basis, kind), values, reference, candidate, gate)


@dataclass(frozen=True)
class _Head:
    """Which output is judged, on what, and the map that its logits go through."""

    name: str
    basis: str
    kind: str | None


def _row(head: _Head, values: Values, reference: Reference, candidate: Candidate, gate: Gate) -> OutputRow:
    expected, kind, labels = values.expected, head.kind, reference.labels
    gap = difference(values.values, expected.values)
    probability = difference(values.outputs, values.reference_outputs) if head.basis == "logits" else gap
    batch_gap = _other_batches_difference(values)
    ratios = noise_ratios(values)
    result = _gate_result(
        values,
        ratios,
        max(gap.mean_square, batch_gap.mean_square if batch_gap else 0.0),
        gate,
        expected.rounding(candidate),
        reference.drawn,
    )
    nonfinite = max(
        gap.nonfinite, batch_gap.nonfinite if batch_gap else 0, probability.nonfinite, _lost_edge_cases(values, result)
    )
    decides = reference.decides(head.name, values.reference_outputs)
    top = top_one(values.values, expected.values, 2 * result.tie) if decides == CLASSES else None
    label_score = _labels(values, result, head.basis) if decides == LABELS else None
    judged_by_loss = not reference.drawn and (result.measure == "rounding_ratio" or reference.by_metric)
    decision_faults = [] if judged_by_loss else _decision_faults(len(values.values), gate, top, label_score)
    faults = _faults(result, nonfinite, decision_faults)
    faults += lost_columns(values)
    if head.basis == "logits":
        faults += map_faults(values, str(kind), gate, result.undecided)
        faults += lost_outputs(values, str(kind), gate)
    cannot_tell = result.dead_passes and not expected.constant  # where nothing moves, equality is the whole truth
    status = DISAGREE if faults else INCONCLUSIVE if cannot_tell else AGREE
    gate_value = {result.measure: result.value}
    row = OutputRow(
        name=head.name,
        basis=head.basis,
        max_abs=gap.max_abs,
        rmse=gap.rmse,
        sqnr_db=sqnr_db(expected.signal.moving_square, gap.mean_square),
        noise_ratio=gate_value.get("noise_ratio", ratios.get(INPUTS)),
        top1_agreement=top.agreement if top else None,
        accuracy=accuracy(values.outputs, labels),
        nonfinite=nonfinite,
        samples=len(values.values),
        probability_max_abs=probability.max_abs if head.basis == "logits" else None,
        ties=top.ties if top else label_score.ties if label_score else None,
        labels_agreement=label_score.agreement if label_score else None,
        agreement_low=_agreement_low(top, label_score),
        scores=scores(values.outputs, labels, kind),
        gate=result.row,
        status=status,
        reason="; ".join(faults) if faults else _dead_reason(expected, result) if cannot_tell else result.reason,
        noise_ratios=ratios,
        rounding_ratio=gate_value.get("rounding_ratio"),
        conditioning=expected.conditioning,
        moved_runs=reference.moved_runs,
        decides=decides,
    )
    task = Task(decides, 0.0 if head.basis == "logits" else 0.5, reference.drawn)
    return replace(row, loss=loss_of(row, values, result, gate, task))


def _gate_result(
    values: Values, ratios: dict[str, float], mean_square: float, gate: Gate, rounding: Rounding | None, drawn: bool
) -> GateResult:
    """The first yardstick that tells: float32's noise, the emulated precision, decibels.

    Rounding that costs as much as the signal moves is not a yardstick: a dead model would pass by it.
    """
    if gate.noise_ratio is not None and ratios:
        return by_noise(values, ratios, gate.noise_ratio)
    if gate.rounding_ratio is not None and rounding is not None:
        result = by_rounding(values.expected, math.sqrt(mean_square), rounding, gate.rounding_ratio, drawn)
        if values.expected.constant or not result.dead_passes:
            return result
    return by_sqnr(values.expected, mean_square, gate)


def _lost_edge_cases(values: Values, result: GateResult) -> int:
    """Values that are not finite in the edge cases: a reduced precision may overflow there."""
    if result.measure != "noise_ratio":
        return 0
    counts = [
        difference(values.all_rows[cases.rows], cases.oracle).nonfinite
        for cases in values.expected.edge_cases.values()
        if len(values.all_rows) >= cases.rows.stop
    ]
    return max(counts, default=0)


def _faults(result: GateResult, nonfinite: int, decision_faults: list[str]) -> list[str]:
    faults = [f"{nonfinite} values are not finite where the reference's are"] if nonfinite else []
    return [*faults, *([] if result.passed else [result.reason]), *decision_faults]


def _decision_faults(samples: int, gate: Gate, top: TopOne | None, label_score: LabelAgreement | None) -> list[str]:
    """Classes and labels that change, where more do than may."""
    if top is not None and top.flips > allowed(top.count, gate.top1):
        what = "samples" if top.count == samples else "positions"
        return [f"{top.flips} of {top.count} {what} change class, and {gate.top1:.1%} must keep theirs"]
    if label_score is not None and label_score.flips > allowed(label_score.count, gate.top1):
        return [f"{label_score.flips} of {label_score.count} labels change, and {gate.top1:.1%} must keep theirs"]
    return []


def _labels(values: Values, result: GateResult, basis: str) -> LabelAgreement:
    """A label is on above a probability of one half, which is a logit of 0."""
    return label_agreement(values.values, values.expected.values, result.tie, 0.0 if basis == "logits" else 0.5)


def _agreement_low(top: TopOne | None, label_score: LabelAgreement | None) -> float | None:
    """The minimum share of classes or labels alike that so few decisions prove."""
    score = top or label_score
    return None if score is None else lower_bound(score.count - score.flips, score.count)


def _other_batches(
    reference: Reference, candidate: Candidate, stem: str, k: int
) -> tuple[tuple[Array, list[int]], ...]:
    """The outputs of the small batches and of the wide one, where they were run."""
    small, wide = read(candidate.folder, f"{stem}{SMALL}", k), read(candidate.folder, f"{stem}{WIDE}", k)
    batches = [] if small is None else [(small, list(range(len(small))))]
    return (*batches, *(() if wide is None else ((wide, reference.plan.wide_rows),)))


def _pairs(reference: Reference, candidate: Candidate, k: int) -> tuple[tuple[Array, Array], ...]:
    """The untouched file's outputs and its copy's logits in the small batches and the wide one, where they were run."""
    both = zip(
        _other_batches(reference, candidate, "out", k), _other_batches(reference, candidate, "logits", k), strict=True
    )
    return tuple((outputs, logits) for (outputs, _), (logits, _) in both)


def _other_batches_difference(values: Values) -> Difference | None:
    """How far other batches, and the steps of a long run, lie from the reference, at worst."""
    gaps = [difference(array, values.expected.values[rows]) for array, rows in values.other_batches]
    if values.sequence is not None and values.expected.sequence is not None:
        gaps.append(difference(values.sequence, values.expected.sequence.values))
    if not gaps:
        return None
    return Difference(
        max(gap.max_abs for gap in gaps), max(gap.mean_square for gap in gaps), max(gap.nonfinite for gap in gaps)
    )


def _shape_mismatch(name: str, basis: str, values: Values) -> OutputRow:
    reason = f"it has shape {values.outputs.shape} instead of {values.reference_outputs.shape}"
    return OutputRow.without_figures(name, basis, len(values.values), DISAGREE, reason)


def _dead_reason(expected: ReferenceValues, result: GateResult) -> str:
    """What moves, beside what the gate lets an error be: neither says anything without the other."""
    if result.measure == "noise_ratio" and expected.noise is not None:
        noise = float(np.max(expected.noise, initial=0.0))
        moved = f"{expected.signal.dead_max:.2g} at most, and float32's own noise is up to {noise:.2g}"
        moved += f" (limit {result.limit:.3g} times that)"
    else:
        moved = f"{math.sqrt(expected.signal.moving_square):.2g} (rms), and an error of {result.allowed:.2g} may pass"
    return (
        f"these inputs cannot tell: a constant output would pass too, for the reference moves by {moved}; "
        "give real --inputs, another --input-range, or a trained checkpoint"
    )
