"""Inputs with a structure that random ones lack, each for the fault that it shows: built by rule, seeded.

These edge cases follow the drawn or given inputs: `STRUCTURED` of them within the range, then some that go beyond it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from converters.arrays import Array
from converters.checkpoints.ranges import Range
from validate.inputs.drawn import stream

Shape = tuple[int, ...]
Fill = Callable[[Shape, np.random.Generator], Array]
"""One sample of this shape with values from 0 (the range's lower end) to 1 (its upper end)."""

SATURATING = 4.0
"""How much wider than the range the last inputs are drawn: only there a wrong cap of an activation shows."""


def _constant(value: float) -> Fill:
    return lambda shape, _rng: np.full(shape, value)


def _impulse(*ends: int) -> Fill:
    """One bright element: 0 is an axis' begin and -1 its end; further axes are drawn. Padding and flips show."""

    def fill(shape: Shape, rng: np.random.Generator) -> Array:
        values = np.zeros(shape)
        fixed = ends[: max(0, len(shape) - 1)]  # a channel is never fixed
        values[(*fixed, *(int(rng.integers(size)) for size in shape[len(fixed) :]))] = 1.0
        return values

    return fill


def _channels(shape: Shape, rng: np.random.Generator) -> Array:
    """Every channel a constant of its own: channels that are exchanged show."""
    return np.broadcast_to(rng.random(shape[-1:]), shape)


def _gradient(axis: int) -> Fill:
    """From dark to bright along one axis: mirrored and transposed images show."""

    def fill(shape: Shape, _rng: np.random.Generator) -> Array:
        if not shape:
            return np.full(shape, 0.5)
        along = min(axis, len(shape) - 1)
        sizes = [1] * len(shape)
        sizes[along] = shape[along]
        return np.broadcast_to(np.linspace(0.0, 1.0, shape[along]).reshape(sizes), shape)

    return fill


def _checkerboard(shape: Shape, _rng: np.random.Generator) -> Array:
    """The highest frequency that a sample can hold: resizing and pooling with another phase show."""
    places = np.indices(shape).sum(axis=0) if len(shape) < 2 else np.indices(shape[:-1]).sum(axis=0)[..., None]
    return np.broadcast_to(places % 2, shape)


def _bytes(shape: Shape, rng: np.random.Generator) -> Array:
    """As a camera gives them, in 256 steps: a rounding where none belongs shows."""
    return rng.integers(0, 256, shape) / 255.0


FILLS: tuple[tuple[str, Fill], ...] = (
    ("low", _constant(0.0)), ("high", _constant(1.0)), ("impulse", _impulse(0, 0)), ("impulse", _impulse(-1, -1)),
    ("impulse", _impulse(0, -1)), ("impulse", _impulse()), ("channels", _channels), ("channels", _channels),
    ("gradient", _gradient(0)), ("gradient", _gradient(1)), ("checkerboard", _checkerboard), ("bytes", _bytes),
)  # fmt: skip
"""The structured inputs in their order: the name of a suite in a verdict, and one sample of it."""

STRUCTURED = len(FILLS)
MIN_SATURATING = 4


def edge_cases(
    arrays: Mapping[str, Array], ranges: Mapping[str, Range], seed: int, saturating: int
) -> dict[str, Array]:
    """The structured inputs, one for each of `FILLS`, and then `saturating` ones drawn from a wider range.

    Floating inputs are filled all at once; integers, booleans, ids held in floats and one-hot rows have no structure:
    theirs are picked from `arrays`, so that no case leaves what the model can take.

    Args:
        arrays, ranges: the inputs that these follow, and what they lie between.
    """
    result: dict[str, Array] = {}
    for name, array in arrays.items():
        rng = stream(seed, f"{name} structured")
        if array.dtype.kind != "f" or ranges[name].whole or _is_one_hot(array):
            result[name] = array[rng.integers(len(array), size=STRUCTURED + saturating)]
            continue
        limits, shape = ranges[name], array.shape[1:]
        fills = np.stack([np.asarray(fill(shape, rng), np.float64) for _, fill in FILLS])
        low, high = saturated(limits)
        saturating_values = low + (high - low) * rng.random((saturating, *shape))
        structured_values = limits.low + (limits.high - limits.low) * fills
        result[name] = np.concatenate([structured_values, saturating_values]).astype(array.dtype)
    return result


def _is_one_hot(array: Array) -> bool:
    """Whether every row of the last axis is zero but for a single one."""
    if array.ndim < 2 or array.shape[-1] < 2:
        return False
    return bool(np.isin(array, (0, 1)).all() and (array.sum(axis=-1) == 1).all())


def saturated(limits: Range) -> tuple[float, float]:
    """The wider range."""
    return SATURATING * limits.low, SATURATING * limits.high


def suites(saturating: int) -> dict[str, int]:
    """By suite, how many samples: for the record."""
    return {**Counter(name for name, _ in FILLS), "saturating": saturating}
