"""Slices and rolls, composed of slices along one axis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converters.rewrites.row import constant, reshaped, sizes

_MOST_AXES = 5  # that TFLite's strided slice takes


def is_known_roll(operation: Any) -> bool:
    return all(constant(operation, k) is not None for k in (1, 2)) and operation.inputs[0].shape.rank is not None


def roll(operation: Any, inputs: Sequence[Any]) -> Any:
    """What leaves at one end comes in at the other: a concatenation of two slices for each axis."""
    import tensorflow as tf

    x = inputs[0]
    shifts, axes = (np.atleast_1d(np.asarray(constant(operation, k))) for k in (1, 2))
    for shift, axis in zip(shifts.tolist(), axes.tolist(), strict=True):
        axis %= x.shape.rank
        size = sizes(x)[axis]
        cut = size - tf.math.floormod(tf.constant(shift), size) if tf.is_tensor(size) else -shift % size
        if not tf.is_tensor(cut) and cut == 0:
            continue
        whole = [slice(None)] * axis
        x = tf.concat([x[(*whole, slice(cut, None))], x[(*whole, slice(None, cut))]], axis)
    return x


def is_wide_slice(operation: Any) -> bool:
    """A strided slice of more axes than TFLite's, along known places."""
    rank = operation.inputs[0].shape.rank
    known = all(constant(operation, k) is not None for k in (1, 2, 3))
    return known and rank is not None and max(rank, operation.outputs[0].shape.rank or 0) > _MOST_AXES


def strided_slice(operation: Any, inputs: Sequence[Any]) -> Any:
    """One axis after the other, with all before it and all behind it as one; then new axes and those that go."""
    x, axis = inputs[0], 0
    kept: list[int | None] = []
    for part in _index(operation):
        if part is None:
            kept.append(None)
            continue
        if isinstance(part, int):
            x = _sliced(x, axis, slice(part, part + 1 or None))
        else:
            x = x if part == slice(None) else _sliced(x, axis, part)
            kept.append(axis)
        axis += 1
    lengths = sizes(x)
    return reshaped(x, [1 if k is None else lengths[k] for k in kept])


def is_longer(operation: Any) -> bool:
    """A strided slice whose new axes make it longer than the tensor has axes, two of which have unknown sizes.

    TensorFlow's converter would make a Reshape of it, which holds one unknown size.
    """
    shape = operation.inputs[0].shape
    if shape.rank is None or any(constant(operation, k) is None for k in (1, 2, 3)):
        return False
    longer = operation.inputs[1].shape.num_elements() > shape.rank or operation.get_attr("ellipsis_mask")
    return bool(longer and operation.get_attr("new_axis_mask")) and shape.as_list().count(None) > 1


def has_ellipsis(operation: Any) -> bool:
    """A slice along known places with an ellipsis beside new axes or steps, whose axes tf2onnx miscounts."""
    if operation.inputs[0].shape.rank is None or any(constant(operation, k) is None for k in (1, 2, 3)):
        return False
    more = operation.get_attr("new_axis_mask") or (np.asarray(constant(operation, 3)) != 1).any()
    return bool(operation.get_attr("ellipsis_mask") and more)


def with_new_axes(operation: Any, inputs: Sequence[Any]) -> Any:
    """The slice without its new axes, then one ExpandDims for each."""
    import tensorflow as tf

    x, index = inputs[0], _index(operation)
    parts = [part for part in index if part is not None]
    if any(part != slice(None) for part in parts):
        x = x[tuple(parts)]
    kept = [part for part in index if not isinstance(part, int)]
    for axis in (axis for axis, part in enumerate(kept) if part is None):
        x = tf.expand_dims(x, axis)
    return x


def _index(operation: Any) -> list[int | slice | None]:
    """The slice as an index of Python: one entry an axis, and None for each new one."""
    import numpy as np

    begins, ends, steps = (np.asarray(constant(operation, k)).tolist() for k in (1, 2, 3))
    mask = {
        name: operation.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    rank = operation.inputs[0].shape.rank
    index: list[int | slice | None] = []
    taken = sum(not (mask["new_axis"] | mask["ellipsis"]) >> k & 1 for k in range(len(begins)))
    for k, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        if mask["ellipsis"] >> k & 1:
            index += [slice(None)] * (rank - taken)
        elif mask["new_axis"] >> k & 1:
            index.append(None)
        elif mask["shrink_axis"] >> k & 1:
            index.append(begin)
        else:
            start = None if mask["begin"] >> k & 1 else begin
            stop = None if mask["end"] >> k & 1 else end
            index.append(slice(start, stop, None if step == 1 else step))
    named = sum(part is not None for part in index)
    return index + [slice(None)] * (rank - named)


def _sliced(x: Any, axis: int, part: slice) -> Any:
    return _along(x, axis, lambda flat: flat[:, part])


def _along(x: Any, axis: int, change: Callable[[Any], Any]) -> Any:
    """What changes one axis, of a tensor of three: all axes before it and all behind it are put together meanwhile."""
    lengths = sizes(x)
    before, after = (functools.reduce(lambda a, b: a * b, side, 1) for side in (lengths[:axis], lengths[axis + 1 :]))
    x = change(reshaped(x, [before, lengths[axis], after]))
    return reshaped(x, [*lengths[:axis], sizes(x)[1], *lengths[axis + 1 :]])


def is_wide_pad(operation: Any) -> bool:
    rank = operation.inputs[0].shape.rank
    return constant(operation, 1) is not None and rank is not None and rank > _MOST_AXES


def pad(operation: Any, inputs: Sequence[Any]) -> Any:
    """One axis after the other."""
    import tensorflow as tf

    x = inputs[0]
    value = inputs[2] if len(inputs) > 2 else tf.zeros([], x.dtype)

    def padded(flat: Any, edges: list[int]) -> Any:
        return tf.pad(flat, [[0, 0], edges, [0, 0]], constant_values=value)

    for axis, edges in enumerate(np.asarray(constant(operation, 1)).tolist()):
        if any(edges):
            x = _along(x, axis, functools.partial(padded, edges=edges))
    return x


def is_wide_product(operation: Any) -> bool:
    """A product of matrices with more axes before them than TFLite takes, the same in both."""
    first, second = (tensor.shape.as_list() if tensor.shape.rank else [] for tensor in operation.inputs)
    return len(first) > _MOST_AXES and first[:-2] == second[:-2] and first[:-2].count(None) <= 1


def product(operation: Any, inputs: Sequence[Any]) -> Any:
    """All axes before the matrices as one."""
    import tensorflow as tf

    adjoint = {f"adjoint_{name}": operation.get_attr(f"adj_{which}") for name, which in (("a", "x"), ("b", "y"))}
    flat = (reshaped(x, [-1, *sizes(x)[-2:]]) for x in inputs)
    result = tf.matmul(*flat, **adjoint)
    return reshaped(result, [*sizes(inputs[0])[:-2], *sizes(result)[-2:]])
