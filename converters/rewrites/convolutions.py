"""Convolutions of kinds that TFLite has no kernel for: transposed and dilated, dilated over three axes, infinite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.rewrites.row import constant, reshaped, sizes


def is_spread(operation: Any) -> bool:
    """Whether a transposed convolution is dilated, which then has no strides."""
    plain = all(step == 1 for step in operation.get_attr("strides")) and not operation.get_attr("explicit_paddings")
    return plain and any(gap != 1 for gap in operation.get_attr("dilations"))


def turned(operation: Any, inputs: Sequence[Any]) -> Any:
    """Without strides it is a convolution: of the kernel turned round, and of values with zeros around them."""
    import tensorflow as tf

    _, kernel, x = inputs
    first = operation.get_attr("data_format") == b"NCHW"
    axes = slice(2, 4) if first else slice(1, 3)
    if first:
        x = tf.transpose(x, (0, 2, 3, 1))
    gaps = list(operation.get_attr("dilations"))[axes]
    reaches = [gap * (int(size) - 1) for gap, size in zip(gaps, kernel.shape[:2], strict=True)]
    left_out = [reach // 2 if operation.get_attr("padding") == b"SAME" else 0 for reach in reaches]
    kept = 0 if operation.get_attr("padding") == b"SAME" else 1
    around = [(reach - left, reach * kept + left) for reach, left in zip(reaches, left_out, strict=True)]
    kernel = tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2))
    x = tf.nn.conv2d(tf.pad(x, [(0, 0), *around, (0, 0)]), kernel, 1, "VALID", dilations=gaps)
    return tf.transpose(x, (0, 3, 1, 2)) if first else x


def is_wide(operation: Any) -> bool:
    """Whether blocks are taken of more axes than TFLite's kernels know; how large has to be known."""
    known = all(constant(operation, k) is not None for k in (1, 2))
    return known and len(np.asarray(constant(operation, 1))) > 2


def space_to_batch(operation: Any, inputs: Sequence[Any]) -> Any:
    """Axis by axis, the last first: every so many-th value along it becomes a sample of its own."""
    import tensorflow as tf

    x, blocks = inputs[0], _numbers(operation, 1)
    pads = np.asarray(constant(operation, 2)).astype(int).tolist()
    x = tf.pad(x, [(0, 0), *pads, *[(0, 0)] * (x.shape.rank - 1 - len(pads))])
    for axis in range(len(blocks), 0, -1):
        block, shape = blocks[axis - 1], sizes(x)
        if block > 1:
            before, after = shape[1:axis], shape[axis + 1 :]
            apart = reshaped(x, [shape[0], _product(before), shape[axis] // block, block, _product(after)])
            apart = tf.transpose(apart, (3, 0, 1, 2, 4))
            x = reshaped(apart, [shape[0] * block, *before, shape[axis] // block, *after])
    return x


def batch_to_space(operation: Any, inputs: Sequence[Any]) -> Any:
    """The other way round, the first axis first."""
    import tensorflow as tf

    x, blocks = inputs[0], _numbers(operation, 1)
    crops = np.asarray(constant(operation, 2)).astype(int).tolist()
    for axis in range(1, len(blocks) + 1):
        block, shape = blocks[axis - 1], sizes(x)
        if block > 1:
            before, after = shape[1:axis], shape[axis + 1 :]
            apart = reshaped(x, [block, shape[0] // block, _product(before), shape[axis], _product(after)])
            apart = tf.transpose(apart, (1, 2, 3, 0, 4))
            x = reshaped(apart, [shape[0] // block, *before, shape[axis] * block, *after])
    return x[(slice(None), *(slice(first, -last or None) for first, last in crops))]


def is_of_another_rank(operation: Any) -> bool:
    """Whether a bias is added along the second axis of anything but an image."""
    return operation.get_attr("data_format") == b"NCHW" and operation.inputs[0].shape.rank not in (None, 2, 4)


def is_across_rows(operation: Any) -> bool:
    """Whether a bias is added along the rows of what a convolution gives. tf2onnx makes it the convolution's own."""
    x = operation.inputs[0]
    first = operation.get_attr("data_format") == b"NCHW" and x.shape.rank == 4
    return first and x.op.type in {"Conv2D", "Conv2DBackpropInput"} and x.op.get_attr("data_format") == b"NHWC"


def bias(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    x, values = inputs
    return x + tf.reshape(values, (-1, *[1] * (x.shape.rank - 2)))


def is_infinite(operation: Any) -> bool:
    factors = [constant(operation, k) for k in (0, 1)]
    return any(value is not None and value.dtype.kind == "f" and np.isinf(value).any() for value in factors)


def infinite_product(operation: Any, inputs: Sequence[Any]) -> Any:
    """Chosen by sign.

    A factor behind a convolution is put into its kernel, whose sums are NaN then; and TFLite's product ends at the
    largest number.
    """
    import tensorflow as tf

    place = next(k for k in (1, 0) if (value := constant(operation, k)) is not None and np.isinf(value).any())
    factor, x = np.asarray(constant(operation, place)), inputs[1 - place]
    chosen = tf.where(x > 0, factor, tf.where(x < 0, -factor, np.full_like(factor, np.nan)))
    finite = np.isfinite(factor)
    return tf.where(finite, x * np.where(finite, factor, 1), chosen) if finite.any() else chosen


def _numbers(operation: Any, index: int) -> list[int]:
    return [int(n) for n in np.asarray(constant(operation, index))]


def _product(parts: Sequence[Any]) -> Any:
    product: Any = 1
    for part in parts:
        product = product * part
    return product
