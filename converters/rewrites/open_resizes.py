"""Resizes of images whose size is not known: the weights of both matrix products are computed in the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from converters.rewrites.images import is_settled
from converters.rewrites.row import reshaped, sizes

Weights = Callable[[Any, "_Axis"], Any]
"""An operation and an axis of its image -> the matrix (after, before) of that axis."""

_TABLE = 1024
"""TensorFlow rounds the place between two pixels to this part of their distance, then looks up cubic weights."""


def is_open(operation: Any) -> bool:
    """Whether a size is not known, and the weights are of a kind that is known here."""
    kernel = operation.get_attr("kernel_type") if operation.type == "ScaleAndTranslate" else b"keyscubic"
    centers = operation.type != "ResizeBicubic" or operation.get_attr("half_pixel_centers")
    return operation.inputs[0].shape.rank == 4 and not is_settled(operation) and kernel in _KERNELS and bool(centers)


def resize(operation: Any, inputs: Sequence[Any]) -> Any:
    """Two matrix products: one for the rows, one for the columns."""
    import tensorflow as tf

    x = tf.cast(inputs[0], tf.float32)  # in which TensorFlow computes, whatever it is given
    rows, columns = (_WEIGHTS[operation.type](operation, _Axis(operation, [x, *inputs[1:]], k)) for k in (0, 1))
    batch, height, width, channels = sizes(x)
    x = tf.matmul(rows, reshaped(x, [batch, height, width * channels]))
    x = reshaped(x, [batch, sizes(rows)[0], width, channels])
    return tf.matmul(columns, x)


class _Axis:
    """The height (0) or the width (1) of an image that is resized.

    Attributes:
        old, new: its sizes before and after, float32.
        before: the numbers of the old pixels.
        after: those of the new ones, as a column.
        scale, shift: how a window is scaled and moved; None where the operation has no window.
    """

    def __init__(self, operation: Any, inputs: Sequence[Any], axis: int) -> None:
        import tensorflow as tf

        known = operation.outputs[0].shape[1 + axis]
        before, after = sizes(inputs[0])[1 + axis], inputs[1][axis] if known is None else known
        self.old, self.new = tf.cast(before, tf.float32), tf.cast(after, tf.float32)
        self.before = tf.cast(tf.range(before), tf.float32)
        self.after = tf.cast(tf.range(after), tf.float32)[:, None]
        window = [tensor[axis] for tensor in inputs[2:]] or [None, None]
        self.scale: Any = window[0]
        self.shift: Any = window[1]

    def step(self, operation: Any) -> Any:
        """How far it is in the old image from one new pixel to the next."""
        import tensorflow as tf

        if operation.get_attr("align_corners"):
            return (self.old - 1.0) / tf.maximum(self.new - 1.0, 1.0)
        return self.old / self.new


def _of_window(operation: Any, axis: _Axis) -> Any:
    """A kernel around the place of each new pixel, wider where a smaller image is smoothed; nothing outside."""
    import tensorflow as tf

    step = 1.0 / axis.scale
    place = (axis.after + 0.5) * step - step * axis.shift
    width = tf.maximum(step, 1.0) if operation.get_attr("antialias") else tf.ones([])
    weights = _KERNELS[operation.get_attr("kernel_type")](tf.abs(axis.before + 0.5 - place) / width)
    total = tf.reduce_sum(weights, axis=1, keepdims=True)
    lies_inside = tf.logical_and(place >= 0.0, place <= axis.old)
    return tf.where(lies_inside, weights / tf.where(tf.equal(total, 0.0), 1.0, total), 0.0)


def _of_area(operation: Any, axis: _Axis) -> Any:
    """How much of each old pixel lies in each new one."""
    import tensorflow as tf

    step = axis.step(operation)
    begin = axis.after * step
    overlap = tf.minimum(begin + step, axis.before + 1.0) - tf.maximum(begin, axis.before)
    return tf.nn.relu(overlap) / step


def _of_cubic(operation: Any, axis: _Axis) -> Any:
    """Cubic weights from TensorFlow's table, of those pixels that there are."""
    import tensorflow as tf

    place = (axis.after + 0.5) * axis.step(operation) - 0.5
    place = tf.round(place * _TABLE) / _TABLE
    weights = _cubic(tf.abs(place - axis.before))
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def _cubic(x: Any) -> Any:
    import tensorflow as tf

    near = ((1.5 * x - 2.5) * x) * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))


def _lanczos(radius: float) -> Callable[[Any], Any]:
    def weights(x: Any) -> Any:
        import tensorflow as tf

        angle = math.pi * tf.clip_by_value(x, 1e-3, radius)
        values = radius * tf.sin(angle) * tf.sin(angle / radius) / (angle * angle)
        return tf.where(x > radius, 0.0, tf.where(x <= 1e-3, 1.0, values))

    return weights


def _triangle(x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.relu(1.0 - x)


_KERNELS: dict[bytes, Callable[[Any], Any]] = {
    b"lanczos1": _lanczos(1.0),
    b"lanczos3": _lanczos(3.0),
    b"lanczos5": _lanczos(5.0),
    b"triangle": _triangle,
    b"keyscubic": _cubic,
}
_WEIGHTS: dict[str, Weights] = {"ScaleAndTranslate": _of_window, "ResizeArea": _of_area, "ResizeBicubic": _of_cubic}
