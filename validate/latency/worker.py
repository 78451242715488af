"""The worker's side of a timing: one artifact on one device, alone in its process.

The parent gives one command a line: `{"do": "slot", "calls": n}` times n runs, `{"do": "finish"}` ends. Between
commands the process blocks on the pipe, so that it takes nothing from the one whose turn it is.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import itertools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.errors import EdgeportError, StepError, words_of
from converters.formats import Precision
from converters.isolation import Channel, Message
from validate.latency.calls import Call, check_synchronous, prepare
from validate.latency.feeds import Feeds, Golden, check_answers, feeds_of, held_to
from validate.latency.host.facts import cpus_for, physical_cores
from validate.latency.host.noise import canary_ns
from validate.latency.host.placement import placement
from validate.latency.statistics.percentiles import is_steady
from validate.runtimes.base import Runtime
from validate.runtimes.devices import Device
from validate.runtimes.processes import Usage, forget_peak, own_usage, resident_bytes, usage_of
from validate.runtimes.variant import Variant

WARMUP_RUNS = 10
WARMUP_S = 0.5
_WINDOW_S = 0.1
_WINDOW_RUNS = 5


@dataclass
class _Subject:
    """The opened artifact with its prepared calls; `turn` goes on through the inputs from slot to slot.

    `golden` stays referenced so that its memory counts before and after alike.
    """

    runtime: Runtime
    feeds: Feeds
    calls: list[Call]
    golden: Golden | None
    turn: int = 0

    def timed(self, count: int) -> list[int]:
        """Nanoseconds of `count` runs. The garbage collector is off meanwhile."""
        if self.runtime.stopwatch is not None:
            return self.runtime.stopwatch.timed(count)
        runs = [call.run for call in itertools.islice(itertools.cycle(self.calls), self.turn, self.turn + count)]
        self.turn = (self.turn + count) % len(self.calls)
        return time_calls(runs)

    @property
    def process(self) -> int | str:
        """Whose memory counts."""
        return "self" if self.runtime.stopwatch is None else self.runtime.stopwatch.process

    @property
    def usage(self) -> Usage:
        clock = self.runtime.stopwatch
        return own_usage() if clock is None else usage_of(clock.process)


def time_calls(runs: Sequence[Callable[[], Any]]) -> list[int]:
    """Nanoseconds of each call, one after the other, with the garbage collector off: the inmost loop of all timings."""
    clock = time.perf_counter_ns
    durations = [0] * len(runs)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for k, run in enumerate(runs):
            start = clock()
            run()
            durations[k] = clock() - start
    finally:
        if collecting:
            gc.enable()
    return durations


def serve(request: Message, channel: Channel) -> Message:
    """Opens, runs first, warms up, then times slots until the command to finish; checks the answers last.

    Sends `{"first": ...}` after the first answer, `{"ready": ...}` when warm, `{"unavailable": ...}` when the device is
    missing, `{"slot": ...}` per slot. Returns the memory figures. Events name the phase, so that a time-out can say
    where it hung. A request with `cold_only` ends after the first answer.
    """
    from validate.runtimes import DeviceUnavailableError

    request["cores"] = physical_cores()  # before we narrow them ourselves
    pin(cpus_for(int(request["threads"])) if Device(request["device"]).is_pinned else [])
    try:
        subject, phases = _prepare(request, channel)
    except DeviceUnavailableError as error:
        channel.send({"unavailable": {"reason": error.message, "next": error.next_step}})
        return {}
    if request.get("cold_only"):
        return {"cold_ms": phases["cold_ms"]}
    channel.event(phase="warm-up")
    runs, p50_ns, steady = _warm_up(subject, float(request["warmup_s"]))
    channel.send({"ready": {**phases, "warmup_runs": runs, "p50_ns": p50_ns, "steady": steady}})
    _serve_slots(subject, channel)
    return _finish(subject, phases, request)


def pin(cpus: Sequence[int]) -> None:
    """Keeps this process and the threads that it will start on these CPUs; before any library makes its pool."""
    if cpus and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):  # they were taken from us meanwhile: the row's facts then say where it ran
            os.sched_setaffinity(0, cpus)


def _serve_slots(subject: _Subject, channel: Channel) -> None:
    while True:
        command = channel.receive()
        if command is None:
            raise BrokenPipeError  # the parent is gone
        if command["do"] == "finish":
            return
        channel.send({"slot": _slot(subject, int(command["calls"]))})


def _finish(subject: _Subject, phases: Message, request: Message) -> Message:
    """Memory first, then the answers of the very calls that were timed."""
    peak = resident_bytes("VmHWM", subject.process)
    peak_bytes = max(phases["load_peak_bytes"], peak - subject.feeds.nbytes)
    facts = placement(subject.runtime)
    precision = Precision(request["precision"]) if request["precision"] else None
    allowed = request.get("allowed", {})
    for call, expected in zip(subject.calls, subject.feeds.expected, strict=False):
        check_answers(expected, call.read(call.run()), precision, allowed)
    if subject.feeds.expected:
        facts = {**facts, "held_to": held_to(precision, allowed)}
    return {
        "peak_rss_bytes": max(0, peak_bytes - phases["idle_rss_bytes"]),
        "libraries": _loaded_libraries(),
        "facts": facts,
    }


def _prepare(request: Message, channel: Channel) -> tuple[_Subject, Message]:
    """Everything up to the first run, each phase timed apart."""
    from validate.runtimes import open_artifact, runtime_of

    path, device = Path(request["artifact"]), Device(request["device"])
    variant = Variant.from_json(request.get("variant", {}))
    row = runtime_of(path, device)
    golden = Golden.read(Path(request["golden"])) if request["golden"] else None
    channel.event(phase="import")
    _, import_ms = _clocked(lambda: _import(row.library))
    forget_peak()
    idle = resident_bytes("VmRSS")
    channel.event(phase="load")
    options = replace(variant.options(device, int(request["threads"])), signature=request.get("key"))
    runtime, load_ms = _clocked(lambda: open_artifact(path, options))
    load_peak = resident_bytes("VmHWM")
    feeds, shapes = feeds_of(request, runtime, golden)
    calls = prepare(runtime, feeds.inputs, variant.boundary)
    subject = _Subject(runtime, feeds, calls, golden)
    if runtime.stopwatch is not None:
        runtime.stopwatch.prepare(feeds.inputs)
    channel.event(phase="first run")
    first_ns = _first_run(subject, path)
    cold_ms = (time.monotonic_ns() - int(request["spawned_ns"])) / 1e6
    if device.is_gpu:
        check_synchronous(calls, time.perf_counter_ns)
    return subject, {
        "cold_ms": cold_ms,
        "import_ms": import_ms,
        "load_ms": load_ms,
        "first_ms": first_ns / 1e6,
        "idle_rss_bytes": idle,
        "load_peak_bytes": load_peak,
        "checked": bool(feeds.expected),
        "shapes": dict(shapes),
        "notes": list(runtime.notes),
        "runtime": row.name,
        "runtime_version": runtime.version or row.version,
        "arithmetic": runtime.arithmetic,
        "cores": request["cores"],
        "cpus": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        **({} if runtime.stopwatch is None else runtime.stopwatch.phases),
    }


def _first_run(subject: _Subject, path: Path) -> int:
    """Nanoseconds of the first run. The runtime's own exception, if it fails, becomes a sentence."""
    try:
        return subject.timed(1)[0]
    except EdgeportError:
        raise
    except Exception as cause:
        text = words_of(cause)
        raise StepError(
            f"{path.name} failed in its first run: {text}",
            next_step="Check the batch against the file's signature (edgeport inspect).",
            file=path,
            step="bench",
        ) from cause


