"""How far beyond its range must an input go for a wrong cap to show? Where a ReLU became a ReLU6, nothing tells until
the values rise above 6."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from converters.checkpoints.ranges import Range
from converters.isolation import Message

CAP = 6.0
"""The greatest cap that converters and hands put in by mistake: ReLU6's; hard sigmoids and hard swishes bend below."""

_STEP = 8.0
_MOST = _STEP**5


def short(heights: Mapping[str, float]) -> list[str]:
    """Activations without a cap whose values stay where one would not show."""
    return [name for name, height in heights.items() if height <= CAP]


def widening(heights: Callable[[float], Mapping[str, float]]) -> float:
    """The least factor, of powers of eight, at which every activation without a cap rises above one.

    A factor more is tried while it helps one of those that are still below: what a sigmoid or a norm bounds stays below
    for good. Too far is where a value is no longer finite, or the factor 32 768.

    Args:
        heights: by activation, what its values rise to at this factor.
    """
    factor, now = 1.0, heights(1.0)
    while factor < _MOST and (below := short(now)):
        wider = heights(_STEP * factor)
        if not all(map(math.isfinite, wider.values())) or not any(wider[name] > 2 * now[name] for name in below):
            break
        factor, now = _STEP * factor, wider
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
        """Where a wrong cap would not have shown, in a sentence; None where it would have everywhere."""
        below = short(self.heights)
        if not below:
            return None
        highest = max(below, key=lambda name: self.heights[name])
        others = f" and {len(below) - 1} more" if len(below) > 1 else ""
        return (
            f"With {self.inputs}, {highest}{others} of {len(self.heights)} activations without a cap do not rise above "
            f"{CAP:g} ({highest} comes to {self.heights[highest]:.3g}): a cap put in there, as by ReLU6, cannot show."
        )
