"""Matrix products and means whose terms are added one after the other, as many runtimes do. Worker side.

TensorFlow adds a batch's products in blocks, LiteRT's and ONNX Runtime's kernels add them in a row, whose rounding
error grows with the number of terms and not with its root. Both are honest float32 (Higham 2002, chapter 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from converters.arrays import Array
from validate.compat.tensorflow import BATCH_MAT_MUL, MAT_MUL, MEAN

_WORK = 1 << 28
"""Products that one call may add one by one; of more, neighbouring ones are added in blocks first."""


@contextmanager
def sequential_sums() -> Iterator[None]:
    """What is traced within the block adds the terms of float32 matrix products and means one after the other."""
    with ExitStack() as stack:
        for patch, make in ((MAT_MUL, _mat_mul), (BATCH_MAT_MUL, _batch_mat_mul), (MEAN, _mean)):
            stack.enter_context(patch.replaced(make))
        yield


def _mat_mul(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, **rest: Any) -> Any:
        plain = original(a, b, transpose_a=transpose_a, transpose_b=transpose_b, **rest)
        return _replaced(plain, lambda x, y: product(_turned(x, transpose_a), _turned(y, transpose_b)), a, b)

    return call


def _batch_mat_mul(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, y: Any, adj_x: bool = False, adj_y: bool = False, **rest: Any) -> Any:
        plain = original(x, y, adj_x=adj_x, adj_y=adj_y, **rest)
        return _replaced(plain, lambda a, b: product(_turned(a, adj_x), _turned(b, adj_y)), x, y)

    return call


def _mean(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(input: Any, axis: Any, keep_dims: bool = False, **rest: Any) -> Any:
        plain = original(input, axis, keep_dims=keep_dims, **rest)
        return _replaced(plain, lambda x, axes: mean(x, axes, keep_dims), input, axis)

    return call


def _replaced(plain: Any, function: Callable[[Array, Array], Array], *inputs: Any) -> Any:
    """What the function makes of the inputs, in the place of the plain operation's output."""
    import tensorflow as tf

    if plain.dtype != tf.float32:
        return plain
    value = tf.numpy_function(function, list(inputs), plain.dtype, stateful=False)
    value.set_shape(plain.shape)
    return value


def _turned(matrix: Array, turn: bool) -> Array:
    return matrix.swapaxes(-1, -2) if turn else matrix


def product(a: Array, b: Array) -> Array:
    """The matrix product (..., M, K) x (..., K, N), added from the first of the K terms to the last in float32."""
    terms = a.shape[-1]
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    total: Array = np.zeros(shape, np.float32)
    step = max(1, -(-terms * total.size // _WORK))
    for k in range(0, terms, step):
        part = slice(k, k + step)
        total += a[..., part] * b[..., part, :] if step == 1 else np.matmul(a[..., part], b[..., part, :])
    return total


def mean(values: Array, axes: Array, keep_dims: bool) -> Array:
    """The mean over the axes, added one after the other in float32."""
    chosen = tuple(int(axis) % values.ndim for axis in np.atleast_1d(axes))
    rest = tuple(k for k in range(values.ndim) if k not in chosen)
    rows = values.transpose(*chosen, *rest).reshape(-1, *(values.shape[k] for k in rest))
    total: Array = np.zeros(rows.shape[1:], np.float32)
    for row in rows:
        total = total + row
    result: Array = (total / np.float32(max(1, len(rows)))).astype(np.float32)
    return result.reshape([1 if k in chosen else n for k, n in enumerate(values.shape)]) if keep_dims else result
