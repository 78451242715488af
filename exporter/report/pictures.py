"""Arrays as small pictures inside the page: a data address, nothing fetched."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt

_LARGEST = 128
"""Pixels of the longer side; larger pictures are scaled down."""

_PIXELATED = 48
_ROWS = 48


def picture(values: npt.NDArray[Any], low: float | None = None, high: float | None = None) -> str | None:
    """One sample without its batch dimension as a data address; None where it is not numeric, or empty.

    (H, W), (H, W, 1), (H, W, 3) and (H, W, 4) are images; of other (H, W, C), the first channel is shown. A vector is a
    strip of at most 48 rows. `low` and `high` are black and white; without them, the minimum and the maximum are.
    """
    plane = _plane(np.asarray(values))
    if plane is None:
        return None
    finite = plane[np.isfinite(plane)]
    low = float(np.min(finite, initial=0.0)) if low is None else low
    high = float(np.max(finite, initial=1.0)) if high is None else high
    scaled = np.nan_to_num((plane - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    return _encoded((np.clip(scaled, 0.0, 1.0) * 255).round().astype(np.uint8))


def small(values: npt.NDArray[Any]) -> bool:
    """Whether a picture of it is drawn in hard pixels."""
    plane = _plane(np.asarray(values))
    return plane is not None and max(plane.shape[:2]) <= _PIXELATED


def _plane(values: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    if values.size == 0 or values.dtype.kind not in "fiub":
        return None
    if values.ndim == 1:
        values = np.array_split(values, min(_ROWS, len(values)))  # type: ignore[assignment]
        values = np.asarray([np.mean(part) for part in values])[:, None]
    if values.ndim == 3 and values.shape[2] not in (3, 4):
        values = values[:, :, 0]
    return values.astype(np.float64) if values.ndim in (2, 3) else None


def _encoded(pixels: npt.NDArray[np.uint8]) -> str:
    """PNG where it is small, else WebP, which a photograph needs a tenth of the bytes in."""
    from PIL import Image

    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    if max(image.size) > _LARGEST:
        image.thumbnail((_LARGEST, _LARGEST))
    kind = "png" if max(image.size) <= _PIXELATED else "webp"
    image.save(buffer, kind, **({"optimize": True} if kind == "png" else {"quality": 80, "method": 4}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
