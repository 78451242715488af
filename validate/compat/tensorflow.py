"""Private parts of TensorFlow. Apart, for there is one file a library."""

from __future__ import annotations

from converters.compat.patch import Part, Patch

MADE_FOR = "2.21.0"

FREEZE = Part(
    "tensorflow.python.framework.convert_to_constants:convert_variables_to_constants_v2",
    "makes a SavedModel's variables constants, so that each of its tensors can be had",
    MADE_FOR,
    "(func, lower_control_flow, aggressive_inlining)",
)

_SUMMED = "a reference is traced with the sums of this operation added one after the other"
_PLAIN = "the float32 noise of a reference leaves sums out that are added one after the other"
MAT_MUL = Patch(
    "tensorflow.python.ops.gen_math_ops:mat_mul",
    _SUMMED,
    MADE_FOR,
    "(a, b, transpose_a=False, transpose_b=False, grad_a=False, grad_b=False, name=None)",
    otherwise=_PLAIN,
)
BATCH_MAT_MUL = Patch(
    "tensorflow.python.ops.gen_math_ops:batch_mat_mul_v2",
    _SUMMED,
    MADE_FOR,
    "(x, y, adj_x=False, adj_y=False, grad_x=False, grad_y=False, name=None)",
    otherwise=_PLAIN,
)
MEAN = Patch(
    "tensorflow.python.ops.gen_math_ops:mean",
    _SUMMED,
    MADE_FOR,
    "(input, axis, keep_dims=False, name=None)",
    otherwise=_PLAIN,
)
