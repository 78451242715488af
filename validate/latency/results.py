"""Timing and Latency: a measurement's results as values. The JSON fields are the `bench` document of the design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from converters.formats import Format, Precision
from converters.shapes import Shapes
from validate.latency.rows import ComparisonRow, Status, TimingRow, sample_names
from validate.latency.statistics.pairwise import Comparison
from validate.latency.statistics.percentiles import Interval, Samples
from validate.runtimes.variant import DEFAULT, Variant
from validate.targets import Device, Kind, Place, target_of
from validate.targets.ethos_u import Estimate
from validate.written import written


@dataclass(frozen=True)
class Row:
    """One configuration to be timed, in a process of its own.

    Attributes:
        given: the artifact's path as the caller has it.
        control: it is the second process of an A/A control.
    """

    given: Path
    format: Format
    precision: Precision | None
    device: Device
    threads: int
    batch: int
    variant: Variant = DEFAULT
    control: bool = False

    @property
    def artifact(self) -> Path:
        """The absolute path, for the worker, which runs elsewhere."""
        return self.given.absolute()

    @property
    def place(self) -> Place:
        return Place(self.device, self.variant)

    @property
    def settings(self) -> tuple[str, int, int]:
        """The settings that two rows must share to be compared."""
        return self.device, self.threads, self.batch

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        variant = f", {self.variant.label}" if self.variant.label else ""
        control = "A/A control of " if self.control else ""
        return f"{control}{self.artifact.name} ({self.device}, {threads}, batch {self.batch}{variant})"


@dataclass(frozen=True)
class Phases:
    """The phases before the steady state, and the resources of the process.

    Attributes:
        cold_ms: from the start of the fresh process to its first answer (page cache warm), the interpreter's start,
            imports and everything below included; the median of the cold starts taken.
        cold_starts: number of cold starts taken.
        import_ms: importing the runtime's library.
        load_ms: opening the artifact, engine builds included.
        first_ms: the first run.
        warmup_runs: runs before the first sample, the first run included.
        peak_rss_bytes: peak resident memory up to the end of the timing, less the resident memory after the library's
            import and less the inputs: the cost of this artifact beyond an idle runtime.
        idle_rss_bytes: resident memory after the library's import.
        cpu_seconds: processor time of one run, all threads together; spinning counts.
        libraries: the frameworks that the process had loaded, with their versions.
    """

    cold_ms: float
    cold_starts: int
    import_ms: float
    load_ms: float
    first_ms: float
    warmup_runs: int
    peak_rss_bytes: int
    idle_rss_bytes: int
    cpu_seconds: float
    libraries: dict[str, str]

    def entry(self) -> dict[str, Any]:
        """The fields of a row that hold them."""
        fields = {name: value for name, value in vars(self).items() if name != "cpu_seconds"}
        return fields | {"cpu_ms": self.cpu_seconds * 1e3}


@dataclass(frozen=True)
class Timing:
    """One row's result. All percentiles are of one run's duration in milliseconds, host to host: arrays in, arrays out.

    Attributes:
        reason: why there are no figures, as a sentence; empty when `ok`.
        next_step: how to fix it.
        exit_code: of an `error`, see `converters.errors`; 0 otherwise.
        throughput: samples per second, one run after the other: batch / mean duration.
        shapes: by input that leaves sizes open, the shape that was timed.
        samples: int64 (n, 2): the round and the nanoseconds of each run, tainted rounds included.
        samples_file: where they are stored; None where they are not.
        tainted: the rounds that something outside disturbed; the figures leave them out unless most are.
        facts: further facts from the worker: CPUs it was pinned to, node placement, GPU memory.
        flags: warnings to a reader of the row.
        runtime, runtime_version, arithmetic, estimate: as in `TimingRow`.
    """

    row: Row
    status: Status
    reason: str = ""
    next_step: str = ""
    exit_code: int = 0
    size_bytes: int = 0
    p50_ms: Interval | None = None
    p90_ms: Interval | None = None
    p95_ms: Interval | None = None
    p99_ms: Interval | None = None
    min_ms: float | None = None
    throughput: float | None = None
    shapes: Shapes = field(default_factory=dict)
    phases: Phases | None = None
    samples: Samples = field(default_factory=lambda: np.empty((0, 2), np.int64), repr=False, compare=False)
    samples_file: Path | None = None
    flags: tuple[str, ...] = ()
    tainted: tuple[int, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    runtime: str = ""
    runtime_version: str = ""
    arithmetic: str | None = None
    estimate: Estimate | None = None

    def entry(self, base: Path | None = None) -> TimingRow:
        """The document's row; paths are relative to `base` where they lie below it."""
        row = self.row
        return TimingRow(
            artifact=shown(row.given, base),
            format=row.format,
            precision=row.precision,
            device=row.device,
            status=self.status,
            reason=self.reason,
            next=self.next_step,
            threads=row.threads,
            batch=row.batch,
            target=row.place.target,
            runtime=self.runtime,
            runtime_version=self.runtime_version,
            setting=row.place.setting,
            kind=target_of(row.device).time if self.status is Status.OK or self.estimate else Kind.NEVER,
            estimate=self.estimate,
            arithmetic=self.arithmetic,
            shapes=self.shapes,
            boundary=row.variant.boundary,
            variant=row.variant.label,
            session=row.variant.to_json(),
            size_bytes=self.size_bytes,
            p50_ms=self.p50_ms,
            p90_ms=self.p90_ms,
            p95_ms=self.p95_ms,
            p99_ms=self.p99_ms,
            min_ms=self.min_ms,
            throughput=self.throughput,
            samples=len(self.samples),
            samples_file=shown(self.samples_file, base) if self.samples_file else None,
            tainted_rounds=self.tainted,
            facts=self.facts,
            flags=self.flags,
            **(self.phases.entry() if self.phases else {}),
        )

    def to_json(self, base: Path | None = None) -> dict[str, Any]:
        document: dict[str, Any] = written(self.entry(base))
        return document


