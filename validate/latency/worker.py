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
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import StepError
from converters.formats import Precision
from converters.isolation import Channel, Message
from validate.latency.feeds import Feeds, Golden, check_answers, make_feeds
from validate.latency.statistics import is_steady

TARGET = "validate.latency.worker:serve"

WARMUP_RUNS = 10
WARMUP_S = 0.5
_WINDOW_S = 0.1
_WINDOW_RUNS = 5

_LIBRARIES = {
    "onnxruntime": "onnxruntime", "tflite": "ai_edge_litert.interpreter", "saved_model": "tensorflow",
}  # fmt: skip
_DISTRIBUTIONS = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"), "ai_edge_litert": ("ai-edge-litert",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"), "keras": ("keras",),
}  # fmt: skip


@dataclass
class _Subject:
    """The opened artifact with its prepared calls; `turn` goes on through the inputs from slot to slot.

    `golden` is kept so that its memory counts before and after alike.
    """

    runtime: Any
    feeds: Feeds
    calls: list[Callable[[], Any]]
    golden: Golden | None
    turn: int = 0

    def timed(self, count: int) -> list[int]:
        """Nanoseconds of `count` runs. The garbage collector is off meanwhile."""
        clock = time.perf_counter_ns
        calls = list(itertools.islice(itertools.cycle(self.calls), self.turn, self.turn + count))
        self.turn = (self.turn + count) % len(self.calls)
        durations = [0] * count
        collecting = gc.isenabled()
        gc.disable()
        try:
            for k, call in enumerate(calls):
                start = clock()
                call()
                durations[k] = clock() - start
        finally:
            if collecting:
                gc.enable()
        return durations


def serve(request: Message, channel: Channel) -> Message:
    """Opens, runs first, warms up, then times slots until told to finish; checks the answers last.

    Sends `{"ready": ...}` when warm, `{"unavailable": ...}` when the device is not there, `{"slot": ...}` per slot.
    Returns the memory figures. Events name the phase, so that a time-out can say where it hung.
    """
    from validate.runtimes import DeviceUnavailableError

    try:
        subject, phases = _prepare(request, channel)
    except DeviceUnavailableError as error:
        channel.send({"unavailable": {"reason": error.message, "next": error.next_step}})
        return {}
    channel.event(phase="warm-up")
    runs, p50_ns, steady = _warm_up(subject, float(request["warmup_s"]))
    channel.send({"ready": {**phases, "warmup_runs": runs, "p50_ns": p50_ns, "steady": steady}})
    while True:
        command = channel.receive()
        if command is None:
            raise BrokenPipeError  # the parent is gone
        if command["do"] == "finish":
            break
        channel.send({"slot": _slot(subject, int(command["calls"]))})
    used = max(phases.pop("load_peak_bytes"), _resident("VmHWM") - subject.feeds.nbytes)
    peak = used - phases["idle_rss_bytes"]
    precision = Precision(request["precision"]) if request["precision"] else None
    for feed, expected in zip(subject.feeds.inputs, subject.feeds.expected, strict=False):
        check_answers(expected, subject.runtime.run(feed), precision)
    return {"peak_rss_bytes": max(0, peak), "libraries": _loaded_libraries()}


def _prepare(request: Message, channel: Channel) -> tuple[_Subject, Message]:
    """Everything up to the first run, each phase timed apart."""
    from validate.runtimes import RuntimeOptions, open_artifact, runtime_name

    path = Path(request["artifact"])
    golden = Golden.read(Path(request["golden"])) if request["golden"] else None
    channel.event(phase="import")
    _, import_ms = _clocked(lambda: _import(_LIBRARIES[runtime_name(path)]))
    _forget_peak()
    idle = _resident("VmRSS")
    channel.event(phase="load")
    options = RuntimeOptions(device=request["device"], threads=int(request["threads"]))
    runtime, load_ms = _clocked(lambda: open_artifact(path, options))
    load_peak = _resident("VmHWM")
    feeds = make_feeds(runtime.signature, int(request["batch"]), int(request["seed"]), golden)
    subject = _Subject(runtime, feeds, [_call(runtime, feed) for feed in feeds.inputs], golden)
    channel.event(phase="first run")
    first_ns = subject.timed(1)[0]
    return subject, {
        "import_ms": import_ms,
        "load_ms": load_ms,
        "first_ms": first_ns / 1e6,
        "idle_rss_bytes": idle,
        "load_peak_bytes": load_peak,
        "checked": bool(feeds.expected),
        "notes": list(getattr(runtime, "notes", ())),
    }


def _call(runtime: Any, feed: dict[str, Any]) -> Callable[[], Any]:
    """One run, arrays in and arrays out, with nothing of ours inside that an application would not do."""
    session = getattr(runtime, "session", None)
    if session is not None:
        return lambda: session.run(None, feed)
    return lambda: runtime.run(feed)


def _warm_up(subject: _Subject, cap_s: float) -> tuple[int, int, bool]:
    """Runs until three windows' medians agree; (runs, last window's median in ns, whether it got steady)."""
    began = time.monotonic()
    runs, medians, window = 1, [], _WINDOW_RUNS
    while True:
        durations = subject.timed(window)
        runs += window
        medians.append(statistics.median(durations))
        spent = time.monotonic() - began
        if runs >= WARMUP_RUNS and spent >= WARMUP_S and is_steady(medians):
            return runs, max(1, int(medians[-1])), True
        if spent >= cap_s:
            return runs, max(1, int(medians[-1])), False
        window = max(_WINDOW_RUNS, math.ceil(_WINDOW_S * 1e9 / max(1, medians[-1])))
        if medians[-1] * window > cap_s * 1e9 / 3:  # a model so slow that windows of one run must do
            window = 1


def _slot(subject: _Subject, calls: int) -> Message:
    """Times `calls` runs after one that is not timed: the caches still hold the other candidates' weights."""
    subject.timed(1)
    cpu = time.process_time()
    durations = subject.timed(calls)
    return {"ns": durations, "cpu_s": time.process_time() - cpu}


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
    found: dict[str, str] = {}
    for module, distributions in _DISTRIBUTIONS.items():
        if module not in sys.modules:
            continue
        for distribution in distributions:
            with suppress(importlib.metadata.PackageNotFoundError):
                found[distribution] = importlib.metadata.version(distribution)
    return found


def _forget_peak() -> None:
    """Sets this process's VmHWM back to what is resident now: proc(5), /proc/pid/clear_refs, value 5."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident(field: str) -> int:
    """VmRSS or VmHWM in bytes; 0 where the kernel does not tell."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0
