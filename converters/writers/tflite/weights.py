"""Finds a checkpoint's kernels inside a `.tflite` file: as they are, transposed, or scaled by a batch norm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

import numpy as np

from converters.arrays import Array
from converters.compat.tensorflow import SCHEMA

_TOLERANCE = 1e-5  # of a folded scale: one float32 multiplication for each element
_MOST_AXES = 5
_BLOCK = 1 << 16  # numbers that are compared at a time: what a core's own cache holds


def missing_kernels(content: bytes | bytearray, kernels: Mapping[str, Array]) -> list[str]:
    """The names of those kernels of which no constant of the file holds all numbers.

    Args:
        kernels: float arrays of rank 2 and more; others are passed over, and so is a single number, which may have
            become an operation's attribute.
    """
    constants = _constants(content)
    return [
        name
        for name, kernel in kernels.items()
        if kernel.dtype == np.float32
        and kernel.size > 1
        and not any(_holds(c, kernel) for c in constants.get(kernel.size, ()))
    ]


def float_constants(content: bytes | bytearray) -> Iterator[tuple[int, int, int, Array]]:
    """The file's float32 constants: (subgraph, tensor, buffer, values); those of a bytearray can be written to."""
    schema = SCHEMA.get()
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(index)
        for k in range(subgraph.TensorsLength()):
            tensor = subgraph.Tensors(k)
            buffer = model.Buffers(tensor.Buffer())
            if tensor.Type() == schema.TensorType.FLOAT32 and buffer.DataLength():
                shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
                yield index, k, tensor.Buffer(), buffer.DataAsNumpy().view(np.float32).reshape(shape)


def _constants(content: bytes | bytearray) -> dict[int, list[Array]]:
    """The file's float32 constants by their number of elements."""
    constants: dict[int, list[Array]] = {}
    for _, _, _, values in float_constants(content):
        constants.setdefault(values.size, []).append(values)
    return constants


def _holds(constant: Array, kernel: Array) -> bool:
    if _equal(constant.reshape(-1), kernel.reshape(-1)):
        return True
    if not constant.any() and kernel.any():
        return False  # zeros are any kernel times zero: whether they are meant has to be found otherwise
    stored = np.squeeze(constant)
    bare = np.squeeze(kernel)
    for axes in _arrangements(bare, stored):
        arranged = bare.transpose(axes).reshape(stored.shape)
        if _equal(arranged, stored) or _is_scaled(arranged, stored):
            return True
    return False


def _equal(kernel: Array, stored: Array) -> bool:
    """As `np.array_equal`, but most pairs differ in their first slice already."""
    return np.array_equal(kernel[:1], stored[:1]) and np.array_equal(kernel, stored)


def _arrangements(bare: Array, stored: Array) -> Iterator[tuple[int, ...]]:
    """The orders of the kernel's axes in which it has the stored shape, or has it once axes beside one another are
    one: an einsum makes a matrix of attention's heads and widths."""
    if stored.ndim <= bare.ndim <= _MOST_AXES:
        wanted = set(np.cumprod(stored.shape))
        for axes in permutations(range(bare.ndim)):
            if wanted <= set(np.cumprod([bare.shape[axis] for axis in axes])):
                yield axes


def _is_scaled(kernel: Array, stored: Array) -> bool:
    """True when, along some axis, every slice is the kernel's slice times one number."""
    for axis in (0, *range(kernel.ndim - 1, 0, -1)):
        slices, stored_slices = np.moveaxis(kernel, axis, 0), np.moveaxis(stored, axis, 0)
        step = max(1, _BLOCK * len(slices) // max(1, kernel.size))
        starts = range(0, len(slices), step)
        if all(_rows_are_scaled(slices[k : k + step], stored_slices[k : k + step]) for k in starts):
            return True
    return False


def _rows_are_scaled(slices: Array, stored_slices: Array) -> bool:
    rows = np.ascontiguousarray(slices).reshape(len(slices), -1)
    stored = np.ascontiguousarray(stored_slices).reshape(rows.shape)
    place = np.argmax(np.abs(rows), axis=1)[:, None]
    maxima = np.take_along_axis(rows, place, axis=1)
    scaled = np.take_along_axis(stored, place, axis=1)
    rows = rows * (scaled / np.where(maxima == 0, 1, maxima))
    np.subtract(rows, stored, out=rows)
    # the kernel's maximum is the stored slice's maximum too, where the slice is scaled
    return bool(np.all(np.abs(rows, out=rows) <= _TOLERANCE * np.maximum(np.abs(scaled), 1e-30)))
