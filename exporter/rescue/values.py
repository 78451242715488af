"""What a rescue aims at and comes to, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_LEVEL = -999.0


@dataclass(frozen=True)
class MetricGoal:
    """The user's metric, for a worker.

    Attributes:
        code: of a function, with the `folder` that its module is looked for in.
        inputs: the `.npz` with the labels; `samples` of them are there to choose with (`metric.apart`).
    """

    name: str
    code: dict[str, Any] | None
    folder: str
    lower: bool
    max_drop: float
    inputs: str
    samples: int
    seed: int


@dataclass(frozen=True)
class Goal:
    """When a rescue is done: the gate of the precision, and the share of multiply-adds it may cost.

    Attributes:
        sqnr_db: `NO_LEVEL` where decibels are no matter.
        metric: the user's, where it is what may fall so far; then it is searched by.
    """

    sqnr_db: float
    top1: float
    budget: float
    metric: MetricGoal | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Goal:
        metric = document.get("metric")
        return cls(document["sqnr_db"], document["top1"], document["budget"], MetricGoal(**metric) if metric else None)


@dataclass(frozen=True)
class FloatLayer:
    """One layer that stays float.

    Attributes:
        sqnr_db_without: of the logits, with this layer quantized again and all others as they are.
        drop_without: the same of the user's metric, where that was searched by.
    """

    key: str
    layer: str
    operation: str
    macs_share: float
    sqnr_db_without: float
    drop_without: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "operation": self.operation,
            "macs_share": round(self.macs_share, 6),
            "sqnr_db_without": round(self.sqnr_db_without, 2),
            **({} if self.drop_without is None else {"drop_without": round(self.drop_without, 6)}),
        }


@dataclass(frozen=True)
class ByMetric:
    """What a search by the user's metric came to, on the samples that it chose with.

    Attributes:
        chosen_with: how many these were.
        judged_on: how many others the file's metric is told from; 0 where these were too few to keep some apart, so
            that it is told from those that it was chosen with.
        tries: files that were made and run.
    """

    metric: str
    drop_before: float
    drop_after: float
    chosen_with: int
    judged_on: int
    tries: int

    @property
    def sentence(self) -> str:
        others = (
            f"its {self.metric} is told from the {self.judged_on} others"
            if self.judged_on
            else f"its {self.metric} is told from these too, since they are too few to keep some apart"
        )
        return (
            f"{self.metric} falls by {self.drop_after:.3g} instead of {self.drop_before:.3g} on the {self.chosen_with} "
            f"samples that the layers were chosen with; {others}."
        )


@dataclass(frozen=True)
class Rescue:
    """The result of a rescue.

    Attributes:
        reached: the goal is met on the samples that it was tried on; the verdict is given elsewhere.
        sqnr_db: of the logits against the float file: before and after.
    """

    artifact: Path
    reached: bool
    float_layers: tuple[FloatLayer, ...]
    macs_share: float
    sqnr_db: tuple[float, float]
    reason: str
    by_metric: ByMetric | None = None

    def to_json(self) -> dict[str, Any]:
        before, after = (round(value, 2) for value in self.sqnr_db)
        return {
            "reached": self.reached,
            "float_layers": [layer.to_json() for layer in self.float_layers],
            "float_macs_share": round(self.macs_share, 6),
            "sqnr_db_before": before,
            "sqnr_db_after": after,
            "reason": self.reason,
            **({} if self.by_metric is None else {"by_metric": vars(self.by_metric)}),
        }

    @property
    def sentence(self) -> str:
        names = ", ".join(dict.fromkeys(row.layer for row in self.float_layers)) or "no layer"
        if self.reached:
            gained = f"{self.sqnr_db[0]:.1f} dB became {self.sqnr_db[1]:.1f} dB."
            gained = self.by_metric.sentence if self.by_metric else gained
            return f"Rescued by keeping {names} in float ({self.macs_share:.1%} of the multiply-adds): {gained}"
        return f"A rescue was tried and failed: {self.reason}"