def _warm_up(subject: _Subject, cap_s: float) -> tuple[int, int, bool]:
    """Runs until three windows' medians agree; (runs, last window's median in ns, whether it got steady)."""
    start = time.monotonic()
    runs, medians, window = 1, [], _WINDOW_RUNS
    while True:
        durations = subject.timed(window)
        runs += window
        medians.append(statistics.median(durations))
        elapsed = time.monotonic() - start
        if runs >= WARMUP_RUNS and elapsed >= WARMUP_S and is_steady(medians):
            return runs, max(1, int(medians[-1])), True
        if elapsed >= cap_s:
            return runs, max(1, int(medians[-1])), False
        window = max(_WINDOW_RUNS, math.ceil(_WINDOW_S * 1e9 / max(1, medians[-1])))
        if medians[-1] * window > cap_s * 1e9 / 3:  # a model so slow that windows of one run must do
            window = 1


def _slot(subject: _Subject, calls: int) -> Message:
    """Times `calls` runs after a tenth as many that are not timed: the caches still hold the other rows' weights."""
    canary = canary_ns()
    subject.timed(max(1, calls // 10))
    before = subject.usage
    durations = subject.timed(calls)
    after = subject.usage
    return {
        "ns": durations,
        "cpu_s": after.cpu_s - before.cpu_s,
        "cpu_total_s": after.total_s,
        "canary_ns": canary,
        "switches": after.switches - before.switches,
        "faults": after.faults - before.faults,
    }


def _clocked(action: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter_ns()
    result = action()
    return result, (time.perf_counter_ns() - start) / 1e6


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as cause:
        raise StepError(
            f"{module.partition('.')[0]} cannot be imported ({cause}).", next_step="Run edgeport doctor.", step="bench"
        ) from cause


def _loaded_libraries() -> dict[str, str]:
    """The heavy frameworks that this process holds: proof that timing a `.tflite` did not load TensorFlow."""
    from validate.runtimes import RUNTIMES

    versions: dict[str, str] = {}
    packages = {row.library.partition(".")[0]: row.distributions for row in RUNTIMES}
    for module, distributions in (packages | {"keras": ("keras",)}).items():
        if module not in sys.modules:
            continue
        for distribution in distributions:
            with suppress(importlib.metadata.PackageNotFoundError):
                versions[distribution] = importlib.metadata.version(distribution)
    return versions