@dataclass(frozen=True)
class Compared:
    """Two rows: candidate / baseline of p50, paired by round, and the verdict on the candidate.

    `noise_floor` is the difference below which nothing is claimed, from the A/A control of the same settings; None
    without a control.
    """

    baseline: Row
    candidate: Row
    ratio: Interval
    verdict: Comparison
    noise_floor: float | None = None

    def entry(self, base: Path | None = None) -> ComparisonRow:
        """The document's row; paths are relative to `base` where they lie below it."""
        return ComparisonRow(
            baseline=shown(self.baseline.given, base),
            candidate=shown(self.candidate.given, base),
            device=self.candidate.device,
            threads=self.candidate.threads,
            batch=self.candidate.batch,
            baseline_variant=self.baseline.variant.label,
            candidate_variant=self.candidate.variant.label,
            noise_floor=self.noise_floor,
            ratio=self.ratio,
            verdict=self.verdict,
        )

    def to_json(self, base: Path | None = None) -> dict[str, Any]:
        document: dict[str, Any] = written(self.entry(base))
        return document


@dataclass(frozen=True)
class Control:
    """An A/A control: one row's artifact in a second process. `noise_floor` is None where its rounds were too few."""

    row: Row
    ratio: Interval
    noise_floor: float | None

    def to_json(self, base: Path | None = None) -> dict[str, Any]:
        return {
            "artifact": shown(self.row.given, base),
            "device": self.row.device,
            "threads": self.row.threads,
            "batch": self.row.batch,
            "variant": self.row.variant.label,
            "ratio": self.ratio.to_json(),
            "noise_floor": self.noise_floor,
        }


