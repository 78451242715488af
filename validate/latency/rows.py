"""Timings and comparisons as they are written: the rows of the `bench` document and of a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from converters.formats import Format, Precision
from converters.signature import unique_names
from validate.latency.statistics.pairwise import Comparison
from validate.latency.statistics.percentiles import Interval
from validate.targets.ethos_u import Estimate
from validate.written import SPARSE


class Status(StrEnum):
    """`untimed`: its target gives no times. `unavailable`: the device is missing. `error`: the artifact does not run,
    or gives wrong answers."""

    OK = "ok"
    UNTIMED = "untimed"
    UNAVAILABLE = "unavailable"
    ERROR = "error"


@dataclass(frozen=True)
class TimingRow:
    """A timing as it is written; see `Timing` and `Phases`. Paths are text, durations milliseconds, sizes bytes.

    Attributes:
        threads, batch: None in an older version's row of a missing device.
        target: where it ran, as `targets.TARGETS` calls it; `device` is the same in older words.
        runtime, runtime_version: what ran it; empty where nothing did.
        setting: the session settings in words, `default` or those that differ.
        kind: `real` where it was measured on the hardware itself, `estimated` where a model tells it, `never` where
            there are no figures.
        arithmetic: floating point that it computed in, where that is less than float32.
        estimate: what a compiler says of it; such a row is `untimed`, of kind `estimated`, without figures besides.
        shapes: by input that leaves sizes open, the shape that was timed.
        session: the settings that `variant` names, one by one.
        samples: number of runs; the raw ones are in `samples_file`, None where they were not stored.
    """

    artifact: str
    format: Format
    precision: Precision | None
    device: str
    status: Status
    reason: str = ""
    next: str = ""
    threads: int | None = None
    batch: int | None = None
    target: str = "host"
    runtime: str = ""
    runtime_version: str = ""
    setting: str = "default"
    kind: str = "real"
    arithmetic: str | None = field(default=None, metadata=SPARSE)
    estimate: Estimate | None = field(default=None, metadata=SPARSE)
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    boundary: str = ""
    variant: str = ""
    session: Mapping[str, str | bool] = field(default_factory=dict)
    size_bytes: int = 0
    p50_ms: Interval | None = None
    p90_ms: Interval | None = None
    p95_ms: Interval | None = None
    p99_ms: Interval | None = None
    min_ms: float | None = None
    throughput: float | None = None
    cold_ms: float | None = None
    cold_starts: int = 0
    import_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    warmup_runs: int | None = None
    peak_rss_bytes: int | None = None
    idle_rss_bytes: int | None = None
    cpu_ms: float | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    samples: int = 0
    samples_file: str | None = None
    tainted_rounds: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    @property
    def percentiles(self) -> dict[str, Interval]:
        """The percentiles that were measured, by name: `p50`."""
        values = {"p50": self.p50_ms, "p90": self.p90_ms, "p95": self.p95_ms, "p99": self.p99_ms}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class ComparisonRow:
    """A comparison as it is written; see `Compared`. Device, threads and batch are those of both."""

    baseline: str
    candidate: str
    ratio: Interval
    verdict: Comparison
    device: str = ""
    threads: int | None = None
    batch: int | None = None
    baseline_variant: str = ""
    candidate_variant: str = ""
    noise_floor: float | None = None


def sample_names(rows: Iterable[TimingRow]) -> tuple[str, ...]:
    """By timed row, the name of its raw samples' file; a row that occurs twice gets `_1`."""
    return tuple(f"{name}.npy" for name in unique_names(_sample_name(row) for row in rows))


def _sample_name(row: TimingRow) -> str:
    variant = row.variant.replace(", ", "-").replace(" ", "_")
    name = f"{PurePath(row.artifact).name}.{row.device}.t{row.threads}.b{row.batch}"
    return f"{name}.{variant}" if variant else name
