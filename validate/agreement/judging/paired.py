"""The paired bootstrap: what a metric loses from the reference to a file, on resamples of the same samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from converters.arrays import Array
from validate.agreement.judging.named_metrics import NamedMetric
from validate.agreement.losses import Estimate

RESAMPLES = 1000
MIN_SAMPLES = 20
"""Of fewer a bootstrap says nothing of the tails that it is asked for."""

TAILS = (0.025, 0.975)

ROWS, RESAMPLED, SAMPLES = "rows", "resampled", "samples"
"""What is kept of a file's metric, by name; see `MetricDrop.kept`."""


@dataclass(frozen=True)
class MetricDrop:
    """A metric of the reference and of a file, and how far it drops; shares drop in points.

    Attributes:
        samples: how many it was told from.
        kept: what another file's drop from this one can be told from: `rows`, what each sample adds, or of a function
            `resampled`, what it gave on each resample.
    """

    reference: float
    value: float
    drop: Estimate
    samples: int
    kept: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)


def drop_of(metric: NamedMetric, reference: Array, candidate: Array, seed: int = 0) -> MetricDrop:
    """The drop of a named metric from what each sample adds, with its 95 % interval.

    Where a sample can be all right or all wrong, two more are drawn from: one that the reference alone gets right, and
    one that the file alone does. Without them no change in few samples would prove that there is none (for shares of
    pairs this is the interval of Bonett and Price 2012).
    """
    unit = 100.0 if metric.share else 1.0
    sign = -unit if metric.lower else unit
    before, after = (float(metric.total(side.sum(axis=0))) for side in (reference, candidate))
    pool = (reference, candidate)
    if metric.won is not None and metric.lost is not None:
        pair = np.array([metric.won, metric.lost])
        pool = (np.concatenate([reference, pair]), np.concatenate([candidate, pair[::-1]]))
    rng = np.random.Generator(np.random.PCG64(seed))
    count = len(pool[0])
    drops = np.empty(RESAMPLES)
    for k in range(RESAMPLES):
        times = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        drops[k] = float(metric.total(times @ pool[0])) - float(metric.total(times @ pool[1]))
    spread = interval_of(sign * drops, sign * (before - after), len(reference), corrected=metric.won is None)
    estimate = known(spread, unit if metric.share else before, len(reference))
    return MetricDrop(before, after, estimate, len(reference), {ROWS: candidate})


def drop_between(
    named: NamedMetric | None,
    sides: tuple[Mapping[str, Array], Mapping[str, Array]],
    values: tuple[float, float],
    *,
    lower: bool,
) -> MetricDrop | None:
    """The drop from one file to another, of what was kept of each (`MetricDrop.kept`) on the same samples; None where
    that does not tell.

    Args:
        named: None of a function, whose figures are `values`.
    """
    key = ROWS if named is not None else RESAMPLED
    before, after = (side.get(key) for side in sides)
    if before is None or after is None or before.shape != after.shape:
        return None
    if named is not None:
        return drop_of(named, np.asarray(before, np.float64), np.asarray(after, np.float64))
    sign, samples = (-1.0 if lower else 1.0), int(sides[0][SAMPLES])
    drops = sign * (before - after)
    drops = drops[np.isfinite(drops)]
    if not len(drops):
        return None
    estimate = known(interval_of(drops, sign * (values[0] - values[1]), samples), values[0], samples)
    return MetricDrop(*values, estimate, samples)


def interval_of(drops: Array, value: float, samples: int, *, corrected: bool = True) -> Estimate:
    """The percentiles of resampled drops; `corrected` widens them for few samples, by Student's t and n - 1."""
    low, high = (float(end) for end in np.quantile(drops, TAILS))
    if corrected:
        from scipy.special import stdtrit

        factor = math.sqrt(samples / (samples - 1)) * float(stdtrit(samples - 1, TAILS[1])) / 1.959964
        low, high = value + factor * (low - value), value + factor * (high - value)
    return Estimate(value, min(low, value), max(high, value))


def known(estimate: Estimate, scale: float, samples: int) -> Estimate:
    """The estimate, or where no resample differs what so many samples without a change leave possible (3 / n)."""
    if estimate.low != estimate.high or estimate.value is None:
        return estimate
    reach = 3.0 / samples * abs(scale)
    return Estimate(estimate.value, estimate.value - reach, estimate.value + reach)


def samples_that_would_do(drop: Estimate, max_drop: float, samples: int) -> int | None:
    """How many samples would prove this very drop, since an interval narrows with their root; None: no number would."""
    if drop.value is None or drop.high is None or drop.value >= max_drop:
        return None
    return math.ceil(samples * ((drop.high - drop.value) / (max_drop - drop.value)) ** 2)
