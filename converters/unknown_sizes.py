"""What Keras computes eagerly, where every size is there, and cannot put into a graph where one is not known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

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


def framed(original: Callable[..., Any]) -> Callable[..., Any]:
    """`stft`, whose number of frames TensorFlow does not say where the batch is not known; a length says it."""
    import tensorflow as tf

    def stft(
        x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann", center: bool = True
    ) -> Any:
        parts = original(x, sequence_length, sequence_stride, fft_length, window, center)
        *before, length = x.shape
        if length is None or before.count(None) > 1 or parts[0].shape[-2] is not None:
            return parts
        around = 2 * (fft_length // 2) if center else 0
        frames = 1 + (length + around - fft_length) // sequence_stride
        shape = [*(-1 if size is None else size for size in before), frames, fft_length // 2 + 1]
        return tuple(tf.reshape(part, shape) for part in parts)

    return stft


def uncropped(original: Callable[..., Any]) -> Callable[..., Any]:
    """Where a RandomCrop would begin, in training only: it wants the image's size for it."""

    def get_random_transformation(self: Any, data: Any, training: bool = True, seed: Any = None) -> Any:
        return original(self, data, training=training, seed=seed) if training else (0, 0)

    return get_random_transformation


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

    A single window, or one of a single value, is as large as its axis, and Keras looks at one that is larger by one
    too: its graph fails there.
    """
    from keras.config import image_data_format

    def pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
        first = 2 if (data_format or image_data_format()) == "channels_first" else 1
        axes = range(first, first + len(inputs.shape) - 2)
        counts = [output_size] * len(axes) if isinstance(output_size, int) else list(output_size)
        lengths = [inputs.shape[axis] for axis in axes]
        if None not in lengths and 1 not in {*counts, *lengths}:
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


def lean_tensordot(original: Callable[..., Any]) -> Callable[..., Any]:
    """One product of matrices between reshapes to numbers and -1.

    TensorFlow's own computes its shapes in the graph where a batch is not known, and converters lose all sizes there.
    """
    import tensorflow as tf

    def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
        summed = _summed(x1, x2, axes) if all(isinstance(x, tf.Tensor) for x in (x1, x2)) else None
        if summed is None or x1.dtype != x2.dtype or not x1.dtype.is_floating:
            return original(x1, x2, axes)
        kept = [[a for a in range(len(x.shape)) if a not in along] for x, along in zip((x1, x2), summed, strict=True)]
        sizes = [x.shape[a] for x, axes_kept in zip((x1, x2), kept, strict=True) for a in axes_kept]
        inner = math.prod(x2.shape[a] for a in summed[1])
        if sizes.count(None) != 1 or None in x2.shape or None in [x1.shape[a] for a in summed[0]]:
            return original(x1, x2, axes)
        rows = tf.reshape(tf.transpose(x1, kept[0] + summed[0]), [-1, inner])
        columns = tf.reshape(tf.transpose(x2, summed[1] + kept[1]), [inner, -1])
        return tf.reshape(rows @ columns, [-1 if size is None else size for size in sizes])

    return tensordot


def _summed(x1: Any, x2: Any, axes: Any) -> tuple[list[int], list[int]] | None:
    """The axes of both that the products are summed along; None where each has one, as a number."""
    ranks = len(x1.shape), len(x2.shape)
    if isinstance(axes, int):
        return list(range(ranks[0] - axes, ranks[0])), list(range(axes))
    if any(isinstance(along, int) for along in axes):
        return None
    return [a % ranks[0] for a in axes[0]], [a % ranks[1] for a in axes[1]]


def settled_quantile(original: Callable[..., Any]) -> Callable[..., Any]:
    """A quantile whose places among the sorted values are numbers.

    Keras computes them in float64 from the shape of the tensor, of which it keeps nothing where one size is not known,
    even along other axes. They are computed here as it computes them.
    """
    import tensorflow as tf

    def quantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
        fractions, shape = tf.get_static_value(q), x.shape.as_list()
        axes = [] if axis is None else [a % len(shape) for a in axis]
        if not axes or fractions is None or None not in shape or None in [shape[a] for a in axes]:
            return original(x, q, axis=axis, method=method, keepdims=keepdims)
        y = _ordered(x, axes)
        places = (int(y.shape[-1]) - 1) * np.asarray(fractions, np.float64)
        values = _at(y, places, method)
        spoilt = tf.reduce_any(tf.math.is_nan(y), axis=-1)
        for _ in range(places.ndim):
            spoilt = tf.expand_dims(spoilt, -1)
        values = tf.where(spoilt, tf.constant(math.nan, values.dtype), values)
        for kept in sorted(axes) if keepdims else ():
            values = tf.expand_dims(values, kept)
        order = list(range(len(values.shape)))  # the axes of the fractions come first
        first = len(order) - places.ndim
        return tf.transpose(values, order[first:] + order[:first]) if places.ndim else values

    return quantile


def _ordered(x: Any, axes: Sequence[int]) -> Any:
    """The values sorted along one last axis, which has all that is taken together."""
    import tensorflow as tf

    others = [a for a in range(len(x.shape)) if a not in axes]
    y = tf.transpose(x, [*others, *axes])
    if len(axes) > 1:
        known, dynamic = [x.shape[a] for a in others], tf.shape(y)
        single = known.count(None) == 1
        kept = [(-1 if single else dynamic[k]) if size is None else size for k, size in enumerate(known)]
        y = tf.reshape(y, [*kept, math.prod(x.shape[a] for a in axes)])
    return tf.sort(y, axis=-1)


def _at(y: Any, places: Any, method: str) -> Any:
    """What lies at these places between the values along the last axis, by Keras' method of that name."""
    import tensorflow as tf

    def values(numbers: Any) -> Any:
        return tf.gather(y, np.clip(numbers, 0, y.shape[-1] - 1).astype(np.int32), axis=-1)

    if method == "midpoint":
        return 0.5 * (values(np.floor(places)) + values(np.ceil(places)))
    if method != "linear":
        rounded: dict[str, Callable[[Any], Any]] = {"lower": np.floor, "higher": np.ceil, "nearest": np.round}
        return values(rounded[method](places))
    smaller = np.maximum(np.clip(np.ceil(places), 0, y.shape[-1] - 1) - 1, 0)
    larger = np.minimum(smaller + 1, y.shape[-1] - 1)
    share = tf.constant(larger - places, y.dtype)
    return values(larger) * (1 - share) + values(smaller) * share
