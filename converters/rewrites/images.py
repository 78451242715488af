"""Resizes between known sizes, one matrix product for each axis; pools over three axes as two pools over two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.rewrites.row import constant, reshaped, sizes


def is_settled(operation: Any) -> bool:
    """Whether all that decides the weights is known: both sizes, and for a window its scale and where it lies."""
    known = all(size is not None for size in operation.inputs[0].shape.as_list()[1:])
    return known and all(constant(operation, k) is not None for k in range(1, len(operation.inputs)))


def resize(operation: Any, inputs: Sequence[Any]) -> Any:
    """Two matrix products; at a whole factor an area is what a pool averages."""
    import tensorflow as tf

    x = inputs[0]
    if x.dtype.is_integer:  # TensorFlow computes in float32, whatever it is given
        x = tf.cast(x, tf.float32)
    before, after = [int(n) for n in x.shape[1:3]], [int(n) for n in operation.outputs[0].shape[1:3]]
    if operation.type == "ResizeArea" and not operation.get_attr("align_corners"):
        factors = [b // a for b, a in zip(before, after, strict=True)]
        if [f * a for f, a in zip(factors, after, strict=True)] == before:
            return tf.nn.avg_pool2d(x, factors, factors, "VALID")
    rows, columns = (_weights(operation, axis) for axis in (0, 1))
    batch, height, width, channels = sizes(x)
    if rows is not None:
        x = tf.matmul(rows, reshaped(x, [batch, height, width * channels]))
        x = reshaped(x, [batch, after[0], width, channels])
    return x if columns is None else tf.matmul(columns, x)


def _weights(operation: Any, axis: int) -> Array | None:
    """The matrix (after, before) of one axis, as TensorFlow's own operation gives it; None where it changes nothing.

    A resize is linear, and one axis does not know of the other: its matrix is what becomes of the identity.
    """
    import tensorflow as tf

    before, after = int(operation.inputs[0].shape[1 + axis]), int(operation.outputs[0].shape[1 + axis])
    image = np.eye(before, dtype=np.float32).reshape(1, before, 1, before)
    if axis:
        image = image.transpose(0, 2, 1, 3)
    with tf.init_scope():
        resized = np.asarray(_resized(operation, image, axis, after))
    matrix = np.ascontiguousarray(resized.reshape(after, before))
    return None if before == after and np.array_equal(matrix, np.eye(before)) else matrix


def _resized(operation: Any, image: Array, axis: int, after: int) -> Any:
    """The identity, whose other axis has one pixel, through an operation of the same attributes."""
    import tensorflow as tf

    size = [after, 1] if axis == 0 else [1, after]
    if operation.type == "ResizeArea":
        return tf.raw_ops.ResizeArea(images=image, size=size, align_corners=operation.get_attr("align_corners"))
    if operation.type == "ResizeBicubic":
        return tf.raw_ops.ResizeBicubic(
            images=image,
            size=size,
            align_corners=operation.get_attr("align_corners"),
            half_pixel_centers=operation.get_attr("half_pixel_centers"),
        )
    scale, shift = np.ones(2, np.float32), np.zeros(2, np.float32)
    scale[axis] = np.asarray(constant(operation, 2))[axis]
    shift[axis] = np.asarray(constant(operation, 3))[axis]
    return tf.raw_ops.ScaleAndTranslate(
        images=image,
        size=size,
        scale=scale,
        translation=shift,
        kernel_type=operation.get_attr("kernel_type"),
        antialias=operation.get_attr("antialias"),
    )


def max_pool(operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    return _pooled(operation, inputs[0], tf.nn.max_pool2d)


def average_pool(operation: Any, inputs: Sequence[Any]) -> Any:
    """The mean of means of equal weight: padding is left out along each axis for itself."""
    import tensorflow as tf

    return _pooled(operation, inputs[0], tf.nn.avg_pool2d)


def _pooled(operation: Any, x: Any, pool: Callable[..., Any]) -> Any:
    import tensorflow as tf

    first = operation.get_attr("data_format") == b"NCDHW"
    axes = slice(2, 5) if first else slice(1, 4)
    windows, steps = (list(operation.get_attr(name))[axes] for name in ("ksize", "strides"))
    padding = operation.get_attr("padding").decode()
    if first:
        x = tf.transpose(x, (0, 2, 3, 4, 1))
    batch, depth, height, width, channels = sizes(x)
    x = pool(reshaped(x, [batch * depth, height, width, channels]), windows[1:], steps[1:], padding)
    _, height, width, _ = sizes(x)
    x = reshaped(x, [batch, depth, height * width, channels])
    x = pool(x, (windows[0], 1), (steps[0], 1), padding)
    x = reshaped(x, [batch, sizes(x)[1], height, width, channels])
    return tf.transpose(x, (0, 4, 1, 2, 3)) if first else x
