"""Reductions of no values at all, apart from those that count: no graph of use has many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.rewrites.row import constant, sizes


def is_of_nothing(operation: Any) -> bool:
    """Whether an axis that is reduced has no values: runtimes keep such an axis, or do not say what TensorFlow says."""
    shape, axes = operation.inputs[0].shape, constant(operation, 1)
    return shape.rank is not None and axes is not None and any(shape[int(axis)] == 0 for axis in np.ravel(axes))


def reduced(operation: Any, inputs: Sequence[Any]) -> Any:
    """What a reduction begins with, in each place."""
    import tensorflow as tf

    x = inputs[0]
    axes = {int(axis) % x.shape.rank for axis in np.ravel(np.asarray(constant(operation, 1)))}
    keep = operation.get_attr("keep_dims")
    shape = [1 if k in axes else size for k, size in enumerate(sizes(x)) if keep or k not in axes]
    return tf.fill(shape, tf.constant(_first(operation.type, x.dtype), x.dtype))


def _first(kind: str, dtype: Any) -> Any:
    if kind in {"Max", "Min"}:
        ends = (-np.inf, np.inf) if dtype.is_floating else (dtype.min, dtype.max)
        return ends[kind == "Min"]
    return {"Sum": 0, "Prod": 1, "Mean": np.nan if dtype.is_floating else 0, "All": True, "Any": False}[kind]
