"""A scale of a drawing and the round values that it is marked with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LOG_SPAN = 25.0


@dataclass(frozen=True)
class Axis:
    """Maps values to 0..1, from zero; logarithmic where the values span more than a factor of 25."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float]) -> Axis:
        positive = [value for value in values if value > 0] or [1.0]
        low, high = min(positive), max(positive)
        if high / low > _LOG_SPAN:
            return cls(low / 1.3, high * 1.3, True)
        return cls(0.0, high * 1.06, False)

    @classmethod
    def between(cls, values: Sequence[float]) -> Axis:
        """Linear, from below the minimum to above the maximum, for values without a natural zero such as decibels."""
        low, high = min(values), max(values)
        edge = max((high - low) * 0.12, abs(high) * 0.02, 1e-9)
        return cls(low - edge, high + edge, False)

    def share(self, value: float) -> float:
        """Where the value lies, 0..1; what is beyond the axis lies at its end."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self, count: int = 4) -> list[float]:
        """Round values inside the axis, about `count` of them."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            few = len(decades) < 5
            marks = [m * 10.0**d for d in decades for m in ((1, 2, 5) if len(decades) < 3 else (1, 3) if few else (1,))]
            return [mark for mark in marks if self.low <= mark <= self.high]
        raw = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * k for k in range(first, last + 1)]
