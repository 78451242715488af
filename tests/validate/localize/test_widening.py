"""How far inputs go beyond their range, and what is said of where they did not come."""

from __future__ import annotations

import math
from collections.abc import Mapping

from converters.checkpoints.ranges import Range
from validate.localize.input_range_search import Reach, widening


def test_inputs_go_as_far_as_the_last_activation_needs() -> None:
    assert widening(lambda factor: {"a": 2.0 * factor, "b": 0.2 * factor}) == 64.0
    assert widening(lambda _factor: {}) == 1.0


def test_what_a_sigmoid_bounds_is_not_waited_for() -> None:
    assert widening(lambda factor: {"a": 2.0 * factor, "bounded": 1.0}) == 8.0


def test_values_that_are_no_longer_finite_are_too_far() -> None:
    def heights(factor: float) -> Mapping[str, float]:
        return {"a": 0.01 * factor, "exp": math.inf if factor > 8 else 1.0}

    assert widening(heights) == 8.0


def test_what_would_not_have_shown_is_said() -> None:
    ranges = {"image": Range(0.0, 255.0, "told")}
    assert Reach(ranges, {"a": 7.0}).unshown() is None
    said = Reach(ranges, {"a": 7.0, "b": 1.5, "c": 0.5}).unshown()
    assert said is not None
    assert "image from 0 to 255" in said
    assert "b and 1 more of 3" in said
