"""Inputs to judge and time models on: seeded ones by rule, or the user's own arrays and images."""

from validate.inputs.drawn import UNKNOWN_SIZE, InputOptions, Inputs, Range, generate
from validate.inputs.given import LABELS, read

__all__ = ["LABELS", "UNKNOWN_SIZE", "InputOptions", "Inputs", "Range", "generate", "read"]
