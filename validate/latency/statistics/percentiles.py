"""Percentiles with confidence intervals that hold when neighbouring samples resemble each other.

Consecutive runs of a model are not independent (lag-1 correlations of 0.5 to 0.8 are common on shared machines), so the
textbook interval of a percentile is too narrow. The unit that is resampled here is the *round*: in each round every
candidate is timed in a short slot, and between a candidate's slots the others run. See Davison & Hinkley, "Bootstrap
Methods and their Application" (1997), 3.8 (hierarchical data) and 8.2 (blocks).

No sample is ever deleted. Percentiles are nearest-rank: a value that was really measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Samples = np.ndarray[Any, np.dtype[np.int64]]
"""Shape (n, 2): the round's index and the nanoseconds of one run, in the order in which they were taken."""

Floats = np.ndarray[Any, np.dtype[np.float64]]

CONFIDENCE = 0.95
RESAMPLES = 2000
_MAX_CLUSTERS = 40
MIN_CLUSTERS = 5
_CLUSTER_SAMPLES = 8
_BEYOND = 10


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval; both ends are None where the samples are too few for one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float:
        """Half the interval's width as a share of the value; infinite where there is no interval."""
        if self.low is None or self.high is None or self.value == 0:
            return math.inf
        return (self.high - self.low) / 2 / self.value

    def scaled(self, factor: float) -> Interval:
        """The interval in another unit."""
        low, high = (None if x is None else x * factor for x in (self.low, self.high))
        return Interval(self.value * factor, low, high)

    def to_json(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


def enough_samples(n: int, p: float) -> bool:
    """Whether n samples have a two-sided 95 % interval for the p-quantile that can be believed.

    For independent ones 6, 36 and 368 would do (p50, p90, p99): both ends need their 2.5 %. How far the samples
    resemble each other shows in those beyond the quantile, and fewer than ten show nothing: at
    rho 0.7 the interval of a p99 from 400 samples holds in 93 % of cases, at rho 0.9 in 74 %; from 1000 in 97 and 95.
    """
    return n * min(p, 1 - p) >= _BEYOND - 1e-9


def percentile(samples: Samples, p: float, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The p-quantile (0 < p < 1) of all samples, in nanoseconds, with a cluster-bootstrap interval over rounds.

    The interval is the hull of two: rounds drawn with replacement, widened by Student's t for few clusters, and the
    order-statistic interval of as many independent samples as these are worth, which guards the tails: a bootstrap
    cannot reach beyond the largest sample that it has.
    """
    if len(samples) == 0:
        raise ValueError("no samples")
    order = np.argsort(samples[:, 1], kind="stable")
    ordered = samples[order, 1].astype(np.float64)
    value = float(ordered[_rank(p, len(ordered))])
    clusters = clusters_of(samples[:, 0], _CLUSTER_SAMPLES)
    count = int(clusters.max()) + 1
    if not enough_samples(len(ordered), p) or count < MIN_CLUSTERS:
        return Interval(value)
    draws = resampled_quantiles(ordered, clusters[order], p, draw_weights(count, resamples, seed))
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    wider = student_factor(count)
    worth = independent_worth(ordered <= value, clusters[order])
    exact_low, exact_high = order_statistics(ordered, p, worth)
    return Interval(
        value,
        float(max(ordered[0], min(value - (value - low) * wider, exact_low))),
        float(max(value + (high - value) * wider, exact_high)),
    )


def is_steady(medians: Sequence[float], tolerance: float = 0.05) -> bool:
    """Whether the last three windows' medians lie within the tolerance of their minimum: the warm-up is over."""
    last = medians[-3:]
    return len(last) == 3 and max(last) <= min(last) * (1 + tolerance)


def _rank(p: float, n: int) -> int:
    """Nearest rank, from 0: the smallest sample with at least a share p at or below it."""
    return min(n - 1, max(0, math.ceil(p * n - 1e-9) - 1))


def clusters_of(rounds: Any, min_samples: int = 1) -> Any:
    """The cluster of each sample: its round, or several neighbouring ones so that there are at most 40.

    Merging neighbours costs nothing where rounds are independent and widens the interval where they are not. A cluster
    that is shorter than samples resemble each other hides that they do: `min_samples` is the minimum on average.
    """
    _, index = np.unique(rounds, return_inverse=True)
    count = int(np.max(index)) + 1
    merged = math.ceil(count / min(_MAX_CLUSTERS, max(MIN_CLUSTERS * 2, count // 6)))
    merged = max(merged, math.ceil(min_samples * count / len(index)))
    full = max(1, count // merged)  # the last, incomplete group joins its neighbour
    return np.minimum(index // merged, full - 1)


def resampled_quantiles(ordered: Floats, clusters: Any, p: float, weights: Any) -> Floats:
    """The p-quantile of each resample, shape (resamples,). `clusters` belongs to the sorted samples.

    A resample weighs each cluster, so the count at or below a rank is a weighted sum of the clusters' counts: solved
    by bisection over ranks, for all resamples at once. (No matrix products: BLAS threads would wake for them.)
    """
    places = [np.flatnonzero(clusters == c) for c in range(weights.shape[1])]
    sizes = np.asarray([len(place) for place in places])
    target_counts = np.maximum(1, np.ceil(p * (weights * sizes).sum(axis=1) - 1e-9))
    low, high = np.zeros(len(weights), np.int64), np.full(len(weights), len(ordered) - 1)
    while (low < high).any():
        middle = (low + high) // 2
        counts = sum(weights[:, c] * np.searchsorted(place, middle, side="right") for c, place in enumerate(places))
        enough = counts >= target_counts
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    return ordered[low]


def draw_weights(count: int, resamples: int, seed: int) -> Any:
    """How often each of `count` clusters is drawn in each resample, shape (resamples, count)."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)


def independent_worth(below: Any, clusters: Any) -> int:
    """How many independent samples these are worth for the quantile whose samples `below` marks.

    The design effect (Kish, "Survey Sampling", 1965): the variance of the clusters' shares below the quantile, over
    what it would be if the samples were independent. Never taken to be less than 1.
    """
    sizes = np.bincount(clusters).astype(np.float64)
    share = float(below.mean())
    if share in (0.0, 1.0):
        return len(below)
    residuals = np.bincount(clusters, weights=below.astype(np.float64)) - share * sizes
    observed = float((residuals**2).sum()) * len(sizes) / (len(sizes) - 1)
    return max(1, int(len(below) / max(1.0, observed / (len(below) * share * (1 - share)))))


def order_statistics(ordered: Floats, p: float, worth: int) -> tuple[float, float]:
    """The samples between whose ranks the quantile lies, with 2.5 % binomial tails of `worth` samples on each side."""
    from scipy.stats import binom

    n, tail = len(ordered), (1 - CONFIDENCE) / 2
    below = binom.ppf(tail, worth, p) / worth  # P(share < below) < tail, so this rank bounds the quantile from below
    above = (binom.ppf(1 - tail, worth, p) + 1) / worth
    low, high = (math.ceil(below * n) - 1, math.ceil(above * n) - 1)
    return float(ordered[max(0, low)]), float(ordered[min(n - 1, high)])


def student_factor(clusters: int) -> float:
    """How much wider than a percentile bootstrap's an interval from few clusters must be.

    Student's t over the normal quantile, and sqrt(k / (k - 1)) as a resample's variance is too small by (k - 1) / k.
    """
    from scipy.special import stdtrit

    high = (1 + CONFIDENCE) / 2
    student = float(stdtrit(clusters - 1, high)) / float(stdtrit(1e9, high))
    return student * math.sqrt(clusters / (clusters - 1))
