"""The fate of NaN, infinities and denormals: told, never gated, for honest runtimes differ. Worker side.

TensorFlow and XNNPACK flush denormals to zero, ONNX Runtime keeps them; LiteRT's built-in kernels clamp infinities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.errors import EdgeportError

VALUES = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "denormal": 1e-40}


def special_values(run: Callable[[Mapping[str, Any]], tuple[Arrays, Arrays]], few: Arrays) -> dict[str, str]:
    """By special value in the middle of every float input: the outputs are `finite`, `inf` or `nan`, or an `error`."""
    if not any(array.dtype.kind == "f" for array in few.values()):
        return {}
    return {name: _outcome(run, {k: _with_value(v, value) for k, v in few.items()}) for name, value in VALUES.items()}


def _with_value(array: Array, value: float) -> Array:
    if array.dtype.kind != "f":
        return array
    changed = np.array(array)
    changed.reshape(len(changed), -1)[:, changed[0].size // 2] = value
    return changed


def _outcome(run: Callable[[Mapping[str, Any]], tuple[Arrays, Arrays]], feeds: Arrays) -> str:
    try:
        outputs, _ = run(feeds)
    except EdgeportError:
        return "error"
    floats = [value for value in outputs.values() if value.dtype.kind == "f"]
    if any(np.isnan(value).any() for value in floats):
        return "nan"
    return "inf" if any(np.isinf(value).any() for value in floats) else "finite"
