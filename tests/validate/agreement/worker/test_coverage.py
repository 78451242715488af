"""A bend that no input crossed is unexercised."""

from __future__ import annotations

import pytest

from validate.agreement.worker.activation_coverage import Extremes, Watch

RELU, RELU6_IN = Watch("relu", None, (0.0,), False), Watch("relu6", None, (0.0, 6.0), False)
RELU6_OUT = Watch("dense", None, (0.0, 6.0), True)


@pytest.mark.parametrize(
    ("watch", "low", "high", "idle"),
    [
        (RELU, -1, 1, False),
        (RELU, 0.5, 1, True),
        (RELU, -2, -1, True),
        (RELU6_IN, -1, 5, True),
        (RELU6_IN, -1, 7, False),
        (RELU6_OUT, 0, 6, False),
        (RELU6_OUT, 0, 5, True),
        (RELU6_OUT, 1, 6, True),
    ],
)
def test_both_sides_of_every_bend_count(watch: Watch, low: float, high: float, idle: bool) -> None:
    assert watch.unexercised(low, high) is idle


def test_extremes_gather_over_batches() -> None:
    extremes = Extremes([RELU, RELU6_IN])
    extremes.take([1.0, -1.0], [2.0, 5.0])
    assert extremes.unexercised() == ["relu", "relu6"]
    extremes.take([-1.0, 0.0], [2.0, 6.5])
    assert extremes.unexercised() == []
    assert extremes.ranges["relu"] == (-1.0, 2.0)