@dataclass(frozen=True)
class Latency:
    """All rows of one measurement, their comparisons, and the machine they were taken on.

    Attributes:
        controls: the A/A controls.
        noise: rounds, tainted ones by reason, canary, context switches.
        notes: rows left out and why, in sentences.
        profiles: where the time goes, one a profiled row (see `validate.latency.profiling.operations`).
        peaks: the machine's measured peak, by threads.
        sustained, energy: each row under lasting load (see `validate.latency.sustained`); whether joules are known.
        tuned: the fastest settings of each artifact, where they were looked for (see `validate.latency.tuning`).
    """

    host: dict[str, Any]
    timings: tuple[Timing, ...]
    comparisons: tuple[Compared, ...] = ()
    controls: tuple[Control, ...] = ()
    noise: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    profiles: tuple[dict[str, Any], ...] = ()
    peaks: tuple[dict[str, Any], ...] = ()
    tuned: tuple[dict[str, Any], ...] = ()
    sustained: tuple[dict[str, Any], ...] = ()
    energy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unavailable(self) -> tuple[Timing, ...]:
        """The rows whose device is missing."""
        return tuple(t for t in self.timings if t.status is Status.UNAVAILABLE)

    @property
    def errors(self) -> tuple[Timing, ...]:
        """The rows whose artifact crashed, hung, was refused or answered wrongly."""
        return tuple(t for t in self.timings if t.status is Status.ERROR)

    def beside(self, others: Sequence[Latency]) -> Latency:
        """This and what other machines gave, as one: their facts and noise stand under `machines`, by device."""
        if not others:
            return self
        machines = {str(other.timings[0].row.device): {**other.host, "noise": other.noise} for other in others}
        return replace(
            self,
            host={**self.host, "machines": machines},
            timings=(*self.timings, *chain(*(other.timings for other in others))),
            comparisons=(*self.comparisons, *chain(*(other.comparisons for other in others))),
            controls=(*self.controls, *chain(*(other.controls for other in others))),
            sustained=(*self.sustained, *chain(*(other.sustained for other in others))),
            notes=(*self.notes, *chain(*(other.notes for other in others))),
        )

    def lacks(self, device: str) -> bool:
        """True when no row could be timed on this device, though it gives times."""
        return not any(t.row.device == device and t.status in {Status.OK, Status.UNTIMED} for t in self.timings)

    def to_json(self, base: Path | None = None) -> dict[str, Any]:
        """The `bench` document; paths below `base` are written relative to it."""
        return {
            "host": self.host,
            "timings": [timing.to_json(base) for timing in self.timings],
            "comparisons": [compared.to_json(base) for compared in self.comparisons],
            "controls": [control.to_json(base) for control in self.controls],
            "noise": self.noise,
            "notes": list(self.notes),
            "profiles": list(self.profiles),
            "peaks": list(self.peaks),
            **({"tuned": list(self.tuned)} if self.tuned else {}),
            **({"sustained": list(self.sustained), "energy": dict(self.energy)} if self.sustained else {}),
        }

    def save_samples(self, folder: Path) -> Latency:
        """Writes each timed row's raw samples as `.npy`, int64 (n, 2): round index and nanoseconds.

        Names are `<artifact>.<device>.t<threads>.b<batch>[.<variant>].npy`. Returns the same with each row's
        `samples_file`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        timed = [timing for timing in self.timings if timing.status is Status.OK]
        names = sample_names(timing.entry() for timing in timed)
        paths = {id(timing): folder / name for timing, name in zip(timed, names, strict=True)}
        for timing in timed:
            np.save(paths[id(timing)], timing.samples, allow_pickle=False)
        timings = (replace(timing, samples_file=paths.get(id(timing))) for timing in self.timings)
        return replace(self, timings=tuple(timings))


def shown(path: Path, base: Path | None) -> str:
    """The path in POSIX form, relative to `base` where it lies below it."""
    if base is not None and path.absolute().is_relative_to(base.absolute()):
        path = path.absolute().relative_to(base.absolute())
    return path.as_posix()
