"""Which weights of a checkpoint hold NaN or infinity. Apart from the row that tells it: this reads the file.

Keras and the converters carry such values on in silence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from converters.checkpoints.checkpoint import SourceKind
from converters.readers.h5_file import read_h5
from converters.readers.keras_file import read_keras
from converters.readers.saved_model_file import DTYPES
from converters.readers.tensor_bundle import read_bundle
from exporter.manifest.rows import Gate

_CHUNK = 1 << 22


def nonfinite_weights(path: Path, kind: SourceKind) -> tuple[str, ...]:
    """The names of the stored tensors with NaN or infinity in them, in the order of the file.

    Raises:
        RefusedError: the file is damaged.
    """
    if kind is SourceKind.KERAS:
        return read_keras(path, values=True).weights.nonfinite
    if kind in (SourceKind.H5, SourceKind.WEIGHTS_H5):
        return read_h5(path, values=True).nonfinite
    prefix = path / "variables" / "variables"
    return _in_bundle(prefix) if prefix.with_suffix(".index").is_file() else ()


def _in_bundle(prefix: Path) -> tuple[str, ...]:
    """Of a SavedModel's variables, which lie in their shards as plain little-endian numbers."""
    bundle = read_bundle(prefix.with_suffix(".index"))
    names = []
    for entry in bundle.entries:
        name = DTYPES.get(entry.dtype, "")
        if name in ("float16", "float32", "float64"):
            shard = prefix.with_name(f"{prefix.name}.data-{entry.shard:05d}-of-{bundle.shards:05d}")
            count = entry.size // np.dtype(name).itemsize
            values = np.memmap(shard, np.dtype(name).newbyteorder("<"), "r", entry.offset, (count,)) if count else ()
            if not all(np.isfinite(values[k : k + _CHUNK]).all() for k in range(0, count, _CHUNK)):
                names.append(entry.name)
    return tuple(names)


def finite_gate(names: tuple[str, ...]) -> Gate:
    """The gate's row for an artifact made of such weights."""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    reason = f"The checkpoint's weights hold NaN or infinity: {shown}. (--allow-nonfinite lets them pass.)"
    return Gate(gate="finite-weights", passed=False, reason=reason)
