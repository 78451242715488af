"""Functions of one number, composed so that nothing cancels: also near 0 the result keeps its digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from converters.rewrites.row import constant

_ERF_NEAR = (
    -0.0005631420644931495, 0.004917550832033157, -0.02671131119132042, 0.11280179768800735, -0.37612324953079224,
    1.1283791065216064,
)  # fmt: skip
"""erf(x) / x for |x| <= 1, a polynomial in x**2: 4e-8 off."""
_ERFC_FAR = (
    -1.0509121417999268, 2.340291738510132, -1.6276146173477173, -0.09494728595018387, 0.26056525111198425,
    0.5654987096786499, 0.5641571283340454,
)  # fmt: skip
"""erfc(x) * exp(x**2) / u for x >= 1, a polynomial in u = 1 / (1 + x): 9e-8 off."""


_LOG1P_NEAR = (0.2817833125591278, 0.27960604429244995, 0.40024909377098083, 0.6666631698608398, 2.0)
"""log((1 + s) / (1 - s)) / s for |s| <= 1 / 3, a polynomial in s**2: 4e-9 off."""


def log1p(_operation: Any, inputs: Sequence[Any]) -> Any:
    (x,) = inputs
    return _log1p(x)


def _log1p(x: Any) -> Any:
    """A polynomial in x / (2 + x) between -1/2 and 1, where 1 + x would lose digits of x; else the logarithm."""
    import tensorflow as tf

    s = x / (x + tf.constant(2, x.dtype))
    near = s * _polynomial(_LOG1P_NEAR, s * s)
    return tf.where(tf.less(tf.abs(s), tf.constant(1 / 3, x.dtype)), near, tf.math.log(x + tf.ones([], x.dtype)))


def softplus(_operation: Any, inputs: Sequence[Any]) -> Any:
    """max(x, 0) + log1p(exp(-|x|)): the exponential of a large number would overflow."""
    import tensorflow as tf

    (x,) = inputs
    e = tf.exp(-tf.abs(x))  # at most 1, so that the polynomial is right everywhere
    s = e / (e + tf.constant(2, x.dtype))
    return tf.nn.relu(x) + s * _polynomial(_LOG1P_NEAR, s * s)


def expm1(_operation: Any, inputs: Sequence[Any]) -> Any:
    """tanh(x / 2) * (exp(x) + 1), by the definition of tanh."""
    import tensorflow as tf

    (x,) = inputs
    return tf.tanh(x * tf.constant(0.5, x.dtype)) * (tf.exp(x) + tf.ones([], x.dtype))


def erf(_operation: Any, inputs: Sequence[Any]) -> Any:
    """A polynomial where |x| <= 1, else 1 - erfc(|x|) with the sign of x."""
    import tensorflow as tf

    (x,) = inputs
    size = tf.abs(x)
    far = tf.sign(x) * (tf.ones([], x.dtype) - _erfc_far(size))
    return tf.where(tf.greater(size, tf.ones([], x.dtype)), far, _erf_near(x))


def erfc(_operation: Any, inputs: Sequence[Any]) -> Any:
    """As erf, so that what is small far to the right keeps its digits."""
    import tensorflow as tf

    (x,) = inputs
    size, one = tf.abs(x), tf.ones([], x.dtype)
    far = _erfc_far(size)
    far = tf.where(tf.less(x, tf.zeros([], x.dtype)), tf.constant(2, x.dtype) - far, far)
    return tf.where(tf.greater(size, one), far, one - _erf_near(x))


def _erf_near(x: Any) -> Any:
    import tensorflow as tf

    near = tf.clip_by_value(x, -tf.ones([], x.dtype), tf.ones([], x.dtype))  # elsewhere it would overflow
    return near * _polynomial(_ERF_NEAR, near * near)


def _erfc_far(size: Any) -> Any:
    import tensorflow as tf

    one = tf.ones([], size.dtype)
    u = one / (one + size)
    return u * _polynomial(_ERFC_FAR, u) * tf.exp(-(size * size))


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    import tensorflow as tf

    total = tf.constant(coefficients[0], x.dtype)
    for coefficient in coefficients[1:]:
        total = total * x + tf.constant(coefficient, x.dtype)
    return total


def atan(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    (x,) = inputs
    return tf.atan2(x, tf.ones_like(x))


def have_other_shapes(operation: Any) -> bool:
    first, second = (tensor.shape.as_list() if tensor.shape.rank is not None else None for tensor in operation.inputs)
    return first is None or first != second


def atan2(_operation: Any, inputs: Sequence[Any]) -> Any:
    """Of numbers that were brought to one shape first."""
    import tensorflow as tf

    y, x = inputs
    return tf.atan2(y * tf.ones_like(x), x * tf.ones_like(y))


def is_wide(operation: Any) -> bool:
    """Whether a quotient has more axes than the converter gets right: it broadcasts them to a shape of no axes."""
    return operation.outputs[0].shape.rank not in (0, 1, 2, 3, 4)


def div_no_nan(_operation: Any, inputs: Sequence[Any]) -> Any:
    """The quotient, and 0 where the divisor is 0."""
    import tensorflow as tf

    x, y = inputs
    no_divisor = tf.equal(y, tf.zeros_like(y))
    quotient = x / tf.where(no_divisor, tf.ones_like(y), y)
    return tf.where(tf.logical_and(no_divisor, tf.ones_like(x, tf.bool)), tf.zeros_like(quotient), quotient)


def is_inf(_operation: Any, inputs: Sequence[Any]) -> Any:
    """Whether |x| is above the largest number: LiteRT's Equal does not find infinity equal to itself."""
    import tensorflow as tf

    (x,) = inputs
    return tf.greater(tf.abs(x), tf.constant(x.dtype.max, x.dtype))


