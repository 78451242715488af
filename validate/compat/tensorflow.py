"""A private part of TensorFlow. Apart, for there is one file a library."""

from __future__ import annotations

from converters.compat.patch import Part

FREEZE = Part(
    "tensorflow.python.framework.convert_to_constants:convert_variables_to_constants_v2",
    "makes a SavedModel's variables constants, so that each of its tensors can be had",
    "2.21.0",
    "(func, lower_control_flow, aggressive_inlining)",
)
