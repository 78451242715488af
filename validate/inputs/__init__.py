"""Inputs to judge and time models on: seeded ones by rule, or the user's own arrays and images."""

from converters.checkpoints.ranges import Range
from converters.user_arrays import UNKNOWN_SIZE
from validate.inputs.drawn import InputOptions, Inputs, generate
from validate.inputs.given import LABELS, read
from validate.inputs.structured import LEAST_SATURATING, STRUCTURED, beside, saturated, suites

__all__ = [
    "LABELS",
    "LEAST_SATURATING",
    "STRUCTURED",
    "UNKNOWN_SIZE",
    "InputOptions",
    "Inputs",
    "Range",
    "beside",
    "generate",
    "read",
    "saturated",
    "suites",
]
