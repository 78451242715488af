"""The types of arrays that travel between steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]
"""By the name of an input or output."""
NamedArrays = Mapping[str, Array]
"""The same, to be read alone."""


def as_array(values: Any) -> Array:
    """The values as an array that a file can hold: texts, which TensorFlow gives as objects, become bytes of one width.

    NumPy fills that width up with zeros, so a text that ends in them loses them.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "OU":
        return array
    texts = [one.encode() if isinstance(one, str) else bytes(one) for one in array.reshape(-1).tolist()]
    return np.array(texts, np.bytes_).reshape(array.shape)
