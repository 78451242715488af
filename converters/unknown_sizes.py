"""What Keras computes eagerly, where every size is there, and cannot put into a graph where one is not known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

Pool = Callable[..., Any]


def cut(original: Callable[..., Any]) -> Callable[..., Any]:
    """`split` at indices, of an axis whose size is not known: slices instead of sizes that need the whole."""

    def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
        is_counted = isinstance(indices_or_sections, int)
        if is_counted or not hasattr(x, "shape") or x.shape[axis] is not None:
            return original(x, indices_or_sections, axis)
        before = (slice(None),) * (axis % len(x.shape))
        bounds = [0, *(int(index) for index in indices_or_sections), None]
        return [x[(*before, slice(*pair))] for pair in itertools.pairwise(bounds)]

    return split


def averaged(original: Pool) -> Pool:
    """An adaptive average pool; the original where that can be traced."""
    import tensorflow as tf

    return _windowed(original, tf.reduce_mean)


def maximal(original: Pool) -> Pool:
    """An adaptive max pool; the original where that can be traced."""
    import tensorflow as tf

    return _windowed(original, tf.reduce_max)


def _windowed(original: Pool, reduce: Callable[..., Any]) -> Pool:
    """Reduces window by window, an axis after the other: how many windows there are is always known, and few.

    A single window is as large as its axis, and Keras looks at one that is larger by one too: its graph fails there.
    """
    from keras.config import image_data_format

    def pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
        first = 2 if (data_format or image_data_format()) == "channels_first" else 1
        axes = range(first, first + len(inputs.shape) - 2)
        counts = [output_size] * len(axes) if isinstance(output_size, int) else list(output_size)
        if None not in [inputs.shape[axis] for axis in axes] and 1 not in counts:
            return original(inputs, output_size, data_format)
        for axis, count in zip(axes, counts, strict=True):
            inputs = _along(inputs, axis, count, reduce)
        return inputs

    return pool


def _along(x: Any, axis: int, count: int, reduce: Callable[..., Any]) -> Any:
    """Window k of `count` over n values begins at floor(k n / count) and ends before ceil((k + 1) n / count)."""
    import tensorflow as tf

    if count == 1:
        return reduce(x, axis=axis, keepdims=True)
    size = tf.shape(x)[axis]
    before = (slice(None),) * axis
    windows = []
    for k in range(count):
        window = slice(k * size // count, ((k + 1) * size + count - 1) // count)
        windows.append(reduce(x[(*before, window)], axis=axis, keepdims=True))
    return tf.concat(windows, axis)
