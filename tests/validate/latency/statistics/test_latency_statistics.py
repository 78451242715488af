"""The statistics, by simulation: do the intervals hold what they promise when samples resemble their neighbours?"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from validate.latency.statistics import percentiles as statistics
from validate.latency.statistics.pairwise import CLAIM_BEYOND, Comparison, Paired, paired_ratio, verdicts
from validate.latency.statistics.percentiles import Interval, is_steady, percentile

MEDIAN_NS, SPREAD = 20e6, 0.1


def autocorrelated(rng: np.random.Generator, shape: tuple[int, int], rho: float) -> Any:
    """(n, 2) samples of log-normal durations with lag-1 correlation rho, in rounds without a pause between them."""
    rounds, calls = shape
    noise = rng.standard_normal(rounds * calls) * np.sqrt(1 - rho**2)
    noise[0] /= np.sqrt(1 - rho**2)
    noise = lfilter([1.0], [1.0, -rho], noise)
    ns = (MEDIAN_NS * np.exp(SPREAD * noise)).astype(np.int64)
    return np.stack([np.repeat(np.arange(rounds), calls), ns], axis=1)


def truth(p: float) -> float:
    return MEDIAN_NS * float(np.exp(SPREAD * NormalDist().inv_cdf(p)))


def coverage(p: float, shape: tuple[int, int], rho: float, trials: int = 400) -> float:
    rng = np.random.default_rng(11)
    hits = 0
    for trial in range(trials):
        interval = percentile(autocorrelated(rng, shape, rho), p, seed=trial, resamples=400)
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= truth(p) <= interval.high
    return hits / trials


SHAPES = [
    (0.5, (20, 3)), (0.5, (40, 1)), (0.5, (20, 10)), (0.5, (40, 10)), (0.5, (100, 7)), (0.5, (400, 10)),
    (0.9, (34, 3)), (0.9, (12, 10)), (0.9, (60, 20)), (0.95, (20, 10)), (0.95, (70, 3)), (0.95, (60, 20)),
    (0.99, (334, 3)), (0.99, (100, 10)), (0.99, (50, 20)), (0.99, (30, 200)), (0.99, (400, 10)),
]  # fmt: skip
"""Percentile, and rounds x calls, from the fewest samples that have an interval to many."""


@pytest.mark.slow
@pytest.mark.parametrize(("p", "shape"), SHAPES)
def test_intervals_cover_93_to_97_percent(p: float, shape: tuple[int, int]) -> None:
    """At rho 0.7. A trial's outcome is a coin: 2000 of them know the share to +-0.5 % (one standard error)."""
    assert 0.93 - 0.01 <= coverage(p, shape, rho=0.7, trials=2000) <= 0.97 + 0.01


@pytest.mark.parametrize(("p", "shape"), [(0.5, (40, 10)), (0.9, (12, 10)), (0.95, (20, 10)), (0.99, (100, 10))])
def test_intervals_cover_the_truth_for_autocorrelated_samples(p: float, shape: tuple[int, int]) -> None:
    """The same over fewer trials."""
    assert 0.92 <= coverage(p, shape, rho=0.7) <= 0.99


@pytest.mark.parametrize(("p", "shape"), [(0.5, (6, 3)), (0.5, (10, 3)), (0.9, (20, 4)), (0.99, (40, 10))])
def test_where_an_interval_would_not_hold_there_is_none(p: float, shape: tuple[int, int]) -> None:
    """Measured without this rule, at rho 0.7: p50 of 6 x 3 samples 88 %, p99 of 40 x 10 93 %, and 74 % at rho 0.9."""
    assert percentile(autocorrelated(np.random.default_rng(0), shape, 0.7), p).low is None


def test_intervals_cover_the_truth_for_independent_samples() -> None:
    assert coverage(0.5, (60, 10), rho=0.0) >= 0.93


def test_the_textbook_interval_would_not_cover() -> None:
    """Order statistics as if the samples were independent: that is why rounds are resampled."""
    rng, hits = np.random.default_rng(3), 0
    for _ in range(300):
        ordered = np.sort(autocorrelated(rng, (40, 10), rho=0.7)[:, 1]).astype(np.float64)
        low, high = statistics.order_statistics(ordered, 0.5, len(ordered))
        hits += low <= MEDIAN_NS <= high
    assert hits / 300 < 0.75


