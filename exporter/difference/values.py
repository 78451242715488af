"""The result of a comparison of two bundles: values, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.manifest.rows import Miss, Passing
from validate.agreement.losses import Estimate, LossStatus
from validate.latency.statistics.earlier import Change


@dataclass(frozen=True)
class Allowed:
    """Allowed changes for the worse; None allows anything. With any of them, nothing may vanish and names must stay.

    Attributes:
        slowdown: share of p50, held against the ratio where its whole interval says that it is slower at all.
        growth: share of the size in bytes.
        error_growth: share of the error, see `Side.error`.
        accuracy_drop: difference of shares, 0.01 is one point.
        max_drop: how far the user's metric may fall, in points for shares; both bundles were made with it.
    """

    slowdown: float | None = None
    growth: float | None = None
    error_growth: float | None = None
    accuracy_drop: float | None = None
    max_drop: float | None = None

    @property
    def anything(self) -> bool:
        return self == Allowed()


@dataclass(frozen=True)
class Side:
    """One artifact of one bundle.

    Attributes:
        error: of its worst output. Where float32's own noise is the gate, times that noise, and what is less than it
            counts as 1; else the error's share of the moving signal, as an amplitude. None where it was not judged.
        measure: which of the two, `noise_ratio` or `sqnr_db`.
    """

    path: str
    sha256: str
    size_bytes: int
    verdict: str
    measure: str
    error: float | None
    accuracy: float | None
    metric: str | None = None
    metric_value: float | None = None
    metric_lower: bool = False
    loss: str = ""


@dataclass(frozen=True)
class MetricChange:
    """How far the user's metric falls, in points for shares, with the paired bootstrap's 95 % interval.

    Attributes:
        status: `kept`, `lost` or `unproven` where a limit was given; `reason` says why it is not proven.
    """

    name: str
    drop: Estimate
    status: LossStatus | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "drop": vars(self.drop), "status": self.status, "reason": self.reason}


@dataclass(frozen=True)
class ArtifactChange:
    """One format and precision.

    Attributes:
        metric: None where the two have none in common.
        operations: counts (before, after) of those that differ; None where a file does not tell.
        judged_alike: on the same inputs: else errors and accuracies say nothing of each other.
    """

    name: str
    before: Side | None
    after: Side | None
    operations: Mapping[str, tuple[int, int]] | None = field(default_factory=dict)
    judged_alike: bool = True
    metric: MetricChange | None = None

    @property
    def status(self) -> str:
        """`new`, `gone`, `same` (the same bytes) or `changed`."""
        if self.before is None or self.after is None:
            return "new" if self.before is None else "gone"
        return "same" if self.before.sha256 == self.after.sha256 else "changed"

    def growth(self, what: str) -> float | None:
        """`size_bytes` or `error`, after over before less one; None where one is missing or they are unlike."""
        if self.before is None or self.after is None:
            return None
        if what == "error" and not (self.judged_alike and self.before.measure == self.after.measure):
            return None
        old, new = getattr(self.before, what), getattr(self.after, what)
        if old is None or new is None:
            return None
        return 0.0 if old == new else float("inf") if old == 0 else new / old - 1

    def to_json(self) -> dict[str, Any]:
        growths = {f"{what}_growth": self.growth(what) for what in ("size_bytes", "error")}
        return {
            "name": self.name,
            "status": self.status,
            "before": self.before and vars(self.before),
            "after": self.after and vars(self.after),
            **{what: None if value == float("inf") else value for what, value in growths.items()},
            "metric": self.metric and self.metric.to_json(),
            "operations": None if self.operations is None else {k: list(pair) for k, pair in self.operations.items()},
        }


@dataclass(frozen=True)
class Difference:
    """The outcome.

    Attributes:
        source: `same` checkpoint by digest, or `changed`.
        signature: what changed of inputs and outputs, in sentences.
        latency: rows by format, precision and setting; empty where the hosts are not alike, which `notes` say.
        environment: packages whose version differs, (before, after).
        recommended: by device, the recommended artifact's name, (before, after), where it differs.
        misses: what is worse than allowed; any of them is exit code 1.
    """

    before: Path
    after: Path
    source: str
    signature: tuple[str, ...]
    artifacts: tuple[ArtifactChange, ...]
    latency: tuple[Change, ...]
    environment: Mapping[str, tuple[str, str]]
    recommended: Mapping[str, tuple[str, str]]
    notes: tuple[str, ...]
    misses: tuple[Miss, ...] = ()

    @property
    def passing(self) -> Passing:
        return Passing.of(self.misses)

    @property
    def regressions(self) -> tuple[str, ...]:
        """The changes that are worse than allowed, in sentences without their full stop."""
        return tuple(miss.sentence.removesuffix(".") for miss in self.misses)

    def to_json(self) -> dict[str, Any]:
        return {
            "before": str(self.before),
            "after": str(self.after),
            "source": self.source,
            "signature": list(self.signature),
            "artifacts": [row.to_json() for row in self.artifacts],
            "latency": [change.to_json() for change in self.latency],
            "environment": {name: list(pair) for name, pair in self.environment.items()},
            "recommended": {name: list(pair) for name, pair in self.recommended.items()},
            "notes": list(self.notes),
            "regressions": list(self.regressions),
            "passing": self.passing.to_document(),
        }


def miss(subject: str, gate: str, words: str, limit: float | None = None, value: float | None = None) -> Miss:
    """A change that is worse than allowed."""
    return Miss(subject=subject, gate=gate, limit=limit, value=value, sentence=f"{words}.")
