"""`repeat` in Keras' backend while a model is traced, apart from its other patches: upsampling is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any


def lean_repeat(original: Callable[..., Any]) -> Callable[..., Any]:
    """Repeats by a number without shape arithmetic: tiled in a known shape, or gathered where several sizes are open.

    TensorFlow reshapes to sizes that it reads off the values. TFLite's converter cannot follow that where the batch is
    open: it takes a size for unknown, and a convolution behind it for one that it has no operation for.
    """
    import tensorflow as tf

    def repeat(x: Any, repeats: Any, axis: Any = None) -> Any:
        if not (isinstance(x, tf.Tensor) and type(repeats) is type(axis) is int and x.shape.rank):
            return original(x, repeats, axis)
        sizes = [-1 if size is None else int(size) for size in x.shape]
        axis %= len(sizes)
        if repeats < 1 or 0 in sizes:
            return original(x, repeats, axis)
        if sizes.count(-1) > 1:
            length = tf.shape(x)[axis] if sizes[axis] < 0 else sizes[axis]
            return tf.gather(x, tf.range(length * repeats) // repeats, axis=axis)
        before, length, after = sizes[:axis], sizes[axis], sizes[axis + 1 :]
        tiled = tf.tile(tf.reshape(x, (_product(before), length, 1, _product(after))), (1, 1, repeats, 1))
        return tf.reshape(tiled, (*before, length if length < 0 else length * repeats, *after))

    return repeat


def _product(sizes: Sequence[int]) -> int:
    return -1 if -1 in sizes else math.prod(sizes)
