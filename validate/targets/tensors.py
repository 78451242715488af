"""Arrays as they travel in a message: `{dtype, shape, base64}`, of texts `{dtype, shape, texts}`, each in base64."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays


def packed(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Arrays by name, as a message holds them."""
    return {name: _pack(np.asarray(array)) for name, array in arrays.items()}


def unpacked(document: Mapping[str, Any]) -> Arrays:
    """The arrays that `packed` was given, on this machine's byte order."""
    return {name: _unpack(entry) for name, entry in document.items()}


def _pack(array: Array) -> dict[str, Any]:
    shape = list(array.shape)
    if array.dtype.kind in "OSU":
        texts = [text.encode() if isinstance(text, str) else bytes(text) for text in array.ravel().tolist()]
        return {"dtype": "str", "shape": shape, "texts": [b64encode(text).decode() for text in texts]}
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.name, "shape": shape, "base64": b64encode(little.tobytes()).decode()}


def _unpack(entry: Mapping[str, Any]) -> Array:
    shape = tuple(entry["shape"])
    if entry["dtype"] == "str":
        texts = np.empty(len(entry["texts"]), object)
        texts[:] = [b64decode(text) for text in entry["texts"]]
        return texts.reshape(shape)
    dtype = np.dtype(entry["dtype"])
    array: Array = np.frombuffer(b64decode(entry["base64"]), dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    return array
