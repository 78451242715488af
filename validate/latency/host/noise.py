"""Disturbances of a round: stolen time, a throttled quota, other processes, and a canary that ran slower than usual.

A round is tainted by observations outside the samples, never by their values: an outlier with no cause stays.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from validate.latency.host.nvml import HARMFUL

STEAL_SHARE = 0.01
OTHERS_CPUS = 0.25
CANARY_DRIFT = 0.05
GPU_CLOCK_SHARE = 0.75
_ENOUGH_CANARIES = 10
_CANARY = bytes(1 << 16)
_CANARY_REPEATS = 4


def canary_ns() -> int:
    """Nanoseconds of a fixed kernel (SHA-256 of 64 KiB, the best of four): it slows with the clock, not the model."""
    clock = time.perf_counter_ns
    best = 1 << 62
    for _ in range(_CANARY_REPEATS):
        start = clock()
        hashlib.sha256(_CANARY).digest()
        best = min(best, clock() - start)
    return best


@dataclass(frozen=True)
class MachineState:
    """Counters since boot, in CPU seconds. See proc(5), /proc/stat, and the kernel's cgroup-v2.rst, cpu.stat."""

    at: float
    steal_s: float
    busy_s: float
    all_s: float
    throttled: int
    clock_mhz: float | None

    @classmethod
    def now(cls) -> MachineState:
        """The counters now; zeros where the kernel does not report them."""
        ticks = [0] * 8
        text = _read("/proc/stat")
        if text:
            ticks = ([int(t) for t in text.split("\n", 1)[0].split()[1:9]] + [0] * 8)[:8]
        tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        busy = sum(ticks) - ticks[3] - ticks[4] - ticks[7]
        return cls(time.monotonic(), ticks[7] / tick, busy / tick, sum(ticks) / tick, _throttled(), _clock_mhz())


@dataclass(frozen=True)
class SlotNoise:
    """A worker's counters of its own slot; `cpu_s` is all its CPU time since the last one, spinning afterwards too."""

    canary_ns: int
    involuntary_switches: int
    major_faults: int
    cpu_s: float


@dataclass
class NoiseLog:
    """Judges rounds as they come and sums up the observations.

    Attributes:
        tainted: round -> reasons.
        canaries: row -> nanoseconds of its canary, one a round.
    """

    tainted: dict[int, tuple[str, ...]] = field(default_factory=dict)
    canaries: dict[int, list[int]] = field(default_factory=dict)
    rounds: int = 0
    switches: int = 0
    major_faults: int = 0
    clocks: list[float] = field(default_factory=list)
    gpu_clocks: list[int] = field(default_factory=list)

    def judge(self, number: int, before: MachineState, slots: dict[int, SlotNoise], own_s: float) -> tuple[str, ...]:
        """Reasons why the round is tainted; none when it is clean.

        Args:
            before: the counters at its beginning.
            slots: counters of each row's worker.
            own_s: CPU seconds that this process used meanwhile.
        """
        after = MachineState.now()
        self.rounds += 1
        self.switches += sum(slot.involuntary_switches for slot in slots.values())
        self.major_faults += sum(slot.major_faults for slot in slots.values())
        if after.clock_mhz is not None:
            self.clocks.append(after.clock_mhz)
        reasons = [*self._machine(before, after, own_s + sum(s.cpu_s for s in slots.values()))]
        if self._canary_drifted(slots):
            reasons.append("canary")
        if reasons:
            self.tainted[number] = tuple(reasons)
        return tuple(reasons)

    def judge_gpu(self, number: int, state: Mapping[str, Any]) -> tuple[str, ...]:
        """The same of a GPU, from `nvml.gpu_state` after the round: throttling, a clock under 75 % of its highest."""
        clock = state.get("sm_clock_mhz")
        if clock is not None:
            self.gpu_clocks.append(clock)
        reasons = [f"gpu {name}" for name in state.get("throttle_reasons", ()) if name in HARMFUL]
        if clock is not None and clock < GPU_CLOCK_SHARE * max(self.gpu_clocks):
            reasons.append("gpu clock")
        if reasons:
            self.tainted[number] = (*self.tainted.get(number, ()), *reasons)
        return tuple(reasons)

    def to_json(self) -> dict[str, object]:
        counts: dict[str, int] = {}
        for reasons in self.tainted.values():
            for reason in reasons:
                counts[reason] = counts.get(reason, 0) + 1
        drifts = [max(c) / median(c) - 1 for c in self.canaries.values() if c]
        return {
            "rounds": self.rounds,
            "tainted_rounds": len(self.tainted),
            "reasons": counts,
            "canary_worst_drift": max(drifts, default=0.0),
            "involuntary_switches": self.switches,
            "major_faults": self.major_faults,
            "gpu_sm_clock_mhz": [min(self.gpu_clocks), max(self.gpu_clocks)] if self.gpu_clocks else None,
            "clock_mhz": [min(self.clocks), max(self.clocks)] if self.clocks else None,
        }

    def _machine(self, before: MachineState, after: MachineState, own_s: float) -> list[str]:
        reasons = []
        passed, wall = after.all_s - before.all_s, after.at - before.at
        if passed > 0 and (after.steal_s - before.steal_s) / passed > STEAL_SHARE:
            reasons.append("steal")
        if after.throttled > before.throttled:
            reasons.append("quota")
        # Counters tick in hundredths of a second: two ticks are no evidence.
        others = after.busy_s - before.busy_s - own_s - 0.02
        if wall > 0 and others / wall > OTHERS_CPUS:
            reasons.append("other processes")
        return reasons

    def _canary_drifted(self, slots: dict[int, SlotNoise]) -> bool:
        drifted = False
        for row, slot in slots.items():
            history = self.canaries.setdefault(row, [])
            history.append(slot.canary_ns)
            if len(history) >= _ENOUGH_CANARIES and slot.canary_ns > median(history[-200:]) * (1 + CANARY_DRIFT):
                drifted = True
        return drifted


def _throttled() -> int:
    """How often the control group, or the outermost one that is seen, was out of its quota."""
    for path in _cpu_stats():
        for line in (_read(path) or "").splitlines():
            if line.startswith("nr_throttled"):
                return int(line.split()[1])
    return 0


@functools.cache
def _cpu_stats() -> tuple[str, ...]:
    """Where the counters of our control group lie (versions 2 and 1, see cgroups(7)), the group's own first."""
    paths = []
    for line in (_read("/proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            paths.append(f"/sys/fs/cgroup{group.rstrip('/')}/cpu.stat")
        elif "cpu" in controllers.split(","):
            paths.append(f"/sys/fs/cgroup/cpu{group.rstrip('/')}/cpu.stat")
    return (*paths, "/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat")


def hottest_celsius() -> float | None:
    """The hottest of the machine's thermal zones; None where it has none."""
    texts = (_read(str(zone)) or "" for zone in Path("/sys/class/thermal").glob("thermal_zone*/temp"))
    return max((int(text) / 1000 for text in texts if text.strip().lstrip("-").isdigit()), default=None)


def _clock_mhz() -> float | None:
    """The first CPU's clock; a virtual machine does not report it."""
    text = _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    return int(text) / 1000 if text and text.strip().isdigit() else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None
