"""Inputs to judge and time models on: seeded ones by rule, or the user's own arrays and images."""

from pathlib import Path
from types import MappingProxyType

from converters.checkpoints.ranges import Range
from converters.shapes import Shapes
from converters.signature import Signature
from converters.user_arrays import LABELS, read_user_arrays
from validate.inputs.drawn import InputOptions, Inputs, generate, untold
from validate.inputs.sizes import run_shapes, shapes_that_run
from validate.inputs.structured import MIN_SATURATING, STRUCTURED, edge_cases, saturated, suites
from validate.inputs.texts import texts_that_run

__all__ = [
    "LABELS",
    "MIN_SATURATING",
    "STRUCTURED",
    "InputOptions",
    "Inputs",
    "Range",
    "edge_cases",
    "generate",
    "read",
    "run_shapes",
    "saturated",
    "shapes_that_run",
    "suites",
    "texts_that_run",
    "untold",
]


__all__ = ["LABELS", "read"]


def read(path: Path, signature: Signature, shapes: Shapes = MappingProxyType({})) -> Inputs:
    """The user's inputs and their ranges; see `converters.user_arrays.read_user_arrays` for files and errors."""
    user_arrays = read_user_arrays(path, signature, shapes=shapes)
    ranges = {
        name: Range(float(array.min()), float(array.max()), f"given in {path.name}", origin="data")
        for name, array in user_arrays.arrays.items()
        if array.dtype.kind != "S"
    }
    texts = {name: f"given in {path.name}" for name in user_arrays.arrays if name not in ranges}
    return Inputs(user_arrays.arrays, ranges, user_arrays.labels, user_arrays.notes, texts)
