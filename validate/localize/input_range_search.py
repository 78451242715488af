"""How far beyond its range an input must go for a wrong cap to show: a ReLU that became a ReLU6 shows nothing until the
values rise above 6."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from converters.checkpoints.ranges import Range
from converters.isolation import Message

CAP = 6.0
"""The highest cap that is put in by mistake, by converters or by hand: ReLU6's; hard sigmoids and hard swishes have
their breakpoints below."""

_FACTOR_STEP = 8.0
_MAX_FACTOR = _FACTOR_STEP**5


def below_cap(heights: Mapping[str, float]) -> list[str]:
    """Activations without a cap whose values stay where one would not show."""
    return [name for name, height in heights.items() if height <= CAP]


def widening(heights: Callable[[float], Mapping[str, float]]) -> float:
    """The smallest factor, of powers of eight, at which every activation without a cap rises above one.

    A factor more is tried while it helps one of those that are still below: what a sigmoid or a norm bounds stays below
    for good. Too far is where a value is no longer finite, or the factor 32 768.

    Args:
        heights: by activation, the maximum of its values at this factor.
    """
    factor, current = 1.0, heights(1.0)
    while factor < _MAX_FACTOR and (below := below_cap(current)):
        next_heights = heights(_FACTOR_STEP * factor)
        if not all(map(math.isfinite, next_heights.values())) or not any(
            next_heights[name] > 2 * current[name] for name in below
        ):
            break
        factor, current = _FACTOR_STEP * factor, next_heights
    return factor


def widened(ranges: Mapping[str, Range], factor: float) -> dict[str, Range]:
    return {name: replace(r, low=factor * r.low, high=factor * r.high) for name, r in ranges.items()}


@dataclass(frozen=True)
class Reach:
    """How far the inputs went, and how far they drove the activations."""

    ranges: Mapping[str, Range]
    heights: Mapping[str, float]

    @classmethod
    def of(cls, document: Message) -> Reach:
        ranges = {name: Range.from_json(limits) for name, limits in document["ranges"].items()}
        return cls(ranges, document["heights"])

    @property
    def inputs(self) -> str:
        return ", ".join(f"{name} from {r.low:g} to {r.high:g}" for name, r in self.ranges.items())

    def unshown(self) -> str | None:
        """A sentence on the activations where a wrong cap would not have shown; None where it would have in all."""
        below = below_cap(self.heights)
        if not below:
            return None
        highest = max(below, key=lambda name: self.heights[name])
        others = f" and {len(below) - 1} more" if len(below) > 1 else ""
        return (
            f"With {self.inputs}, {highest}{others} of {len(self.heights)} activations without a cap do not rise above "
            f"{CAP:g} ({highest} comes to {self.heights[highest]:.3g}): a cap put in there, as by ReLU6, cannot show."
        )
