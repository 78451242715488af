"""One figure that means the same for every file, its error over what its precision must cost; and its loss in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.report import wording as say
from validate.agreement.losses import KEPT, UNPROVEN, Estimate, Loss
from validate.agreement.rows import JudgedRow, OutputRow

COST, GATE, LOSS = "Error / must cost", "Gate", "Loss"
NOTE = (
    "Error / must cost: the file's error over what its precision must cost: float32's own noise, or the rounding of a "
    "reduced precision; where that is no yardstick, over the error that the gate in decibels allows."
)


def cost_of(output: OutputRow) -> tuple[float | None, float | None]:
    """The error over what the precision must cost, and the limit that it is held to; None where nothing was gated."""
    gate = output.gate
    if gate.limit is None:
        return output.noise_ratio, None
    if gate.measure != "sqnr_db":
        return gate.value, gate.limit
    if gate.value is None:  # decibels of no error
        return (0.0 if gate.kept else None), 1.0
    return 10 ** ((gate.limit - gate.value) / 20), 1.0


def cost_words(output: OutputRow | None) -> tuple[str, str]:
    """The figure and the gate beside it: `0.594 x` and `<= 2.5 x`; of decibels `<= 1 x (13 dB)`."""
    if output is None:
        return say.NONE, say.NONE
    cost, limit = cost_of(output)
    figure = say.NONE if cost is None else f"{say.figure(cost)} x"
    decibels = f" ({output.gate.limit:g} dB)" if output.gate.measure == "sqnr_db" else ""
    return figure, say.NONE if limit is None else f"<= {limit:g} x{decibels}"


def worst_output(verdict: JudgedRow) -> OutputRow | None:
    """The output whose error lies farthest towards its gate, or beyond it."""

    def share(row: OutputRow) -> tuple[float, float]:
        cost, limit = cost_of(row)
        level = math.inf if row.sqnr_db is None else row.sqnr_db
        return (-1.0 if cost is None else cost / (limit or 1.0)), -level

    return max(verdict.outputs, key=share, default=None)


def loss_words(loss: Loss | None) -> str:
    """`kept, 0 of 16 classes change`; `not proven, 4 of 16 classes change`; `lost, top1 falls by 1.2 [0.4, 2.1]`."""
    if loss is None:
        return say.NONE
    word = "not proven" if loss.status == UNPROVEN else str(loss.status)
    figures = _figures(loss)
    return ", ".join([word, *figures])


def _figures(loss: Loss) -> Sequence[str]:
    if loss.metric is not None and loss.drop is not None:
        return [f"{say.clean(loss.metric)} {drop_words(loss.drop)}"]
    if loss.changed is not None:
        changed = loss.changed
        return [f"{changed.count} of {changed.of} {changed.what} change"]
    if loss.sqnr_db is not None and (loss.status != KEPT or loss.gate is None or loss.gate.measure == "sqnr_db"):
        return [f"{loss.sqnr_db:.1f} dB"]
    return []


def drop_words(drop: Estimate) -> str:
    """`falls by 1.2 [0.4, 2.1]`."""
    verb, sign = ("falls", 1.0) if (drop.value or 0.0) >= 0 else ("rises", -1.0)
    ends = sorted(sign * end for end in (drop.low, drop.high) if end is not None)
    interval = f" [{say.figure(ends[0])}, {say.figure(ends[1])}]" if len(ends) == 2 else ""
    return f"{verb} by {say.figure(abs(drop.value or 0.0))}{interval}"
