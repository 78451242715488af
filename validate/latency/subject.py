"""A row while it is being timed: its worker, the answers so far, and the result that comes of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from converters.artifact import size_of
from converters.checkpoints.scan_file import check
from converters.errors import CrashError, EdgeportError, ResourceError, StepTimeoutError
from converters.isolation import Message
from validate.latency.host.machine import Launch
from validate.latency.host.noise import SlotNoise
from validate.latency.job import BenchJob
from validate.latency.results import Phases, Row, Timing
from validate.latency.rows import Status
from validate.latency.statistics.percentiles import Interval, Samples, percentile
from validate.latency.sustained import Lasting
from validate.runtimes import DeviceUnavailableError
from validate.targets import Device, target_of
from validate.targets.machine import Speaker

P50_KNOWN_TO, P90_KNOWN_TO = 0.01, 0.03
QUANTILES = (("p50", 0.50), ("p90", 0.90), ("p95", 0.95), ("p99", 0.99))
_SLOT_S = 0.03
_LONGEST_SLOT_S = 0.5
_SLOT_CALLS = (3, 200)
_LASTING_SLOT_S, _LASTING_CALLS, _KEPT = 0.1, 5000, 50
"""Of a sustained timing: longer slots, of whose samples so many are kept."""
_STEP_TIMEOUT_S = {Device.CUDA: 300.0, Device.TENSORRT: 900.0}  # TensorRT builds its engine while loading
_TIMEOUT_S = 180.0


@dataclass
class Subject:
    """`calls` is the number of runs in a slot; `failed` is set instead of samples where the row cannot be timed.

    A slot is taken every `every` rounds, and in each of the first ones.
    """

    row: Row
    job: BenchJob
    launch: Launch
    worker: Speaker | None = None
    ready: Message = field(default_factory=dict)
    calls: int = 1
    every: int = 1
    rounds: list[list[int]] = field(default_factory=list)
    round_numbers: list[int] = field(default_factory=list)
    cpu_s: float = 0.0
    cpu_total_s: float = 0.0
    failed: Timing | None = None
    end_facts: Message = field(default_factory=dict)
    cold_ms: list[float] = field(default_factory=list)
    lasting: Lasting = field(default_factory=Lasting)

    @property
    def running(self) -> bool:
        return self.worker is not None and self.failed is None

    @property
    def samples(self) -> Samples:
        """(n, 2): round and nanoseconds."""
        numbers = np.repeat(np.asarray(self.round_numbers, np.int64), [len(r) for r in self.rounds])
        durations = np.asarray([ns for r in self.rounds for ns in r], np.int64)
        return np.stack([numbers, durations], axis=1)

    def clean(self, tainted: set[int]) -> Samples:
        """The samples to judge by: those of clean rounds, or all where more than three of four rounds are tainted."""
        samples = self.samples
        clean = set(self.round_numbers) - tainted
        if not tainted or len(clean) * 4 < len(self.round_numbers):
            return samples
        clean_samples: Samples = samples[np.isin(samples[:, 0], list(clean))]
        return clean_samples

    def start(self, warmup_s: float) -> None:
        """Starts the worker and waits until it is warm. The cold starts before it end after their first answer."""
        target = target_of(self.row.device)
        if not target.installed:
            self.failed = not_installed(self.row)
            return
        check(self.row.artifact)
        for _ in range(self.job.options.cold_starts - 1):
            self.worker = self.launch(self.row, self._request(warmup_s) | {"cold_only": True})
            result = self._receive("result", "its cold start")
            self.end()
            if self.failed is not None:
                return
            self.cold_ms.append(result["cold_ms"])
        self.worker = self.launch(self.row, self._request(warmup_s))
        self.ready = self._receive("ready", "its start")
        if not self.ready:
            return
        self.cold_ms.append(self.ready["cold_ms"])
        per_call = self.ready["p50_ns"] / 1e9
        (few, many), slot_s = _SLOT_CALLS, _SLOT_S
        if self.job.options.sustain_s:
            many, slot_s = _LASTING_CALLS, _LASTING_SLOT_S
        self.calls = min(many, max(few, round(slot_s / per_call)))
        if self.calls * per_call > _LONGEST_SLOT_S:
            self.calls = max(1, int(_LONGEST_SLOT_S / per_call))

    @property
    def runs_in_slot(self) -> int:
        """The runs before it that are not timed included."""
        return self.calls + max(1, self.calls // 10)

    @property
    def slot_s(self) -> float:
        """Rough seconds of a slot."""
        return self.runs_in_slot * float(self.ready["p50_ns"]) / 1e9

    def take_slot(self, number: int) -> SlotNoise:
        """One slot of runs for round `number`."""
        assert self.worker is not None
        self.worker.send({"do": "slot", "calls": self.calls})
        slot = self._receive("slot", "its rounds")
        self.rounds.append(slot["ns"][:: max(1, self.calls // _KEPT)] if self.job.options.sustain_s else slot["ns"])
        self.round_numbers.append(number)
        self.lasting.mean_ns.append(float(np.mean(slot["ns"])))
        self.lasting.canary_ns.append(int(slot["canary_ns"]))
        self.cpu_s += slot["cpu_s"]
        cpu_s, self.cpu_total_s = slot["cpu_total_s"] - self.cpu_total_s, slot["cpu_total_s"]
        return SlotNoise(slot["canary_ns"], slot["switches"], slot["faults"], cpu_s)

    def finish(self) -> None:
        """Requests memory and placement; the worker checks its answers before it replies."""
        assert self.worker is not None
        self.worker.send({"do": "finish"})
        self.end_facts = self._receive("result", "the check of its answers")

    def end(self) -> None:
        """Ends the worker, if there is one."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.close()

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """Turns the row's failure into its result, and ends its worker, so that the others go on."""
        try:
            yield
        except EdgeportError as error:
            self.failed = untimed(self.row, error)
        finally:
            if self.failed is not None:
                self.end()

    def is_precise(self, tainted: set[int]) -> bool:
        samples, seed = self.clean(tainted), self.job.common.seed
        if percentile(samples, 0.50, seed=seed, resamples=400).half_width > P50_KNOWN_TO:
            return False
        return percentile(samples, 0.90, seed=seed, resamples=400).half_width <= P90_KNOWN_TO

    def timing(self, tainted: set[int]) -> Timing:
        """The row's result. Percentiles are of the clean rounds; the raw samples are of all rounds."""
        if self.failed is not None:
            return self.failed
        samples, ready = self.clean(tainted), self.ready
        quantiles = {n: percentile(samples, p, seed=self.job.common.seed).scaled(1e-6) for n, p in QUANTILES}
        phases = Phases(
            cold_ms=median(self.cold_ms),
            cold_starts=len(self.cold_ms),
            import_ms=ready["import_ms"],
            load_ms=ready["load_ms"],
            first_ms=ready["first_ms"],
            warmup_runs=ready["warmup_runs"],
            idle_rss_bytes=ready["idle_rss_bytes"],
            peak_rss_bytes=self.end_facts["peak_rss_bytes"],
            libraries=self.end_facts["libraries"],
            cpu_seconds=self.cpu_s / (len(self.rounds) * self.calls),
        )
        tainted_rounds = sorted(tainted & set(self.round_numbers))
        return Timing(
            self.row,
            Status.OK,
            size_bytes=size_of(self.row.artifact),
            p50_ms=quantiles["p50"],
            p90_ms=quantiles["p90"],
            p95_ms=quantiles["p95"],
            p99_ms=quantiles["p99"],
            min_ms=float(np.min(samples[:, 1])) / 1e6,
            throughput=self.row.batch * 1e9 / float(samples[:, 1].mean()),
            shapes={name: tuple(sizes) for name, sizes in ready["shapes"].items()},
            phases=phases,
            samples=self.samples,
            flags=self._flags(quantiles, len(tainted_rounds)),
            tainted=tuple(tainted_rounds),
            runtime=ready["runtime"],
            runtime_version=ready["runtime_version"],
            arithmetic=ready["arithmetic"],
            facts={"cpus": ready["cpus"], "notes": ready["notes"], **self.end_facts["facts"]},
        )

    def _request(self, warmup_s: float) -> Message:
        row, job = self.row, self.job
        golden = job.golden_for(row)
        return {
            "artifact": str(row.artifact),
            "device": row.device,
            "threads": row.threads,
            "batch": row.batch,
            "precision": row.precision and row.precision.value,
            "seed": job.common.seed,
            "warmup_s": warmup_s,
            "golden": golden and str(golden.absolute()),
            "allowed": job.allowed_for(row),
            "variant": row.variant.to_json(),
            "shapes": dict(job.common.shapes),
            "key": job.common.signature,
            "spawned_ns": time.monotonic_ns(),
        }

    def _flags(self, quantiles: dict[str, Interval], tainted: int) -> tuple[str, ...]:
        """Warnings to a reader of the row."""
        ready, rounds = self.ready, len(self.round_numbers)
        flags = {
            "unchecked": not ready["checked"],
            "not_steady": not ready["steady"],
            "oversubscribed": self.row.threads > ready["cores"],
            "partly_on_cpu": bool(ready["notes"]) and self.row.device.is_gpu,
            "precision_not_reached": quantiles["p50"].half_width > P50_KNOWN_TO
            or quantiles["p90"].half_width > P90_KNOWN_TO,
            "tainted": (rounds - tainted) * 4 < rounds,
            **{f"{name}_too_few_samples": quantiles[name].low is None for name, _ in QUANTILES},
        }
        return tuple(name for name, raised in flags.items() if raised)

    def _receive(self, key: str, phase: str) -> Message:
        """The next message under `key`; events only name the phase. Empty where the device is missing."""
        assert self.worker is not None
        limit = self.job.common.limits.timeout_s or _STEP_TIMEOUT_S.get(self.row.device, _TIMEOUT_S)
        while True:
            try:
                message = self.worker.receive(limit)
            except EdgeportError as error:
                raise _located(error, self.row, phase) from None
            if "event" in message:
                phase = f"its {message['event']['phase']}"
            elif "unavailable" in message:
                refusal = message["unavailable"]
                self.failed = without_figures(self.row, Status.UNAVAILABLE, refusal["reason"], refusal["next"])
                return {}
            elif key in message:
                content: Message = message[key]
                return content


