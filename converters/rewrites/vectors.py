"""Operations on matrices, shapes and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.rewrites.row import constant, reshaped, sizes


def is_one_diagonal(operation: Any) -> bool:
    """Whether one known diagonal is taken of matrices of known sizes."""
    diagonal, shape = constant(operation, 1), operation.inputs[0].shape
    one = diagonal is not None and np.unique(diagonal).size == 1
    return one and shape.rank is not None and None not in shape.as_list()[-2:]


def matrix_diag_part(operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    x = inputs[0]
    offset = int(np.unique(np.asarray(constant(operation, 1)))[0])
    *outer, rows, columns = sizes(x)
    start = offset if offset >= 0 else -offset * columns
    count = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    places = np.array([start + k * (columns + 1) for k in range(count)], np.int32)
    return tf.gather(reshaped(x, [*outer, rows * columns]), tf.constant(places), axis=-1)


def cross(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    (a1, a2, a3), (b1, b2, b3) = ([x[..., k] for k in range(3)] for x in inputs)
    return tf.stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], axis=-1)


def have_known_ranks(operation: Any) -> bool:
    return all(tensor.shape.rank == 1 and tensor.shape[0] is not None for tensor in operation.inputs)


def broadcast_shape(_operation: Any, inputs: Sequence[Any]) -> Any:
    """The longer of two sizes, axis by axis from the last; an axis of 1 takes the other, which may be 0."""
    import tensorflow as tf

    rank = max(shape.shape[0] for shape in inputs)
    one = tf.ones([], inputs[0].dtype)
    first, second = (tf.concat([tf.ones([rank - s.shape[0]], s.dtype), s], 0) for s in inputs)
    return tf.where(tf.equal(first, one), second, first)


def dynamic_update_slice(_operation: Any, inputs: Sequence[Any]) -> Any:
    """The new part padded to the whole, chosen where a mask of ones, padded likewise, is not 0."""
    import tensorflow as tf

    whole, part, start = inputs
    room = tf.constant(sizes(whole), start.dtype) if whole.shape.is_fully_defined() else tf.shape(whole, start.dtype)
    size = tf.constant(sizes(part), start.dtype) if part.shape.is_fully_defined() else tf.shape(part, start.dtype)
    first = tf.minimum(
        tf.maximum(start, tf.zeros([], start.dtype)), room - size
    )  # a part that would stick out is moved
    edges = tf.stack([first, room - size - first], axis=1)
    mask = tf.pad(tf.ones_like(part, dtype=tf.int32), edges)
    return tf.where(tf.equal(mask, 1), tf.pad(part, edges), whole)


def rgb_to_hsv(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    (x,) = inputs
    red, green, blue = (x[..., k] for k in range(3))
    value = tf.maximum(tf.maximum(red, green), blue)
    spread = value - tf.minimum(tf.minimum(red, green), blue)
    zero, one = tf.zeros_like(value), tf.ones_like(value)
    coloured, bright = tf.greater(spread, 0), tf.greater(value, 0)
    saturation = tf.where(bright, spread / tf.where(bright, value, one), zero)
    sixth = one / (tf.constant(6, x.dtype) * tf.where(coloured, spread, one))
    third = tf.constant(1 / 3, x.dtype)
    of_green, of_blue = sixth * (blue - red) + third, sixth * (red - green) + third + third
    hue = tf.where(tf.equal(red, value), sixth * (green - blue), tf.where(tf.equal(green, value), of_green, of_blue))
    hue = tf.where(coloured, hue, zero)
    return tf.stack([tf.where(tf.less(hue, zero), hue + one, hue), saturation, value], axis=-1)


def hsv_to_rgb(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    (x,) = inputs
    hue, saturation, value = (x[..., k] for k in range(3))
    zero, one = tf.zeros([], x.dtype), tf.ones([], x.dtype)
    turned = hue * tf.constant(6, x.dtype)
    red = tf.abs(turned - tf.constant(3, x.dtype)) - one
    green = tf.constant(2, x.dtype) - tf.abs(turned - tf.constant(2, x.dtype))
    blue = tf.constant(2, x.dtype) - tf.abs(turned - tf.constant(4, x.dtype))
    shares = (tf.minimum(tf.maximum(share, zero), one) for share in (red, green, blue))
    return tf.stack([(one - saturation + saturation * share) * value for share in shares], axis=-1)


def is_outer_product(operation: Any) -> bool:
    """Each of one tensor with each of another, of which two sizes are unknown."""
    if len(operation.inputs) != 2 or any(tensor.shape.rank is None for tensor in operation.inputs):
        return False
    taken, _, given = operation.get_attr("equation").decode().partition("->")
    first, _, second = taken.partition(",")
    unknown = sum(tensor.shape.as_list().count(None) for tensor in operation.inputs)
    return given == first + second and len(set(given)) == len(given) and given.isalpha() and unknown > 1


def outer_product(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    x, y = inputs
    for _ in range(y.shape.rank):
        x = tf.expand_dims(x, -1)
    return x * y


def widens(operation: Any) -> bool:
    """Whether numbers, one in a row, are multiplied or divided by a vector."""
    return _vector(operation) is not None


def with_row(operation: Any, inputs: Sequence[Any]) -> Any:
    """With a row for the vector, which TFLite's converter mistakes for one that is as wide as the numbers."""
    factors = list(inputs)
    place = _vector(operation)
    assert place is not None
    factors[place] = factors[place][None]
    return factors[0] * factors[1] if operation.type == "Mul" else factors[0] / factors[1]


def _vector(operation: Any) -> int | None:
    """Which input is a vector that the other, of several axes, is widened to."""
    for place in (1, 0):
        vector, x = operation.inputs[place].shape, operation.inputs[1 - place].shape
        if vector.rank == 1 and vector[0] != 1 and x.rank is not None and x.rank > 1 and x[-1] == 1:
            return place
    return None


def is_of_one(operation: Any) -> bool:
    """Whether the product of matrices sums one product each, which TFLite's converter makes one with a vector."""
    x, weights = operation.inputs
    return x.shape.rank is not None and x.shape[-1] == 1 and weights.shape.rank == 2 and not operation.get_attr("adj_x")


def of_one(operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    x, weights = inputs
    return x * (tf.transpose(weights) if operation.get_attr("adj_y") else weights)
