"""What a row of the table of rewrites is, and what compositions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.formats import Format

Compose = Callable[[Any, Sequence[Any]], Any]
"""A TensorFlow operation and what the row takes, which are tensors of the graph being traced -> what it computes."""

BOTH = (Format.TFLITE, Format.ONNX)
TFLITE = (Format.TFLITE,)
ONNX = (Format.ONNX,)


def _always(_operation: Any) -> bool:
    return True


def _itself(operation: Any) -> list[Any]:
    return [operation]


@dataclass(frozen=True)
class Rewrite:
    """An operation that a format lacks, and what stands for it.

    Attributes:
        operation: its type in TensorFlow; it has one output.
        lacking: the formats that lack it.
        compose: computes the same by operations that these formats have.
        becomes: what that is, in words for a reader of the documentation.
        error: how far it may part from TensorFlow's operation.
        applies: whether the row holds for an operation of that type.
        takes: the operations whose inputs the composition takes in its place: itself, or what stands before it.
    """

    operation: str
    lacking: tuple[Format, ...]
    compose: Compose
    becomes: str
    error: str = "none"
    applies: Callable[[Any], bool] = _always
    takes: Callable[[Any], Sequence[Any]] = _itself


def constant(operation: Any, index: int) -> Array | None:
    """The value of an operation's input where it does not depend on what the model is fed."""
    value = _known(operation.inputs[index])
    return None if value is None or (value.dtype.kind == "f" and np.isnan(value).any()) else value


def _known(tensor: Any) -> Array | None:
    """A tensor's value, with NaN for each size that is not known; None where it is fed or computed otherwise.

    TensorFlow's own look for constants stops at a shape of which the batch is not known, even if only others are read.
    """
    import tensorflow as tf

    value = tf.get_static_value(tensor)
    if value is not None:
        return np.asarray(value)
    source = tensor.op
    if source.type == "Shape" and source.inputs[0].shape.rank is not None:
        return np.array([np.nan if size is None else size for size in source.inputs[0].shape.as_list()])
    parts = [_known(t) for t in source.inputs] if source.type in _EVALUATED else [None]
    return None if any(part is None for part in parts) else _EVALUATED[source.type](source, *parts)


def _part(source: Any, value: Array, begin: Array, end: Array, step: Array) -> Array | None:
    masks = {name: source.get_attr(f"{name}_mask") for name in ("begin", "end", "shrink_axis", "new_axis", "ellipsis")}
    if value.ndim != 1 or masks["new_axis"] or masks["ellipsis"]:
        return None
    if masks["shrink_axis"]:
        return np.asarray(value[int(begin[0])])
    return value[None if masks["begin"] else int(begin[0]) : None if masks["end"] else int(end[0]) : int(step[0])]


_EVALUATED: dict[str, Callable[..., Array | None]] = {
    "StridedSlice": _part,
    "Cast": lambda source, x: x if np.isnan(x).any() else x.astype(source.outputs[0].dtype.as_numpy_dtype),
    "RealDiv": lambda _, x, y: x / y,
}


def sizes(x: Any) -> list[Any]:
    """The lengths of a tensor's axes: numbers where they are known, else scalars of the graph."""
    import tensorflow as tf

    known: list[Any] = x.shape.as_list()
    if None not in known:
        return known
    dynamic = tf.shape(x)
    return [dynamic[k] if size is None else size for k, size in enumerate(known)]


def reshaped(x: Any, shape: Sequence[Any]) -> Any:
    """The tensor in another shape; one size that is not known is written as -1, which costs no arithmetic of shapes."""
    import tensorflow as tf

    unknown = [size for size in shape if tf.is_tensor(size)]
    if len(unknown) == 1:
        shape = [-1 if tf.is_tensor(size) else size for size in shape]
    return tf.reshape(x, shape)