def test_the_order_statistic_interval_is_exact_for_independent_samples() -> None:
    """Published ranks for n = 1000: the median lies between the 469th and the 532nd smallest."""
    ordered = np.arange(1, 1001, dtype=np.float64)
    assert statistics.order_statistics(ordered, 0.5, 1000) == (469, 532)


def test_pairs_of_the_same_thing_are_told_apart_in_one_of_twenty_cases() -> None:
    """Measured over 1500 trials at rho 0.7: the ratio's interval holds 1 in 94-95 %."""
    rng, hits = np.random.default_rng(5), 0
    for trial in range(400):
        one, other = (autocorrelated(rng, (40, 10), rho=0.7) for _ in range(2))
        ratio = paired_ratio(one, other, seed=trial).interval
        assert ratio.low is not None
        assert ratio.high is not None
        hits += ratio.low <= 1 <= ratio.high
    assert 0.92 <= hits / 400 <= 0.985


def test_pairing_by_round_takes_out_what_slows_both() -> None:
    """A machine that gets twice as slow half-way: neither median is known well, their ratio is."""
    rng = np.random.default_rng(0)
    load = np.repeat(np.where(np.arange(40) < 20, 1.0, 2.0), 10)
    one, other = (autocorrelated(rng, (40, 10), rho=0.0) for _ in range(2))
    one[:, 1] = one[:, 1] * load
    other[:, 1] = other[:, 1] * load * 1.10
    paired = paired_ratio(one, other)
    assert verdicts([paired], CLAIM_BEYOND) == [Comparison.SLOWER]
    ratio = paired.interval
    assert ratio.value == pytest.approx(1.10, abs=0.03)
    assert percentile(one, 0.5).half_width > 3 * ratio.half_width


