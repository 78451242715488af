"""Operations on bits composed of arithmetic, and divisions of integers that round down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.rewrites.row import constant

_SIGN = np.iinfo(np.int32).min


def _is_sign(operation: Any, index: int) -> bool:
    value = constant(operation, index)
    return value is not None and operation.inputs[index].dtype.name == "int32" and bool(np.all(value == _SIGN))


def gives_only_signs(operation: Any) -> bool:
    """Whether a float32 is read as bits of which everybody takes the sign alone."""
    users = operation.outputs[0].consumers()
    dtypes = (operation.inputs[0].dtype.name, operation.outputs[0].dtype.name)
    signs = all(u.type == "BitwiseAnd" and any(_is_sign(u, k) for k in (0, 1)) for u in users)
    return dtypes == ("float32", "int32") and bool(users) and signs


def sign_bit(_operation: Any, inputs: Sequence[Any]) -> Any:
    """The sign bit of a float32, the other bits 0: a negative zero is known by its reciprocal."""
    import tensorflow as tf

    (x,) = inputs
    negative = tf.logical_or(tf.less(x, 0.0), tf.less(1.0 / x, 0.0))
    return tf.where(negative, tf.constant(_SIGN, tf.int32), tf.constant(0, tf.int32))


def bitwise_and(operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    first, second = inputs
    for index, x in ((0, second), (1, first)):
        if _is_sign(operation, index):  # with a look at the sign alone there is no need of the other bits
            return tf.where(tf.less(x, 0), tf.constant(_SIGN, tf.int32), tf.constant(0, tf.int32))
    return _of_bits(_bits(first) * _bits(second), first.dtype)


def bitwise_or(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    first, second = inputs
    return _of_bits(tf.maximum(_bits(first), _bits(second)), first.dtype)


def bitwise_xor(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    first, second = inputs
    return _of_bits(tf.abs(_bits(first) - _bits(second)), first.dtype)


def invert(_operation: Any, inputs: Sequence[Any]) -> Any:
    """-1 - x, which is what two's complement means."""
    import tensorflow as tf

    (x,) = inputs
    top = -1 if x.dtype.min < 0 else x.dtype.max
    return tf.constant(top, x.dtype) - x


def left_shift(_operation: Any, inputs: Sequence[Any]) -> Any:
    """A product with a power of two; the highest one is negative, as products wrap around."""
    import tensorflow as tf

    x, count = inputs
    width = 8 * x.dtype.size
    powers = np.array([2**k for k in range(width)], np.uint64).astype(x.dtype.as_numpy_dtype)
    return x * tf.gather(tf.constant(powers), count)


def is_integer_that_litert_lacks(operation: Any) -> bool:
    """LiteRT's Sign and Abs are of float32 and int32."""
    dtype = operation.inputs[0].dtype
    return bool(dtype.is_integer) and dtype.min < 0 and dtype.name != "int32"


def sign(_operation: Any, inputs: Sequence[Any]) -> Any:
    """A number between -1 and 1, in 64 bits, as LiteRT's minimum of few bits is that of quantized numbers."""
    import tensorflow as tf

    x = tf.cast(inputs[0], tf.int64)
    return tf.cast(tf.maximum(tf.minimum(x, tf.ones([], x.dtype)), -tf.ones([], x.dtype)), inputs[0].dtype)


def absolute(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    x = tf.cast(inputs[0], tf.int64)
    return tf.cast(tf.maximum(x, -x), inputs[0].dtype)


def is_whole_word(operation: Any) -> bool:
    """Whether the operation's numbers are of a width that TFLite multiplies."""
    return operation.outputs[0].dtype.name in {"int32", "int64"}


def is_narrow(operation: Any) -> bool:
    """Whether 64 bits hold the operation's numbers and their sign: not where they have 64 themselves."""
    size: int = operation.outputs[0].dtype.size
    return size < 8


def _bits(x: Any) -> Any:
    """Bits of a number along a new last axis, the lowest first, as 0 and 1. A negative one counts from the top."""
    import tensorflow as tf

    width = 8 * x.dtype.size
    powers = np.array([2**k for k in range(width)], np.int64)
    x = tf.cast(x, tf.int64)
    x = tf.where(tf.less(x, 0), x + tf.constant(2**width, tf.int64), x)
    rest = tf.math.floormod(tf.expand_dims(x, -1), tf.constant(2 * powers))
    return tf.cast(tf.greater_equal(rest, tf.constant(powers)), tf.int64)


def _of_bits(bits: Any, dtype: Any) -> Any:
    import tensorflow as tf

    width = 8 * dtype.size
    weights = [2**k for k in range(width)]
    if dtype.min < 0:
        weights[-1] = -weights[-1]
    return tf.cast(tf.reduce_sum(bits * tf.constant(weights, tf.int64), axis=-1), dtype)


def has_signs(operation: Any) -> bool:
    dtype = operation.outputs[0].dtype
    return bool(dtype.is_integer) and dtype.min < 0


def floor_div(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    x, y = inputs
    quotient = tf.truncatediv(x, y)
    return quotient - tf.cast(_crosses_zero(x - quotient * y, y), x.dtype)


def floor_mod(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    x, y = inputs
    rest = x - tf.truncatediv(x, y) * y
    return rest + tf.cast(_crosses_zero(rest, y), x.dtype) * y


def _crosses_zero(rest: Any, y: Any) -> Any:
    """Whether what is left has another sign than the divisor, so that the quotient has to be one less."""
    import tensorflow as tf

    return tf.less(tf.sign(rest) * tf.sign(y), tf.zeros([], y.dtype))
