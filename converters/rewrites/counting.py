"""Operations that count, and products of all that stands before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converters.rewrites.row import constant


def bucketize(operation: Any, inputs: Sequence[Any]) -> Any:
    """How many boundaries are not above x: all of them for NaN, which TensorFlow's search goes past."""
    import numpy as np
    import tensorflow as tf

    (x,) = inputs
    boundaries = np.asarray(operation.get_attr("boundaries"), np.float32)
    if x.dtype.is_integer:  # TensorFlow compares an integer as a float32
        x = tf.cast(x, tf.float32)
    bounds = tf.constant(boundaries, x.dtype)
    passed = tf.logical_not(tf.less(tf.expand_dims(x, -1), bounds))
    return tf.reduce_sum(tf.cast(passed, tf.int32), axis=-1)


def dense_bincount(operation: Any, inputs: Sequence[Any]) -> Any:
    """The sum over each row of a one-hot code; the maximum where only presence counts. What lies outside has none."""
    import tensorflow as tf

    x, size, weights = inputs
    output = operation.outputs[0]
    known = output.shape[-1] if output.shape.rank else None
    bins = tf.range(tf.cast(size, x.dtype) if known is None else known, dtype=x.dtype)
    codes = tf.equal(tf.expand_dims(x, -1), bins)
    if operation.get_attr("binary_output"):
        return tf.cast(tf.reduce_any(codes, axis=-2), output.dtype)
    counts = tf.cast(codes, output.dtype)
    if weights.shape.num_elements() != 0:
        counts = counts * tf.expand_dims(weights, -1)
    return tf.reduce_sum(counts, axis=-2)


def one_hot(operation: Any, inputs: Sequence[Any]) -> Any:
    """Nothing is hot for an index that does not exist; ONNX's operation counts a negative one from the end."""
    import tensorflow as tf

    indices, depth, on, off = inputs
    beyond = tf.cast(depth, indices.dtype)
    known = tf.where(tf.less(indices, tf.zeros([], indices.dtype)), beyond, indices)
    ends = (on, off) if on.dtype == tf.float32 else (tf.constant(1.0), tf.constant(0.0))  # tf2onnx takes no others
    axis = operation.get_attr("axis")
    code = tf.raw_ops.OneHot(indices=known, depth=depth, on_value=ends[0], off_value=ends[1], axis=axis)
    return code if on.dtype == tf.float32 else tf.where(tf.greater(code, 0.5), on, off)


def may_be_negative(operation: Any) -> bool:
    """Whether an index can be one that counts from the end, and the number of classes is one of its kind."""
    return operation.inputs[0].dtype.name in {"int32", "int64"}


def lower_bound(operation: Any, inputs: Sequence[Any]) -> Any:
    """How many of the sorted numbers lie below each value."""
    import tensorflow as tf

    return _passed(operation, inputs, tf.less)


def upper_bound(operation: Any, inputs: Sequence[Any]) -> Any:
    """How many of the sorted numbers do not lie above each value."""
    import tensorflow as tf

    return _passed(operation, inputs, tf.less_equal)


def _passed(operation: Any, inputs: Sequence[Any], is_passed: Any) -> Any:
    import tensorflow as tf

    numbers, values = inputs
    passed = is_passed(tf.expand_dims(numbers, 1), tf.expand_dims(values, 2))
    return tf.reduce_sum(tf.cast(passed, operation.outputs[0].dtype), axis=2)


def in_top_k(_operation: Any, inputs: Sequence[Any]) -> Any:
    """Whether fewer than k scores lie above the target's; never where a score is not finite, or there is no target."""
    import tensorflow as tf

    scores, targets, k = inputs
    classes = tf.range(scores.shape[-1] or tf.shape(scores)[-1], dtype=targets.dtype)
    chosen = tf.equal(tf.expand_dims(targets, 1), classes)
    score = tf.reduce_sum(tf.where(chosen, scores, tf.zeros_like(scores)), axis=1, keepdims=True)
    above = tf.reduce_sum(tf.cast(tf.greater(scores, score), k.dtype), axis=1)
    finite = tf.reduce_all(tf.less(tf.abs(scores), tf.constant(float("inf"), scores.dtype)), axis=1)
    return tf.logical_and(tf.less(above, k), tf.logical_and(finite, tf.reduce_any(chosen, axis=1)))


def is_scan_of_known_length(operation: Any) -> bool:
    axis = constant(operation, 1)
    shape = operation.inputs[0].shape
    return axis is not None and shape.rank is not None and shape[int(axis)] is not None


def is_scan(operation: Any) -> bool:
    """Whether it is known along which axis; how long that is need not be."""
    return constant(operation, 1) is not None and operation.inputs[0].shape.rank is not None


def cumprod(operation: Any, inputs: Sequence[Any]) -> Any:
    """Each step multiplies by what stands twice as far away as in the step before: products of all before it."""
    import numpy as np
    import tensorflow as tf

    x = inputs[0]
    axis = int(np.asarray(constant(operation, 1))) % x.shape.rank
    length, backwards = int(x.shape[axis]), operation.get_attr("reverse")
    before = [slice(None)] * axis

    def moved(x: Any, by: int) -> Any:
        kept = slice(by, None) if backwards else slice(None, length - by)
        ones = tf.ones_like(x[(*before, slice(0, by))])
        parts = [x[(*before, kept)], ones] if backwards else [ones, x[(*before, kept)]]
        return tf.concat(parts, axis)

    if operation.get_attr("exclusive"):
        x = moved(x, 1)
    for step in (2**k for k in range((length - 1).bit_length())):
        x = x * moved(x, step)
    return x


def cumprod_of_open_length(operation: Any, inputs: Sequence[Any]) -> Any:
    """The same for a length that is not known: by as many steps as the longest would take."""
    import numpy as np
    import tensorflow as tf

    x = inputs[0]
    axis = int(np.asarray(constant(operation, 1))) % x.shape.rank
    if operation.get_attr("reverse"):
        x = tf.reverse(x, [axis])
    length, before = tf.shape(x)[axis], [slice(None)] * axis

    def moved(x: Any, by: int) -> Any:
        left_out = tf.minimum(by, length)
        ones = tf.ones_like(x[(*before, slice(0, left_out))])
        return tf.concat([ones, x[(*before, slice(0, length - left_out))]], axis)

    if operation.get_attr("exclusive"):
        x = moved(x, 1)
    for step in (2**k for k in range(31)):
        x = x * moved(x, step)
    return tf.reverse(x, [axis]) if operation.get_attr("reverse") else x