@pytest.mark.parametrize(("p", "least"), [(0.5, 40), (0.9, 100), (0.95, 200), (0.99, 1000)])
def test_the_fewest_samples_that_have_an_interval(p: float, least: int) -> None:
    def taken(n: int) -> Any:
        return np.stack([np.arange(n) * 5 // n, np.random.default_rng(0).permutation(n) + 1], axis=1)

    assert percentile(taken(least), p).low is not None
    interval = percentile(taken(least - 1), p)
    assert (interval.low, interval.high) == (None, None)


def test_too_few_rounds_have_no_interval() -> None:
    taken = np.stack([np.repeat(np.arange(4), 100), np.arange(400) + 1], axis=1)
    assert percentile(taken, 0.5).low is None
    assert paired_ratio(taken, taken).interval.low is None


def test_no_samples_and_no_common_round_are_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile(np.empty((0, 2), np.int64), 0.5)
    with pytest.raises(ValueError, match="no common round"):
        paired_ratio(np.array([[0, 5]]), np.array([[1, 5]]))


def paired(ratio: float, half_width: float) -> Paired:
    """A ratio with a symmetric interval on the scale of logarithms, over 40 groups of rounds."""
    error = np.log1p(half_width) / 2.02
    low, high = ratio / (1 + half_width), ratio * (1 + half_width)
    return Paired(float(np.log(ratio)), float(error), 40, Interval(ratio, low, high))


@pytest.mark.parametrize(
    ("ratio", "half_width", "floor", "expected"),
    [
        (0.80, 0.05, 0.02, Comparison.FASTER),
        (1.20, 0.05, 0.02, Comparison.SLOWER),
        (1.20, 0.05, 0.19, Comparison.AMBIGUOUS),  # the A/A control differs as much
        (1.00, 0.02, 0.02, Comparison.SAME),
        (1.02, 0.005, 0.02, Comparison.SAME),
        (1.02, 0.07, 0.02, Comparison.AMBIGUOUS),
        (1.05, 0.02, 0.02, Comparison.SLOWER),
        (1.05, 0.04, 0.02, Comparison.AMBIGUOUS),
        (1.20, 0.01, float("inf"), Comparison.AMBIGUOUS),  # a control of too few rounds
    ],
)
def test_verdict(ratio: float, half_width: float, floor: float, expected: Comparison) -> None:
    assert verdicts([paired(ratio, half_width)], floor) == [expected]


def test_no_interval_is_no_verdict() -> None:
    assert verdicts([Paired(-0.7, np.inf, 3, Interval(0.5))], 0.02) == [Comparison.AMBIGUOUS]


def test_holm_holds_several_claims_to_less_than_one() -> None:
    """A difference that is claimed alone is not claimed among nine that are none; a plain one is."""
    weak, plain, none = paired(1.065, 0.041), paired(1.5, 0.05), paired(1.0, 0.04)
    assert verdicts([weak], 0.02) == [Comparison.SLOWER]
    said = verdicts([weak, *[none] * 8, plain], 0.02)
    assert said[0] is Comparison.AMBIGUOUS
    assert said[-1] is Comparison.SLOWER


def test_claims_between_equals_stay_rare_with_many_candidates() -> None:
    """Ten equal candidates, 200 experiments: 5 % of the experiments may hold a claim, not 5 % of the pairs."""
    rng, wrong = np.random.default_rng(9), 0
    for trial in range(200):
        ratios = []
        for _ in range(10):
            logs = rng.normal(0, 0.1, 40)
            taken = np.stack([np.arange(40), MEDIAN_NS * np.ones(40)], axis=1)
            other = np.stack([np.arange(40), MEDIAN_NS * np.exp(logs)], axis=1)
            ratios.append(paired_ratio(taken, other, seed=trial))
        wrong += any(v in {Comparison.FASTER, Comparison.SLOWER} for v in verdicts(ratios, 0.0))
    assert wrong / 200 <= 0.10


def test_the_noise_floor_is_what_the_control_may_differ_by() -> None:
    assert paired(1.0, 0.001).floor == CLAIM_BEYOND
    assert paired(1.10, 0.05).floor == pytest.approx(0.155)
    assert paired(1 / 1.10, 0.05).floor == pytest.approx(0.155)


def test_steady_means_three_windows_that_agree() -> None:
    assert is_steady([9.0, 1.00, 1.04, 1.02])
    assert not is_steady([1.00, 1.04])
    assert not is_steady([1.00, 1.00, 1.06])


runs = st.lists(st.integers(1, 10**9), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(runs, st.integers(1, 12), st.sampled_from([0.5, 0.9, 0.99]), st.integers(2, 1000))
def test_percentile_invariants(ns: list[int], calls: int, p: float, factor: int) -> None:
    """A measured value, inside its interval, in the order of p; scaling the unit scales all; the seed decides alone."""
    taken = np.stack([np.arange(len(ns)) // calls, np.asarray(ns)], axis=1)
    interval = percentile(taken, p, resamples=200)
    assert interval.value in ns
    assert sum(x <= interval.value for x in ns) >= p * len(ns) - 1e-6
    assert percentile(taken, 0.5, resamples=200).value <= percentile(taken, 0.99, resamples=200).value
    assert percentile(taken, p, resamples=200) == interval
    if interval.low is not None and interval.high is not None:
        assert min(ns) <= interval.low <= interval.value <= interval.high
    scaled = percentile(taken * np.array([1, factor]), p, resamples=200)
    assert scaled.value == interval.value * factor


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1000, 10**6), min_size=10, max_size=60), st.floats(0.2, 5.0))
def test_ratio_invariants(ns: list[int], factor: float) -> None:
    """A candidate that is f times slower in every round is f times slower, exactly, and against itself it is 1."""
    taken = np.stack([np.arange(len(ns)) // 2, np.asarray(ns)], axis=1)
    itself = paired_ratio(taken, taken).interval
    assert itself.value == pytest.approx(1.0)
    scaled = taken.astype(np.float64) * np.array([1.0, factor])
    there, back = paired_ratio(taken, scaled).interval, paired_ratio(scaled, taken).interval
    assert there.value == pytest.approx(factor)
    assert there.value * back.value == pytest.approx(1.0)


def test_the_quantile_of_a_resample_is_that_of_the_samples_it_repeats() -> None:
    taken = autocorrelated(np.random.default_rng(2), (12, 5), rho=0.5)
    order = np.argsort(taken[:, 1])
    weights = statistics.draw_weights(12, 20, seed=1)
    found = statistics.resampled_quantiles(taken[order, 1].astype(np.float64), taken[order, 0], 0.9, weights)
    for row, value in zip(weights, found, strict=True):
        repeated = np.concatenate([np.tile(taken[taken[:, 0] == k, 1], times) for k, times in enumerate(row)])
        assert value == np.quantile(repeated, 0.9, method="inverted_cdf")
