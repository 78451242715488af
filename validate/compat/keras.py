"""Parts of Keras that are private, or that edgeport replaces while it records and rounds a reference."""

from __future__ import annotations

from typing import Any

from converters.compat.patch import Part, Patch

MADE_FOR = "3.15.1"

GROUPED_CONV = Patch(
    "keras.src.backend.tensorflow.nn:conv",
    "grouped convolutions of float64 tensors are computed by kernels that TensorFlow has, without XLA",
    MADE_FOR,
    "(inputs, kernel, strides=1, padding='valid', data_format=None, dilation_rate=1)",
    mentions=("_conv_xla",),
    otherwise="the float64 oracle computes grouped convolutions by XLA, which takes longer",
)
OPERATION_CALL = Patch(
    "keras:Operation.__call__",
    "what each operation is given and gives is recorded, or rounded, while a function is traced",
    MADE_FOR,
    "(self, *args, **kwargs)",
)
FLATTEN_LAYERS = Part(
    "keras:Layer._flatten_layers", "all layers that a model is made of", MADE_FOR, "(self, include_self, recursive)"
)

HISTORY = Part(
    "keras.src.ops.node:Node.__init__",
    "a symbolic tensor's `_keras_history` names the operation that gives it",
    MADE_FOR,
    mentions=("_keras_history", "KerasHistory"),
)


def all_layers(model: Any, *, include_self: bool = True) -> list[Any]:
    """The layers that a model is made of, nested ones opened. Raises MisfitError."""
    return list(FLATTEN_LAYERS.get()(model, include_self))


def operation_of(tensor: Any) -> Any:
    """The operation that gives a symbolic tensor. Raises MisfitError."""
    HISTORY.required()
    return tensor._keras_history.operation
