"""What KerasHub's models are fed: ids within the vocabulary, masks of 0 and 1, places within the sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.compat.keras import operation_of

_HIGHEST = {"segment_ids": 2, "mask_positions": 4}
_SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "Gemma 3, text and images": {"images": (1,), "vision_indices": (4,)},
    "Moonshine": {"encoder_input_values": (1600,), "encoder_padding_mask": (1600,)},
    "SAM": {"points": (2,), "labels": (2,), "boxes": (1,), "masks": (1, 16, 16)},
    "SigLIP": {"token_ids": (16,)},
}
"""By model and input, the sizes of its open axes where they are no text's length and no image's edge."""


def feeds_of(title: str, model: Any, numbers: Any, batch: int, length: int) -> dict[str, Any]:
    """A batch for each input by its name. Open axes have `length` words, those of images 4 times as many."""
    given = next((sizes for name, sizes in _SIZES.items() if title.startswith(name)), {})
    feeds = {}
    for tensor in model.inputs:
        name = operation_of(tensor).name
        feeds[name] = _values(tensor, numbers, [batch, *_sizes(name, tensor, given.get(name, ()), length)])
    return feeds


def _sizes(name: str, tensor: Any, given: tuple[int, ...], length: int) -> list[int]:
    length -= 3 if name.startswith("decoder") else 0  # no encoder's length by chance
    left = iter(given)
    usual = 4 * length if len(tensor.shape) == 4 else length
    return [next(left, usual) if size is None else size for size in tensor.shape[1:]]


def _values(tensor: Any, numbers: Any, shape: list[int]) -> Any:
    name, dtype = operation_of(tensor).name, str(tensor.dtype)
    if name == "vision_mask":
        mask = np.zeros(shape, dtype)
        mask[:, 1:5] = 1
        return mask
    if name == "vision_indices":
        return np.tile(np.arange(1, shape[1] + 1, dtype=dtype), (shape[0], 1))
    if "mask" in name and "positions" not in name and name != "masks":
        return _mask(shape, dtype)
    if name == "labels":
        return numbers.integers(0, 2, shape).astype(dtype)
    if name in {"points", "boxes"}:
        return numbers.uniform(1, 31, shape).astype(dtype)
    if "int" in dtype or name.endswith("token_ids"):
        return numbers.integers(0, _HIGHEST.get(name, 40), shape).astype(dtype)
    return numbers.normal(0, 1, shape).astype("float32")


def _mask(shape: list[int], dtype: str) -> Any:
    """A mask of a whole sequence, whose first row ends early."""
    mask = np.ones(shape, dtype)
    mask[0, -2:] = 0
    return mask
