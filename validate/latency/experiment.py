"""The parent's side: starts one worker a row, lets them take turns in random order, round by round, and sums up."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from converters.artifact import size_of
from converters.errors import CrashError, EdgeportError, ResourceError, StepTimeoutError
from converters.isolation import Limits, Message, Worker, worker_environment
from validate.latency import worker as worker_side
from validate.latency.host import host_facts, physical_cores, steal_share, stolen_ticks
from validate.latency.options import MeasureOptions, rows_of
from validate.latency.results import Compared, Latency, Phases, Row, Status, Timing
from validate.latency.statistics import Interval, Samples, percentile, ratio_of_medians, verdict

Progress = Callable[[str, float], None]
"""Told what is being done and the share of the time that is spent, 0..1."""

MIN_ROUNDS = 3
ROUNDS_BEFORE_STOPPING = 10
P50_KNOWN_TO, P90_KNOWN_TO = 0.01, 0.03
_QUANTILES = (("p50", 0.50), ("p90", 0.90), ("p99", 0.99))
_SLOT_S = 0.2
_LONGEST_SLOT_S = 2.0
_SLOT_CALLS = (5, 100)
_WARMUP_SHARE = 0.3
_WARMUP_CAP_S = 15.0
_STEP_TIMEOUT_S = {"cpu": 180.0, "cuda": 300.0, "tensorrt": 900.0}  # TensorRT builds its engine while loading


@dataclass
class _Subject:
    """A row while it is being timed."""

    row: Row
    worker: Worker | None = None
    ready: Message = field(default_factory=dict)
    calls: int = 1
    rounds: list[list[int]] = field(default_factory=list)
    round_numbers: list[int] = field(default_factory=list)
    cpu_s: float = 0.0
    failed: Timing | None = None
    memory: Message = field(default_factory=dict)

    @property
    def samples(self) -> Samples:
        """(n, 2): round and nanoseconds."""
        numbers = np.repeat(np.asarray(self.round_numbers, np.int64), [len(r) for r in self.rounds])
        taken = np.asarray([ns for r in self.rounds for ns in r], np.int64)
        return np.stack([numbers, taken], axis=1)

    def end(self) -> None:
        """Ends the worker, if it is there."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.close()


def measure(
    artifacts: Sequence[Path], options: MeasureOptions = MeasureOptions(), on_progress: Progress | None = None
) -> Latency:
    """Times artifacts against each other, each in a fresh process, interleaved in rounds of random order.

    Phases are told apart (import, load, first run, warm-up, steady). The rounds end when every row's p50 is known to
    1 % and its p90 to 3 % (half the 95 % interval), or when the time is up. Rows that crash, hang or answer wrongly
    become `error`, those whose device is not there `unavailable`; the others go on. Call it from the main thread.

    Raises:
        UsageError: there is nothing to time, or an artifact is not there.
    """
    experiment = _Experiment(rows_of(artifacts, options), options, on_progress or (lambda _label, _fraction: None))
    before = stolen_ticks()
    host = host_facts()
    with contextlib.closing(experiment):
        experiment.start_workers()
        experiment.take_rounds()
        experiment.finish_workers()
    timings = tuple(experiment.timing(subject) for subject in experiment.subjects)
    host["steal_share"] = steal_share(before)
    return Latency(host, timings, tuple(_comparisons(timings, options.seed)))


