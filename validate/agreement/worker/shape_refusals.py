"""A file of fixed sizes must refuse other ones: what it makes of them is nothing that anybody judged. Worker side."""

from __future__ import annotations

import numpy as np

from validate.runtimes.base import Array, Arrays, Runtime


def shapes_accepted(runtime: Runtime, few: Arrays) -> dict[str, list[int]]:
    """By input, a shape that the file takes though it states another: one more along a dimension that it fixes.

    Nothing is told of runtimes that cannot be asked (files with integer ends).
    """
    found: dict[str, list[int]] = {}
    for spec in runtime.signature.inputs:
        for axis in [k for k, size in enumerate(spec.shape) if isinstance(size, int) and size > 0]:
            longer = _longer(few[spec.name], axis)
            if runtime.refuses({**few, spec.name: longer}) is False:
                found[spec.name] = list(longer.shape)
    return found


def _longer(array: Array, axis: int) -> Array:
    """One more along the axis, the last repeated."""
    longer: Array = np.concatenate([array, np.take(array, [-1], axis=axis)], axis=axis)
    return longer
