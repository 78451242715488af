"""The user's own inputs: arrays and images."""

from __future__ import annotations

from pathlib import Path

from converters.checkpoints.ranges import Range
from converters.signature import Signature
from converters.user_arrays import LABELS, read_given
from validate.inputs.drawn import Inputs

__all__ = ["LABELS", "read"]


def read(path: Path, signature: Signature) -> Inputs:
    """The user's inputs and their ranges; see `converters.user_arrays.read_given` for files and errors."""
    given = read_given(path, signature)
    ranges = {
        name: Range(float(array.min()), float(array.max()), f"given in {path.name}")
        for name, array in given.arrays.items()
    }
    return Inputs(given.arrays, ranges, given.labels, given.notes)
