"""Outputs of texts: they are the checkpoint's or they are not. NumPy alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converters.arrays import Array
from validate.agreement.arrays import read
from validate.agreement.judging.class_decisions import share_interval
from validate.agreement.judging.reference_values import Candidate, Reference, undecided_of
from validate.agreement.losses import KEPT, LOST, SAMPLES_LISTED, UNPROVEN, Changed, Estimate, Loss, LossGate
from validate.agreement.rows import AGREE, DISAGREE, GateRow, OutputRow, VerdictStatus
from validate.agreement.worker.batches import SMALL, WIDE

_TEXTS = "texts"


def judge_texts(reference: Reference, candidate: Candidate, k: int) -> OutputRow:
    """Judges output `k` of texts in every row and batch that was run, but for those that float32's rounding may turn,
    as the name of the likeliest class where two are nearly alike."""
    name, expected = reference.output_names[k], reference.all_rows("out", k)
    got = candidate.values("out", k)
    if got.shape[1:] != expected.shape[1:] or got.dtype.kind != expected.dtype.kind:
        reason = f"it gives {_told(got)} instead of {_told(expected)}"
        return _row(name, len(got), DISAGREE, reason)
    free = undecided_of(reference, k)
    differs = _differs(got, expected, free, list(range(len(got))))
    samples = differs[: reference.plan.samples][: reference.few]
    count = int(differs.sum())
    for suffix, rows in ((SMALL, None), (WIDE, reference.plan.wide_rows)):
        other = read(candidate.folder, f"out{suffix}", k)
        if other is not None:
            count += int(_differs(other, expected, free, rows or list(range(len(other)))).sum())
    status = DISAGREE if count else AGREE
    reason = f"{count} of its texts are not the checkpoint's" if count else "its texts are the checkpoint's"
    constant = bool((expected == expected[:1]).all())
    return _row(name, len(samples), status, reason, constant, _loss(name, samples, reference.drawn, reason))


def _differs(got: Array, expected: Array, free: Array, rows: list[int]) -> Array:
    differs: Array = (got != expected[rows]) & ~free[rows]
    return differs


def _loss(name: str, differs: Array, drawn: bool, reason: str) -> Loss:
    which = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
    count, of = int(differs.sum()), differs.size
    share = share_interval(len(which), len(differs))
    estimate = Estimate(share["value"], share["low"], share["high"])
    changed = Changed(_TEXTS, count, of, estimate, tuple(map(int, which[:SAMPLES_LISTED])))
    status = KEPT if not count else UNPROVEN if drawn else LOST
    return Loss(status, reason, name, changed, gate=LossGate(_TEXTS, 1 - count / max(1, of), 1.0))


def _told(values: Array) -> str:
    what = _TEXTS if values.dtype.kind == "S" else values.dtype.name
    return f"{what} of shape {values.shape[1:]} a sample"


def _row(
    name: str, samples: int, status: VerdictStatus, reason: str, constant: bool = False, loss: Loss | None = None
) -> OutputRow:
    row = OutputRow.without_figures(name, "outputs", samples, status, reason)
    return replace(row, gate=GateRow(dead_passes=constant), loss=loss)
