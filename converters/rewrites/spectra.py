"""Fourier transforms as products with matrices of cosines and sines, which need no complex numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.rewrites.row import constant

_AXES = {"FFT": (-1,), "IFFT": (-1,), "FFT2D": (-1, -2), "IFFT2D": (-1, -2)}
"""The transforms of complex numbers, and the axes that they go along."""


def is_part(operation: Any) -> bool:
    """Whether a part is taken of a transform of real numbers, or of complex ones that are put together before it."""
    transform = operation.inputs[0].op
    if transform.type == "RFFT":
        return _has_known_lengths(transform)
    if transform.type not in _AXES or transform.inputs[0].op.type != "Complex":
        return False
    return transform.outputs[0].dtype.name == "complex64" and bool(transform.inputs[0].shape.rank)


def is_part_that_litert_lacks(operation: Any) -> bool:
    """The same but for a transform of real numbers of a power of two, which LiteRT has."""
    if not is_part(operation):
        return False
    transform = operation.inputs[0].op
    return transform.type != "RFFT" or _length(transform) & (_length(transform) - 1) != 0


def is_inverse_of_parts(operation: Any) -> bool:
    return operation.inputs[0].op.type == "Complex" and _has_known_lengths(operation)


def _has_known_lengths(transform: Any) -> bool:
    shape = transform.inputs[0].shape
    single = {transform.inputs[0].dtype.name, transform.outputs[0].dtype.name} == {"float32", "complex64"}
    return single and bool(shape.rank) and shape[-1] is not None and constant(transform, 1) is not None


def _length(transform: Any) -> int:
    return int(np.asarray(constant(transform, 1)).item())


def of_transform(operation: Any) -> list[Any]:
    """The transform of which a part is taken, or what puts complex numbers together for it."""
    transform = operation.inputs[0].op
    return [transform if transform.type == "RFFT" else transform.inputs[0].op]


def of_parts(operation: Any) -> list[Any]:
    """What puts complex numbers together for a transform."""
    return [operation.inputs[0].op]


def part(operation: Any, inputs: Sequence[Any]) -> Any:
    """Cosines for the real part, sines for the imaginary one, both for the absolute value."""
    transform = operation.inputs[0].op
    if transform.type == "RFFT":
        return _part_of_real(operation.type, inputs[0], _length(transform))
    first, second = inputs
    *before, last = _AXES[transform.type]
    for axis in before:
        cosines, sines = _waves(first, axis, transform.type)
        real = _along(first, cosines, axis) + _along(second, sines, axis)
        first, second = real, _along(second, cosines, axis) - _along(first, sines, axis)
    cosines, sines = _waves(first, last, transform.type)
    return _part(
        operation.type,
        lambda: _along(first, cosines, last) + _along(second, sines, last),
        lambda: _along(second, cosines, last) - _along(first, sines, last),
    )


def _waves(x: Any, axis: int, transform: str) -> tuple[Any, Any]:
    """The cosines and the sines of a transform along an axis: computed in the graph where its length is not known."""
    import tensorflow as tf

    length = x.shape[axis]
    if length is not None:
        angles = _angles(length, length, length)
        cosines, sines = np.cos(angles), np.sin(angles)
    else:
        places = tf.range(tf.shape(x)[axis])
        length = tf.cast(tf.size(places), x.dtype)
        turns = tf.cast(tf.math.floormod(places[:, None] * places, tf.size(places)), x.dtype)
        angles = turns * (2 * np.pi / length)
        cosines, sines = tf.cos(angles), tf.sin(angles)
    if transform.startswith("I"):
        cosines, sines = cosines / length, -sines / length
    return (cosines, sines) if tf.is_tensor(cosines) else (_matrix(cosines), _matrix(sines))


def _along(x: Any, matrix: Any, axis: int) -> Any:
    import tensorflow as tf

    return _product(x, matrix) if axis == -1 else tf.matmul(matrix, x)


def _part_of_real(kind: str, x: Any, length: int) -> Any:
    angles = _angles(min(length, int(x.shape[-1])), length // 2 + 1, length)
    x = x[..., : angles.shape[0]]
    return _part(kind, lambda: _product(x, np.cos(angles)), lambda: _product(x, -np.sin(angles)))


def _part(kind: str, real: Callable[[], Any], imaginary: Callable[[], Any]) -> Any:
    import tensorflow as tf

    if kind == "ComplexAbs":
        return tf.sqrt(tf.square(real()) + tf.square(imaginary()))
    return real() if kind == "Real" else imaginary()


def inverse_of_parts(operation: Any, inputs: Sequence[Any]) -> Any:
    """Every frequency but the first and, of an even length, the last stands for its mirror image too."""
    real, imaginary = inputs
    length = _length(operation)
    count = min(length // 2 + 1, int(real.shape[-1]))
    angles = _angles(count, length, length)
    weights = np.array([1 if 2 * k in (0, length) else 2 for k in range(count)])[:, None] / length
    cosines, sines = np.cos(angles) * weights, -np.sin(angles) * weights
    return _product(real[..., :count], cosines) + _product(imaginary[..., :count], sines)


def _angles(rows: int, columns: int, length: int) -> Array:
    """2 pi times row times column over the length; multiples of the whole turn are left out, so that none is large."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % length
    return np.asarray(turns * (2 * np.pi / length))


def _matrix(values: Array) -> Array:
    return np.where(np.abs(values) < 1e-12, 0, values).astype(np.float32)  # sines of half turns


def _product(x: Any, matrix: Any) -> Any:
    import tensorflow as tf

    matrix = matrix if tf.is_tensor(matrix) else tf.constant(_matrix(matrix))
    return tf.squeeze(tf.matmul(x[None], matrix), 0) if x.shape.rank == 1 else tf.matmul(x, matrix)
