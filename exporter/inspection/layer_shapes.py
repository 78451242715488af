"""The output shape of the layers that models commonly end in, from their settings alone."""

from __future__ import annotations

import math
from typing import Any

Dims = tuple[int | None, ...]

_SAME_SHAPE = frozenset({
    "Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dropout", "ELU", "GaussianDropout",
    "GaussianNoise", "GroupNormalization", "Identity", "LayerNormalization", "LeakyReLU", "Normalization", "PReLU",
    "ReLU", "Rescaling", "RMSNormalization", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "UnitNormalization",
})  # fmt: skip
_MERGES = frozenset({"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"})


def as_dims(value: Any) -> Dims | None:
    """A list of integers and nulls as a shape; None for anything else (a nested list: several tensors)."""
    if isinstance(value, list | tuple) and value and all(d is None or (type(d) is int and d >= 0) for d in value):
        return tuple(value)
    return None


def output_shape(class_name: str, settings: dict[str, Any], shapes: list[Dims]) -> Dims | None:
    """The shape that a layer makes of `shapes` (channels last); None where this module cannot tell."""
    first = shapes[0]
    if settings.get("data_format") == "channels_first":
        return None
    if class_name in _SAME_SHAPE or (class_name in _MERGES and len(set(shapes)) == 1):
        return first
    if class_name == "Dense":
        return (*first[:-1], settings["units"])
    if class_name == "Flatten":
        dims = first[1:]
        return (first[0], None if None in dims else math.prod(d for d in dims if d is not None))
    if class_name.startswith(("GlobalAveragePooling", "GlobalMaxPooling")):
        return None if settings.get("keepdims") else (first[0], first[-1])
    if class_name == "Reshape":
        target = as_dims(settings["target_shape"])  # -1 is not a size, so such a target is not told
        return None if target is None else (first[0], *target)
    if class_name == "Concatenate":
        return _concatenated(shapes, settings.get("axis", -1))
    if class_name in ("Conv1D", "Conv2D", "Conv3D"):
        return _convolved(first, settings)
    return None


def _concatenated(shapes: list[Dims], axis: int) -> Dims:
    sizes = [shape[axis] for shape in shapes]
    merged = list(shapes[0])
    merged[axis] = None if None in sizes else sum(size for size in sizes if size is not None)
    return tuple(merged)


def _convolved(shape: Dims, settings: dict[str, Any]) -> Dims | None:
    """Sizes behind a convolution: ceil(n / s) with `same` padding, ceil((n - d(k - 1)) / s) with `valid`."""
    padding = settings["padding"]
    if padding not in ("same", "valid"):
        return None
    sizes: list[int | None] = []
    windows = zip(shape[1:-1], settings["kernel_size"], settings["strides"], settings["dilation_rate"], strict=True)
    for size, kernel, stride, dilation in windows:
        lost = dilation * (kernel - 1) if padding == "valid" else 0
        sizes.append(None if size is None else -(-(size - lost) // stride))
    return (shape[0], *sizes, settings["filters"])