def is_limited(operation: Any) -> bool:
    """Whether what 0 gives, which is infinity, is made use of: a minimum with a constant comes after it."""
    return _limit(operation) is not None


def _limit(operation: Any) -> float | None:
    users = operation.outputs[0].consumers()
    if len(users) != 1 or users[0].type != "Minimum":
        return None
    values = [value for k in (0, 1) if (value := constant(users[0], k)) is not None and value.size == 1]
    return values[0].item() if values else None


def rsqrt(operation: Any, inputs: Sequence[Any]) -> Any:
    """The limit for 0, for which XNNPACK's Rsqrt gives NaN: infinity itself would spoil an integer file's scales."""
    import tensorflow as tf

    (x,) = inputs
    return tf.where(tf.equal(x, tf.zeros([], x.dtype)), tf.constant(_limit(operation), x.dtype), tf.math.rsqrt(x))


def asin(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    (x,) = inputs
    return tf.atan2(x, _other_leg(x))


def acos(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    (x,) = inputs
    return tf.atan2(_other_leg(x), x)


def _other_leg(x: Any) -> Any:
    """sqrt(1 - x**2), without the loss of squaring near 1."""
    import tensorflow as tf

    one = tf.ones([], x.dtype)
    return tf.sqrt((one - x) * (one + x))


def tan(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    (x,) = inputs
    return tf.sin(x) / tf.cos(x)


def sinh(_operation: Any, inputs: Sequence[Any]) -> Any:
    """By the exponential of x / 2, as that of x overflows before sinh does; within -1 and 1 by what expm1 gives."""
    import tensorflow as tf

    (x,) = inputs
    size = tf.abs(x)
    half = tf.exp(size * tf.constant(0.5, x.dtype))
    far = (half * tf.constant(0.5, x.dtype)) * half - tf.constant(0.5, x.dtype) / (half * half)
    small = tf.minimum(size, tf.ones([], x.dtype))
    e = tf.tanh(small * tf.constant(0.5, x.dtype)) * (tf.exp(small) + tf.ones([], x.dtype))  # exp(small) - 1
    near = (e + e / (e + tf.ones([], x.dtype))) * tf.constant(0.5, x.dtype)
    return tf.sign(x) * tf.where(tf.greater(size, tf.ones([], x.dtype)), far, near)


def cosh(_operation: Any, inputs: Sequence[Any]) -> Any:
    import tensorflow as tf

    (x,) = inputs
    half = tf.exp(tf.abs(x) * tf.constant(0.5, x.dtype))
    return (half * tf.constant(0.5, x.dtype)) * half + tf.constant(0.5, x.dtype) / (half * half)


def asinh(_operation: Any, inputs: Sequence[Any]) -> Any:
    """log1p(|x| + x**2 / (1 + sqrt(1 + x**2))) with the sign of x; log(2 |x|) where the square would overflow."""
    import tensorflow as tf

    (x,) = inputs
    size, one = tf.abs(x), tf.ones([], x.dtype)
    large = tf.constant(1e9, x.dtype)
    near = tf.minimum(size, large)
    square = near * near
    small = _log1p(near + square / (one + tf.sqrt(one + square)))
    return tf.sign(x) * tf.where(tf.greater(size, large), tf.math.log(size) + math.log(2), small)


def acosh(_operation: Any, inputs: Sequence[Any]) -> Any:
    """log1p(t + sqrt(t * (t + 2))) with t = x - 1; log(2 x) where the product would overflow."""
    import tensorflow as tf

    (x,) = inputs
    large = tf.constant(1e9, x.dtype)
    t = tf.minimum(x, large) - tf.ones([], x.dtype)
    near = _log1p(t + tf.sqrt(t * (t + tf.constant(2, x.dtype))))
    return tf.where(tf.greater(x, large), tf.math.log(x) + math.log(2), near)


def atanh(_operation: Any, inputs: Sequence[Any]) -> Any:
    """log1p(2 x / (1 - x)) / 2 of |x|, with the sign of x."""
    import tensorflow as tf

    (x,) = inputs
    size = tf.abs(x)
    ratio = (size + size) / (tf.ones([], x.dtype) - size)
    return tf.sign(x) * tf.constant(0.5, x.dtype) * _log1p(ratio)
