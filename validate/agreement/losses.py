"""What a file costs the user's task, as a value: the second answer of a verdict, beside its `status`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

METRICS = ("top1", "top5", "f1", "miou", "mae")
"""The metrics that go by a name. Apart from their arithmetic: the command line loads no NumPy."""


class LossStatus(StrEnum):
    """`lost` is a gate not passed. `unproven`: these inputs do not show that the task keeps what it needs."""

    KEPT = "kept"
    LOST = "lost"
    UNPROVEN = "unproven"


KEPT, LOST, UNPROVEN = LossStatus


@dataclass(frozen=True)
class Estimate:
    """A figure with its two-sided 95 % interval. None in JSON is a bound that is not finite."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Changed:
    """Decisions other than the reference's, those left out that float32's own noise may turn.

    Attributes:
        what: `classes` or `labels`.
        count: changed, of so many (`of`).
        share: of the samples in which one changed, with its interval (Clopper and Pearson): decisions about one sample
            are not independent of each other.
        samples: which ones, the first `SAMPLES_LISTED`.
    """

    what: str
    count: int
    of: int
    share: Estimate
    samples: tuple[int, ...]


SAMPLES_LISTED = 100


@dataclass(frozen=True)
class LossGate:
    """What decided: `measure` is `classes` or `labels` (the share that keeps), `drop`, `sqnr_db` or `noise_ratio`."""

    measure: str
    value: float | None
    limit: float | None


@dataclass(frozen=True)
class Loss:
    """What a file costs, at its worst output.

    Attributes:
        output: the output that it is of; empty where it is of all.
        changed: decisions other than the reference's; None where the output decides nothing.
        sqnr_db: the moving part of the reference's signal over the error's, with a bootstrap's bounds over the samples;
            null in JSON where there is no error.
        metric: the name of the user's metric, with the reference's figure, the file's `value` and the `drop` from one
            to the other; `max_drop` is what was allowed. Shares are of 1; their drops are in points.
            `lower`: less is better.
    """

    status: LossStatus
    reason: str
    output: str = ""
    changed: Changed | None = None
    sqnr_db: float | None = None
    sqnr_low_db: float | None = None
    sqnr_high_db: float | None = None
    gate: LossGate | None = None
    metric: str | None = None
    reference: float | None = None
    value: float | None = None
    drop: Estimate | None = None
    max_drop: float | None = None
    lower: bool = False


def worst_loss(losses: tuple[Loss, ...]) -> Loss | None:
    """The loss that decides: lost before unproven before kept, then most decisions changed, then most error."""
    order = (LOST, UNPROVEN, KEPT)

    def badness(loss: Loss) -> tuple[int, int, float]:
        decibels = float("inf") if loss.sqnr_db is None else loss.sqnr_db
        return order.index(loss.status), -(loss.changed.count if loss.changed else 0), decibels

    return min(losses, key=badness, default=None)