def _located(error: EdgeportError, row: Row, phase: str) -> EdgeportError:
    """The same error with the file in its sentence, and the phase where the worker could not speak for itself."""
    name = row.artifact.name
    if isinstance(error, CrashError | StepTimeoutError | ResourceError):
        error.message = f"{name}, in {phase}: {error.message}"
    elif name not in error.message:
        error.message = f"{name}: {error.message}"
    error.file = error.file or str(row.artifact)
    return error


def untimed(row: Row, error: EdgeportError) -> Timing:
    """The result of a row that an error kept from being timed: a device that is missing, or a failure."""
    status = Status.UNAVAILABLE if isinstance(error, DeviceUnavailableError) else Status.ERROR
    timing = without_figures(row, status, error.message, error.next_step)
    return timing if status is Status.UNAVAILABLE else replace(timing, exit_code=error.exit_code)


def never_timed(row: Row) -> Timing:
    """The result of a row of a target whose time is not the device's."""
    if not target_of(row.device).installed:
        return not_installed(row)
    why = f"{row.place.target} is never timed: how long it takes on this machine says nothing of the device."
    return without_figures(row, Status.UNTIMED, why, "Time the file on the device: --on ssh:HOST, or --adb SERIAL.")


def not_installed(row: Row) -> Timing:
    """The result of a row whose target's package is not there."""
    target = target_of(row.device)
    what = f"the package {target.package} is not installed" if target.package else "it is not installed here"
    reason = f"{target.name} is not available: {what}."
    return without_figures(row, Status.UNAVAILABLE, reason, f"Run {target.install}.")


def without_figures(row: Row, status: Status, reason: str, next_step: str) -> Timing:
    """The result of a row that was not timed."""
    return Timing(row, status, reason, next_step, size_bytes=size_of(row.artifact))