class _Experiment:
    """The rows under way. `close` ends every worker that is left."""

    def __init__(self, rows: list[Row], options: MeasureOptions, progress: Progress) -> None:
        self.subjects = [_Subject(row) for row in rows]
        self._options = options
        self._progress = progress
        self._began = time.monotonic()
        self._warmup_s = min(_WARMUP_CAP_S, options.max_seconds * _WARMUP_SHARE / len(rows))

    @property
    def running(self) -> list[_Subject]:
        return [s for s in self.subjects if s.worker is not None and s.failed is None]

    def start_workers(self) -> None:
        """One after the other, each until it is warm: nothing else runs while loading is timed."""
        for subject in self.subjects:
            self._tell(f"warming up {subject.row}")
            with self._failing(subject):
                self._start(subject)

    def take_rounds(self) -> None:
        """Rounds until the figures are precise enough or the time is up."""
        order = random.Random(self._options.seed)
        rounds, check_at = 0, ROUNDS_BEFORE_STOPPING
        while self.running and (rounds < MIN_ROUNDS or self._spent() < self._options.max_seconds):
            rows = len(self.running)
            self._tell(f"timing {rows} rows in turn" if rows > 1 else "timing")
            turns = self.running
            order.shuffle(turns)
            for subject in turns:
                with self._failing(subject):
                    self._take_slot(subject, rounds)
            rounds += 1
            if rounds >= check_at:
                if all(_is_precise(s.samples, self._options.seed) for s in self.running):
                    return
                check_at = rounds + max(5, rounds // 4)

    def finish_workers(self) -> None:
        """Asks for memory figures; the worker checks its answers before it gives them."""
        self._tell("checking the answers")
        for subject in self.running:
            with self._failing(subject):
                self._send(subject, {"do": "finish"})
                subject.memory = self._receive(subject, "result", "the check of its answers")

    def close(self) -> None:
        for subject in self.subjects:
            subject.end()

    def timing(self, subject: _Subject) -> Timing:
        """The row's result. The percentiles are computed from all samples; none is left out."""
        if subject.failed is not None:
            return subject.failed
        samples, ready = subject.samples, subject.ready
        quantiles = {name: percentile(samples, p, seed=self._options.seed).scaled(1e-6) for name, p in _QUANTILES}
        phases = Phases(
            import_ms=ready["import_ms"], load_ms=ready["load_ms"], first_ms=ready["first_ms"],
            warmup_runs=ready["warmup_runs"], idle_rss_bytes=ready["idle_rss_bytes"],
            peak_rss_bytes=subject.memory["peak_rss_bytes"], libraries=subject.memory["libraries"],
            cpu_seconds=subject.cpu_s / len(samples),
        )  # fmt: skip
        return Timing(
            subject.row, Status.OK, size_bytes=size_of(subject.row.artifact),
            p50_ms=quantiles["p50"], p90_ms=quantiles["p90"], p99_ms=quantiles["p99"],
            min_ms=float(samples[:, 1].min()) / 1e6,
            throughput=subject.row.batch * 1e9 / float(samples[:, 1].mean()),
            phases=phases, samples=samples, flags=_flags(subject, quantiles),
        )  # fmt: skip

    def _start(self, subject: _Subject) -> None:
        row, options = subject.row, self._options
        golden = options.golden_of.get(row.given, options.golden)
        request = {
            "artifact": str(row.artifact), "device": row.device, "threads": row.threads, "batch": row.batch,
            "precision": row.precision and row.precision.value, "seed": options.seed, "warmup_s": self._warmup_s,
            "golden": golden and str(golden.absolute()),
        }  # fmt: skip
        subject.worker = Worker(
            worker_side.TARGET, request, step="bench", limits=Limits(memory_bytes=options.limits.memory_bytes),
            log=options.log, env=worker_environment(gpu=row.device != "cpu", threads=row.threads),
        )  # fmt: skip
        subject.ready = self._receive(subject, "ready", "its start")
        if not subject.ready:
            return
        per_call = subject.ready["p50_ns"] / 1e9
        few, many = _SLOT_CALLS
        subject.calls = min(many, max(few, round(_SLOT_S / per_call)))
        if subject.calls * per_call > _LONGEST_SLOT_S:
            subject.calls = max(1, int(_LONGEST_SLOT_S / per_call))

    def _take_slot(self, subject: _Subject, number: int) -> None:
        self._send(subject, {"do": "slot", "calls": subject.calls})
        slot = self._receive(subject, "slot", "its rounds")
        subject.rounds.append(slot["ns"])
        subject.round_numbers.append(number)
        subject.cpu_s += slot["cpu_s"]

    def _send(self, subject: _Subject, message: Message) -> None:
        assert subject.worker is not None
        subject.worker.send(message)

    def _receive(self, subject: _Subject, key: str, phase: str) -> Message:
        """The next message under `key`; events only tell how far it has come. Empty where the device is not there."""
        assert subject.worker is not None
        limit = self._options.limits.timeout_s or _STEP_TIMEOUT_S[subject.row.device]
        while True:
            try:
                message = subject.worker.receive(limit)
            except EdgeportError as error:
                raise _located(error, subject.row, phase) from None
            if "event" in message:
                phase = f"its {message['event']['phase']}"
            elif "unavailable" in message:
                missing = message["unavailable"]
                subject.failed = _untimed(subject.row, Status.UNAVAILABLE, missing["reason"], missing["next"])
                return {}
            elif key in message:
                content: Message = message[key]
                return content

    @contextlib.contextmanager
    def _failing(self, subject: _Subject) -> Iterator[None]:
        """Turns the row's failure into its result, and ends its worker, so that the others go on."""
        try:
            yield
        except EdgeportError as error:
            failed = _untimed(subject.row, Status.ERROR, error.message, error.next_step)
            subject.failed = replace(failed, exit_code=error.exit_code)
        finally:
            if subject.failed is not None:
                subject.end()

    def _spent(self) -> float:
        return time.monotonic() - self._began

    def _tell(self, label: str) -> None:
        self._progress(label, min(1.0, self._spent() / self._options.max_seconds))


def _located(error: EdgeportError, row: Row, phase: str) -> EdgeportError:
    """The same error with the file in its sentence, and the phase where the worker could not speak for itself."""
    name = row.artifact.name
    if isinstance(error, CrashError | StepTimeoutError | ResourceError):
        error.message = f"{name}, in {phase}: {error.message}"
    elif name not in error.message:
        error.message = f"{name}: {error.message}"
    error.file = error.file or str(row.artifact)
    return error


def _untimed(row: Row, status: Status, reason: str, next_step: str) -> Timing:
    return Timing(row, status, reason, next_step, size_bytes=size_of(row.artifact))


def _is_precise(samples: Samples, seed: int) -> bool:
    p50 = percentile(samples, 0.50, seed=seed, resamples=400)
    if p50.half_width > P50_KNOWN_TO:
        return False
    return percentile(samples, 0.90, seed=seed, resamples=400).half_width <= P90_KNOWN_TO


def _flags(subject: _Subject, quantiles: dict[str, Interval]) -> tuple[str, ...]:
    """What a reader must know before trusting the row."""
    ready = subject.ready
    flags = {
        "unchecked": not ready["checked"],
        "not_steady": not ready["steady"],
        "oversubscribed": subject.row.threads > physical_cores(),
        "partly_on_cpu": bool(ready["notes"]) and subject.row.device != "cpu",
        "precision_not_reached": quantiles["p50"].half_width > P50_KNOWN_TO
        or quantiles["p90"].half_width > P90_KNOWN_TO,
        **{f"{name}_too_few_samples": quantiles[name].low is None for name, _ in _QUANTILES},
    }
    return tuple(name for name, raised in flags.items() if raised)


def _comparisons(timings: Sequence[Timing], seed: int) -> list[Compared]:
    """Each row against the first one that could be timed under the same device, threads and batch."""
    baselines: dict[tuple[str, int, int], Timing] = {}
    compared = []
    for timing in timings:
        if timing.status is not Status.OK:
            continue
        baseline = baselines.setdefault(timing.row.settings, timing)
        if baseline is timing:
            continue
        ratio = ratio_of_medians(baseline.samples, timing.samples, seed=seed)
        compared.append(Compared(baseline.row, timing.row, ratio, verdict(ratio)))
    return compared
