"""Columns of an output that a file has lost. Apart from the checks that look at an output as a whole.

Boxes in 0 to 640 and scores in 0 to 1, joined into one int8 output, leave every score zero, and over the whole output
hardly anything is lost: one scale for all columns drowns those of small values.
"""

from __future__ import annotations

import numpy as np

from converters.arrays import Array
from validate.agreement.arrays import blocks, wide
from validate.agreement.judging.reference_values import Values

MOVES = 0.01
"""A column moves where its range is at least this share of its own maximum value: rounding may still a lesser one."""

_NAMED = 5


def lost_columns(values: Values) -> list[str]:
    """What to say of columns of the last axis that move in the reference and are constant in the file."""
    got, want = values.values, values.expected.values
    if want.ndim < 2 or want.shape[-1] < 2 or len(want) < 2:
        return []
    (low, high), (own_low, own_high) = _ranges(got), _ranges(want)
    moves = own_high - own_low > MOVES * np.maximum(np.abs(own_low), np.abs(own_high))
    lost = np.flatnonzero(moves & (low == high))
    if not lost.size:
        return []
    named = ", ".join(map(str, lost[:_NAMED])) + (", ..." if lost.size > _NAMED else "")
    return [
        f"{lost.size} of its {want.shape[-1]} columns move in the reference and are constant here (column {named}): "
        "one scale for all drowns the small ones; split the output by scale, or keep its last operation in float"
    ]


def _ranges(array: Array) -> tuple[Array, Array]:
    """Minimum and maximum of each column; what is not finite is left out."""
    columns = array.shape[-1]
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    for part in blocks(len(array), array):
        rows = wide(array[part]).reshape(-1, columns)
        finite = np.isfinite(rows)
        low = np.minimum(low, np.where(finite, rows, np.inf).min(axis=0, initial=np.inf))
        high = np.maximum(high, np.where(finite, rows, -np.inf).max(axis=0, initial=-np.inf))
    return low, high
