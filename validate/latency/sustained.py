"""Latency under lasting load: p50 by minute, the moment from which a row is slower for good, and what it is due to.

What counts for a slowdown are means of slots, not medians: a quota stops a process for whole runs, which a median of
short ones does not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from validate.latency.host.noise import MachineState, hottest_celsius
from validate.latency.results import Row
from validate.latency.statistics.percentiles import Floats, Interval, Samples, percentile

MINUTE_S = 60.0
LEAST_SLOWDOWN = 0.05
_BINS, _LEAST_BIN_S = 120, 2.0
_CERTAIN = 0.001
_STAYS = 0.9
_QUARTER = 0.25


@dataclass
class Lasting:
    """What a row's slots gave, as they came; seconds since the rounds began.

    Attributes:
        at_s, mean_ns, canary_ns: of each slot: when it ended, the mean of its runs, and the fixed kernel's time.
        joules: what the processor took meanwhile; None where it has no counter.
    """

    at_s: list[float] = field(default_factory=list)
    mean_ns: list[float] = field(default_factory=list)
    canary_ns: list[int] = field(default_factory=list)
    joules: float | None = None


@dataclass
class MachineLog:
    """What the machine said of itself, at the end of each round.

    Attributes:
        throttled: how often the control group had been out of its quota.
        clock_mhz, celsius: None where the machine does not say.
    """

    at_s: list[float] = field(default_factory=list)
    throttled: list[int] = field(default_factory=list)
    clock_mhz: list[float | None] = field(default_factory=list)
    celsius: list[float | None] = field(default_factory=list)

    def note(self, at_s: float) -> None:
        """Reads the counters now."""
        state = MachineState.now()
        self.at_s.append(at_s)
        self.throttled.append(state.throttled)
        self.clock_mhz.append(state.clock_mhz)
        self.celsius.append(hottest_celsius())


@dataclass(frozen=True)
class Slowdown:
    """From `begins_s` on (known to `within_s`) the row takes `ratio` times as long as before."""

    begins_s: float
    within_s: float
    ratio: float
    cause: str

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Sustained:
    """A row under lasting load.

    Attributes:
        minutes: by minute, `p50_ms` with its interval and `mean_ms`.
        slowdown: None where it stays as it was in the beginning.
        joules: of one run, the whole package; `joules_above_idle` less what an idle machine takes in that time.
    """

    row: Row
    seconds: float
    minutes: tuple[dict[str, Any], ...]
    slowdown: Slowdown | None
    joules: float | None = None
    joules_above_idle: float | None = None

    def to_json(self) -> dict[str, Any]:
        row = self.row
        return {
            "artifact": row.artifact.name,
            "target": row.place.target,
            "setting": row.place.setting,
            "threads": row.threads,
            "batch": row.batch,
            "seconds": self.seconds,
            "minutes": [{**entry, "p50_ms": entry["p50_ms"].to_json()} for entry in self.minutes],
            "slowdown": self.slowdown.to_json() if self.slowdown else None,
            "joules": self.joules,
            "joules_above_idle": self.joules_above_idle,
        }


def minutes_of(samples: Samples, lasting: Lasting, rounds: Sequence[int], seed: int) -> tuple[dict[str, Any], ...]:
    """By minute, from 1: p50 with its interval, the mean, and the number of slots.

    Args:
        rounds: the number of each slot's round, as the samples name it.
    """
    minute = np.floor(np.asarray(lasting.at_s) / MINUTE_S).astype(int)
    numbers = np.asarray(rounds)
    result = []
    for k in range(int(minute.max()) + 1 if len(minute) else 0):
        within = minute == k
        some = samples[np.isin(samples[:, 0], numbers[within])]
        if len(some):
            mean_ns = float(np.mean(np.asarray(lasting.mean_ns)[within]))
            p50 = percentile(some, 0.50, seed=seed).scaled(1e-6)
            result.append({"minute": k + 1, "p50_ms": p50, "mean_ms": mean_ns / 1e6, "slots": int(within.sum())})
    return tuple(result)


def slowdown_of(lasting: Lasting, machine: MachineLog, floor: float) -> Slowdown | None:
    """The moment from which a row is slower for good, where there is one.

    Slots are put into bins of two seconds or more. A change is claimed where Pettitt's test on the bins' means says so
    (Pettitt, "A non-parametric approach to the change-point problem", Applied Statistics 28, 1979) and the row is then
    slower by `LEAST_SLOWDOWN` and the noise floor. It begins with the first bin from which on nine of ten are slower by
    a quarter of it: so a gradual one begins early, and another disturbance just before a sudden one does not count.

    Args:
        floor: a difference that two processes of one file show anyway, as a share.
    """
    at, mean = np.asarray(lasting.at_s), np.asarray(lasting.mean_ns)
    if len(at) < 2:
        return None
    width = max(_LEAST_BIN_S, float(at[-1]) / _BINS)
    index = np.minimum((at / width).astype(int), max(0, int(at[-1] / width) - 1))  # the last, short one joins
    bins = np.unique(index)
    means = np.asarray([mean[index == k].mean() for k in bins])
    if pettitt(means)[1] > _CERTAIN:
        return None
    change = _split(means)
    before, after = float(np.median(means[:change])), float(np.median(means[change:]))
    slower = means > before * (1 + max(LEAST_SLOWDOWN, floor, _QUARTER * (after / before - 1)))
    begins = next((k for k in range(len(bins)) if slower[k] and slower[k:].mean() >= _STAYS), None)
    if begins is None or begins < 1 or len(bins) - begins < 3:
        return None
    begins_s = float(bins[begins] * width)
    ratio = float(np.mean(means[begins:])) / before
    return Slowdown(begins_s, width, ratio, _cause(lasting, machine, begins_s))


def pettitt(values: Floats) -> tuple[int, float]:
    """The most likely place of one change (the first value after it), and the chance of as much without one."""
    n = len(values)
    signs = np.sign(values[:, None] - values[None, :])
    statistic = np.abs([signs[:k, k:].sum() for k in range(1, n)])
    if not len(statistic):
        return 0, 1.0
    change = int(np.argmax(statistic)) + 1
    chance = 2 * np.exp(-6 * float(statistic[change - 1]) ** 2 / (n**3 + n**2))
    return change, float(min(1.0, chance))


def _split(values: Floats) -> int:
    """Where one step explains the values best, by least squares of their logarithms (the first value after it).

    Pettitt's test says whether there is a change; ranks place an early or late one too near to the middle.
    """
    logs, n = np.log(values), len(values)
    sums, counts = np.cumsum(logs)[:-1], np.arange(1, n)
    gap = sums / counts - (logs.sum() - sums) / (n - counts)
    return int(np.argmax(counts * (n - counts) * gap**2)) + 1


def overtaken(results: Sequence[Sustained]) -> list[str]:
    """Where the ranking of the last minute is surely another than that of the first: a sentence for each pair."""
    lines = []
    for k, one in enumerate(results):
        for other in results[k + 1 :]:
            first, last = (_order(one.minutes[at]["p50_ms"], other.minutes[at]["p50_ms"]) for at in (0, -1))
            if first * last < 0:
                ahead, behind = (one, other) if last < 0 else (other, one)
                lines.append(
                    f"{ahead.row.artifact.name} is faster than {behind.row.artifact.name} in the last minute; in the "
                    "first it was slower."
                )
    return lines


def _order(one: Interval, other: Interval) -> int:
    """-1 where the first is surely less, 1 where it is surely more, else 0."""
    if None in (one.low, one.high, other.low, other.high):
        return 0
    assert one.low is not None
    assert one.high is not None
    assert other.low is not None
    assert other.high is not None
    return -1 if one.high < other.low else int(one.low > other.high)


def _cause(lasting: Lasting, machine: MachineLog, begins_s: float) -> str:
    """What changed at that moment besides the row, in words."""
    after = np.asarray(machine.at_s) >= begins_s
    if after.any() and not after.all():
        stops = _rates(machine, after)
        if stops[1] > 0 and stops[1] > 2 * stops[0]:
            return f"the control group was out of its quota {stops[1] * MINUTE_S:.0f} times a minute"
        clocks = _medians(machine.clock_mhz, after)
        if clocks and clocks[1] < clocks[0] * (1 - LEAST_SLOWDOWN):
            celsius = _medians(machine.celsius, after)
            heat = f", at {celsius[1]:.0f} instead of {celsius[0]:.0f} degrees Celsius" if celsius else ""
            return f"the clock fell from {clocks[0]:.0f} to {clocks[1]:.0f} MHz{heat}"
    late = np.asarray(lasting.at_s) >= begins_s
    canary = np.asarray(lasting.canary_ns)
    slowed = float(np.mean(canary[late]) / np.mean(canary[~late])) - 1
    if slowed > LEAST_SLOWDOWN:
        return f"a fixed kernel became {slowed:.0%} slower too: it is the machine"
    return "unknown: a fixed kernel did not become slower"


def _rates(machine: MachineLog, after: Any) -> tuple[float, float]:
    """How often a second the quota ran out, before and after."""
    at, count = np.asarray(machine.at_s), np.asarray(machine.throttled)
    before_s, after_s = at[~after][-1] - at[0], at[-1] - at[after][0]
    rates = (count[~after][-1] - count[0], before_s), (count[-1] - count[after][0], after_s)
    first, then = (float(grown / seconds) if seconds > 0 else 0.0 for grown, seconds in rates)
    return first, then


def _medians(values: Sequence[float | None], after: Any) -> tuple[float, float] | None:
    """The medians before and after; None where the machine does not say."""
    before, then = (
        [v for v, late in zip(values, after, strict=True) if v is not None and late == side] for side in (0, 1)
    )
    return (median(before), median(then)) if before and then else None
