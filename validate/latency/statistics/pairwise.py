"""Two rows against each other: paired by round, with a floor below which nothing is claimed and Holm's correction.

The floor comes from an A/A control: the same artifact in two processes, timed like any two candidates. Two processes
of one program differ by a percent or so through memory layout alone, which no interval over rounds can show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from validate.latency.statistics.percentiles import (
    CONFIDENCE,
    MIN_CLUSTERS,
    RESAMPLES,
    Floats,
    Interval,
    Samples,
    clusters_of,
    draw_weights,
    independent_worth,
    order_statistics,
    resampled_quantiles,
    student_factor,
)

SAME_WITHIN = 0.03
_NORMAL = 1.959964
CLAIM_BEYOND = 0.02
"""The minimum noise floor. Measured: identical processes on a quiet machine differ by up to 1.6 %."""


class Comparison(StrEnum):
    """The verdict on a candidate."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    SAME = "SAME"
    AMBIGUOUS = "AMBIGUOUS"


@dataclass(frozen=True)
class Paired:
    """The log ratio candidate / baseline of medians, paired by round.

    Attributes:
        log: the median of the rounds' log ratios.
        error: its standard error; infinite where there are too few rounds for one.
        clusters: groups of neighbouring rounds that were resampled.
        interval: the ratio with its 95 % interval.
    """

    log: float
    error: float
    clusters: int
    interval: Interval

    def p_value(self, floor: float) -> float:
        """Two-sided p-value of "they differ by no more than `floor`", by Student's t over the clusters."""
        from scipy.special import stdtr

        beyond = abs(self.log) - math.log1p(floor)
        if not math.isfinite(self.error) or beyond <= 0:
            return 1.0
        if self.error == 0:
            return 0.0
        return float(2 * stdtr(self.clusters - 1, -beyond / self.error))

    @property
    def floor(self) -> float:
        """Read as an A/A control: the difference that is not exceeded in 95 of 100 such controls."""
        low, high = self.interval.low, self.interval.high
        if low is None or high is None:
            return math.inf
        return max(CLAIM_BEYOND, 1 / low - 1, high - 1)


def paired_ratio(baseline: Samples, candidate: Samples, *, seed: int = 0) -> Paired:
    """Candidate / baseline: the median of the per-round ratios of medians, with its interval.

    Pairing by round cancels disturbances that slow both alike; the median over rounds resists those that slow only one.
    Rounds that only one of them has are left out.

    Raises:
        ValueError: they share no round.
    """
    candidate_medians, baseline_medians = _round_medians(candidate), _round_medians(baseline)
    shared = sorted(candidate_medians.keys() & baseline_medians.keys())
    if not shared:
        raise ValueError("no common round")
    logs = np.log([candidate_medians[k] / baseline_medians[k] for k in shared])
    centre = float(np.median(logs))
    clusters = clusters_of(np.asarray(shared))
    count = int(clusters.max()) + 1
    if count < MIN_CLUSTERS:
        return Paired(centre, math.inf, count, Interval(math.exp(centre)))
    draws = _resampled_medians(logs, clusters, count, seed)
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    wider = student_factor(count)
    low, high = centre - (centre - min(low, centre)) * wider, centre + (max(high, centre) - centre) * wider
    order = np.argsort(logs, kind="stable")
    worth = independent_worth(logs[order] <= centre, clusters[order])
    exact_low, exact_high = order_statistics(logs[order], 0.5, worth)
    low, high = min(low, exact_low), max(high, exact_high)
    error = max(float(draws.std()) * math.sqrt(count / (count - 1)), (high - low) / 2 / (wider * _NORMAL))
    return Paired(centre, error, count, Interval(math.exp(centre), math.exp(low), math.exp(high)))


def verdicts(ratios: Sequence[Paired], floor: float) -> list[Comparison]:
    """Verdicts on several candidates against one baseline, all claims together at 95 %.

    Holm (1979), "A simple sequentially rejective multiple test procedure": the smallest p-value is held to 5 % / m, the
    next to 5 % / (m - 1), until one fails. SAME where the whole interval lies within +-3 %.
    """
    order = sorted(range(len(ratios)), key=lambda k: ratios[k].p_value(floor))
    claimed: set[int] = set()
    for rank, k in enumerate(order):
        if ratios[k].p_value(floor) > (1 - CONFIDENCE) / (len(ratios) - rank):
            break
        claimed.add(k)
    return [_verdict(paired, k in claimed, floor) for k, paired in enumerate(ratios)]


def _verdict(paired: Paired, claimed: bool, floor: float) -> Comparison:
    low, high = paired.interval.low, paired.interval.high
    if low is None or high is None:
        return Comparison.AMBIGUOUS
    if low >= 1 - SAME_WITHIN and high <= 1 + SAME_WITHIN:
        return Comparison.SAME
    if claimed and low > 1 + floor:
        return Comparison.SLOWER
    return Comparison.FASTER if claimed and high < 1 / (1 + floor) else Comparison.AMBIGUOUS


def _resampled_medians(logs: Floats, clusters: Floats, count: int, seed: int) -> Floats:
    order = np.argsort(logs, kind="stable")
    return resampled_quantiles(logs[order], clusters[order], 0.5, draw_weights(count, RESAMPLES, seed))


def _round_medians(samples: Samples) -> dict[int, float]:
    starts = np.flatnonzero(np.r_[True, np.diff(samples[:, 0]) != 0])
    parts = np.split(samples, starts[1:])
    return {int(part[0, 0]): float(np.median(part[:, 1])) for part in parts if len(part)}
