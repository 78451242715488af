"""The parent's side: starts one worker a row, lets them take turns in random order, round by round, and sums up."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low

from converters.errors import EdgeportError, StepError
from converters.progress import Progress
from validate.latency.boards.adb import measure_on_phone
from validate.latency.estimates import not_timed
from validate.latency.host.facts import host_facts
from validate.latency.host.machine import Launch, launching
from validate.latency.host.noise import MachineState, NoiseLog, SlotNoise
from validate.latency.host.nvml import gpu_state
from validate.latency.job import BenchJob, rows_of
from validate.latency.results import Compared, Control, Latency, Row
from validate.latency.rows import Status
from validate.latency.statistics.pairwise import Paired, paired_ratio, verdicts
from validate.latency.subject import Subject, untimed
from validate.latency.sustained import overtaken
from validate.latency.under_load import UnderLoad
from validate.targets import Device, Kind, target_of

MIN_ROUNDS = 6
ROUNDS_BEFORE_STOPPING = 30
SECONDS_BEFORE_STOPPING = 5.0
GROWTH = 0.05
SLOT_SHARE = 3.0
_WARMUP_SHARE = 0.25
_WARMUP_CAP_S = 15.0


def measure(artifacts: Sequence[Path], job: BenchJob = BenchJob(), on_progress: Progress | None = None) -> Latency:
    """Times artifacts against each other, each in a fresh pinned process, interleaved in rounds of random order.

    Phases are timed apart (import, load, first run, warm-up, steady). The rounds end when every row's p50 is known to
    1 % and its p90 to 3 % (half the 95 % interval), or when the time is up. Rows that crash, hang or answer wrongly
    become `error`, those whose device is missing `unavailable`; the others go on. One row of each device and number
    of threads is timed in a second process too: that A/A control sets the noise floor. Machines elsewhere take their
    turn one after the other. Call it from the main thread.

    Raises:
        UsageError: there is nothing to time, or an artifact does not exist.
    """
    rows, progress = rows_of(artifacts, job), on_progress or (lambda _label, _fraction: None)
    timed = [row for row in rows if target_of(row.device).time in {Kind.REAL, Kind.EMULATED}]
    groups: dict[Device, list[Row]] = {}
    for row in timed:
        groups.setdefault(row.device if row.device.is_elsewhere else Device.CPU, []).append(row)
    latencies: list[Latency] = []
    for device, some in groups.items():
        part = _Part(sum(len(latency.timings) for latency in latencies) / len(timed), len(some) / len(timed))
        options = replace(job.options, max_seconds=job.options.max_seconds * part.share)
        latencies.append(_measured(device, some, replace(job, options=options), part.of(progress)))
    untaken = tuple(not_timed(row, job) for row in rows if row not in timed)
    first, *others = latencies or [Latency(host_facts(), ())]
    return replace(first, timings=(*first.timings, *untaken)).beside(others)


@dataclass(frozen=True)
class _Part:
    """A part of a measurement: where it begins, and its share."""

    start: float
    share: float

    def of(self, progress: Progress) -> Progress:
        return lambda label, fraction: progress(label, self.start + self.share * fraction)


def _measured(device: Device, rows: list[Row], job: BenchJob, progress: Progress) -> Latency:
    """The rows of one machine. Where it cannot be reached, each row says so."""
    if device.kind == "adb":
        try:
            return measure_on_phone(rows, job)
        except StepError as error:
            return Latency({}, tuple(untimed(row, error) for row in rows))
    with contextlib.ExitStack() as stack:
        try:
            launch, facts = stack.enter_context(launching(device, rows, job))
        except EdgeportError as error:  # a machine that cannot be reached
            return Latency({}, tuple(untimed(row, error) for row in rows))
        experiment = Experiment(rows, job, progress, launch)
        stack.enter_context(contextlib.closing(experiment))
        before = MachineState.now()
        experiment.start_workers()
        experiment.share_out()
        experiment.take_rounds()
        experiment.finish_workers()
        after = MachineState.now()
    passed = after.all_s - before.all_s
    facts["steal_share"] = (after.steal_s - before.steal_s) / passed if passed > 0 else None
    return experiment.result(facts)


class Experiment:
    """The rows under way. `close` ends every worker that still runs."""

    def __init__(self, rows: list[Row], job: BenchJob, progress: Progress, launch: Launch) -> None:
        self.subjects = [Subject(row, job, launch) for row in rows]
        self.controls: list[Subject] = []
        self.noise = NoiseLog()
        self.notes: list[str] = []
        self.load: UnderLoad | None = None
        self._job = job
        self._progress = progress
        self._launch = launch
        self._start = time.monotonic()
        groups = len({(row.device, row.threads) for row in rows})
        self._warmup_s = min(_WARMUP_CAP_S, job.options.max_seconds * _WARMUP_SHARE / (len(rows) + groups))

    @property
    def running(self) -> list[Subject]:
        return [s for s in (*self.subjects, *self.controls) if s.running]

    def start_workers(self) -> None:
        """One after the other, each until it is warm: nothing else runs while loading is timed."""
        for subject in list(self.subjects):
            if self._stopped_growing(subject.row):
                self.subjects.remove(subject)
                continue
            self._report(f"warming up {subject.row}")
            with subject.failing():
                subject.start(self._warmup_s)
        for row in self._control_rows():
            control = Subject(row, replace(self._job, options=replace(self._job.options, cold_starts=1)), self._launch)
            self._report(f"warming up {row}")
            with control.failing():
                control.start(self._warmup_s)
            self.controls.append(control)

    def share_out(self) -> None:
        """Sets how often each row takes part."""
        for subject, every in zip(self.running, every_how_many([s.slot_s for s in self.running]), strict=True):
            subject.every = every

    def take_rounds(self) -> None:
        """Rounds until the figures are precise enough or the time is up; tainted ones are made up for by more."""
        if self._job.options.sustain_s:
            self._take_lasting_rounds(self._job.options.sustain_s)
            return
        order = random.Random(self._job.common.seed)
        start, rounds, check_at = time.monotonic(), 0, ROUNDS_BEFORE_STOPPING
        longest = 0.0
        while self.running and (rounds < MIN_ROUNDS or self._elapsed_s() + longest < self._job.options.max_seconds):
            rows = len(self.running) - len(self.controls)
            self._report(f"timing {rows} rows in turn" if rows > 1 else "timing")
            turns = [s for s in self.running if rounds < MIN_ROUNDS or rounds % s.every == 0]
            order.shuffle(turns)
            round_start = time.monotonic()
            self._take_round(turns, rounds)
            longest = max(longest, time.monotonic() - round_start)
            rounds += 1
            if rounds >= check_at:
                if time.monotonic() - start >= SECONDS_BEFORE_STOPPING and self._all_precise():
                    return
                check_at = rounds + max(10, rounds // 3)

    def _take_lasting_rounds(self, seconds: float) -> None:
        """Rounds without a pause until the time is up: nobody sits out, and nothing ends sooner."""
        order = random.Random(self._job.common.seed)
        self.load = UnderLoad(seconds, here=not any(s.row.device.is_elsewhere for s in self.subjects))
        while self.running and not self.load.over:
            self._progress(f"under load, minute {int(self.load.passed_s / 60) + 1}", self.load.passed_s / seconds)
            turns = self.running
            order.shuffle(turns)
            self._take_round(turns, self.noise.rounds)

    def finish_workers(self) -> None:
        """Memory, placement and the check of the answers."""
        self._report("checking the answers")
        for subject in self.running:
            with subject.failing():
                subject.finish()

    def close(self) -> None:
        for subject in (*self.subjects, *self.controls):
            subject.end()

    def result(self, host: dict[str, object]) -> Latency:
        tainted = self._tainted
        timings = tuple(subject.timing(tainted) for subject in self.subjects)
        controls = tuple(
            control_result for control in self.controls if (control_result := self._control(control)) is not None
        )
        floors = {(c.row.device, c.row.threads): c.noise_floor for c in controls}
        comparisons = tuple(self._comparisons(floors))
        latency = Latency(host, timings, comparisons, controls, self.noise.to_json(), tuple(self.notes))
        if self.load is None:
            return latency
        lasting = self.load.results([s for s in self.subjects if s.failed is None], floors)
        notes = (*latency.notes, *overtaken(lasting))
        return replace(latency, sustained=tuple(r.to_json() for r in lasting), energy=self.load.energy, notes=notes)

    def _take_round(self, turns: Sequence[Subject], number: int) -> None:
        before, cpu_start = MachineState.now(), time.process_time()
        slots: dict[int, SlotNoise] = {}
        for subject in turns:
            with subject.failing(), self.load.slot(subject) if self.load else contextlib.nullcontext():
                slots[id(subject)] = subject.take_slot(number)
        if self.load:
            self.load.note_machine()
        self.noise.judge(number, before, slots, time.process_time() - cpu_start)
        if any(subject.row.device.is_gpu for subject in turns):
            self.noise.judge_gpu(number, gpu_state())

    def _all_precise(self) -> bool:
        tainted = self._tainted
        return all(subject.is_precise(tainted) for subject in self.subjects if subject.running)

    @property
    def _tainted(self) -> set[int]:
        """Under lasting load what disturbs is what is looked for."""
        return set() if self.load else set(self.noise.tainted)

    def _stopped_growing(self, row: Row) -> bool:
        """Whether two smaller batches in a row brought no more throughput than the best one before them."""
        smaller = [
            s for s in self.subjects if s.ready and replace(s.row, batch=row.batch) == row and s.row.batch < row.batch
        ]
        rates = [s.row.batch / s.ready["p50_ns"] for s in sorted(smaller, key=lambda s: s.row.batch)]
        if len(rates) < 3 or max(rates[-2:]) > max(rates[:-2]) * (1 + GROWTH):
            return False
        self.notes.append(f"{row} was left out: throughput stopped growing before.")
        return True

    def _control_rows(self) -> list[Row]:
        """For each device and number of threads, the row that is quickest to load; its smallest batch."""
        quickest: dict[tuple[str, int], Subject] = {}
        for subject in self.subjects:
            if not subject.running:
                continue
            key = subject.row.device, subject.row.threads
            best = quickest.get(key)
            if best is None or _cost(subject) < _cost(best):
                quickest[key] = subject
        return [replace(subject.row, control=True) for subject in quickest.values()]

    def _control(self, control: Subject) -> Control | None:
        """The rounds both processes took; wrong answers, which show after them, say nothing against the clock."""
        original = next(s for s in self.subjects if replace(s.row, control=True) == control.row and s.ready)
        try:
            paired = self._paired(original, control)
        except ValueError:  # one of them failed before they shared a round
            self.notes.append(f"{control.row} could not be timed: no difference beside it is claimed.")
            return None
        return Control(original.row, paired.interval, paired.floor if math.isfinite(paired.floor) else None)

    def _comparisons(self, floors: Mapping[tuple[Device, int], float | None]) -> list[Compared]:
        """Each row against the first one that could be timed under the same device, threads and batch."""
        families: dict[object, list[Subject]] = {}
        for subject in self.subjects:
            if subject.failed is None:
                key = subject.row.given if self._job.compare_settings else subject.row.settings
                families.setdefault(key, []).append(subject)
        comparisons = []
        for baseline, *candidates in families.values():
            floor = floors.get((baseline.row.device, baseline.row.threads))
            ratios = [self._paired(baseline, candidate) for candidate in candidates]
            outcomes = verdicts(ratios, math.inf if floor is None else floor)
            for candidate, paired, verdict in zip(candidates, ratios, outcomes, strict=True):
                comparisons.append(Compared(baseline.row, candidate.row, paired.interval, verdict, floor))
        return comparisons

    def _paired(self, baseline: Subject, candidate: Subject) -> Paired:
        tainted, seed = self._tainted, self._job.common.seed
        return paired_ratio(baseline.clean(tainted), candidate.clean(tainted), seed=seed)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._start

    def _report(self, label: str) -> None:
        self._progress(label, min(1.0, self._elapsed_s() / self._job.options.max_seconds))


def every_how_many(slots: Sequence[float]) -> list[int]:
    """For each row, by its slot's seconds, the number n such that it takes part in every n-th round. No row gets over
    about three times the median one's share: else a slow row among quick ones would take nearly all the time.

    Powers of two: rows that sit out meet in the same rounds, and can be paired.
    """
    if not slots:
        return []
    fair = SLOT_SHARE * median_low(slots)
    return [1 << max(0, round(math.log2(slot / fair))) if slot > fair else 1 for slot in slots]


def _cost(subject: Subject) -> float:
    """Rough cost of a second process of this row, in milliseconds."""
    ready = subject.ready
    return float(ready["cold_ms"]) + subject.calls * float(ready["p50_ns"]) / 1e6


__all__ = ["MIN_ROUNDS", "Experiment", "Progress", "Status", "measure"]
