"""Reads from a bundle what its report draws: golden vectors, answers and raw latency samples.

Only files that the manifest lists with the digest that they have are read: a report never shows what `verify` refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from converters.artifact import digest_file
from converters.errors import IntegrityError
from exporter.bundle.golden import read_answers, read_golden
from exporter.manifest.rows import FileRow
from exporter.manifest.schema import ANSWERS, GOLDEN, Manifest
from exporter.report.evidence import Evidence

Read = TypeVar("Read")

_MAX_BYTES = 256 << 20


def gather(folder: Path, manifest: Manifest, rows: Mapping[str, FileRow]) -> Evidence:
    """Reads what there is of it in the bundle `folder`, whose files are `rows`; omits what is missing or damaged."""
    golden = _trusted(folder, GOLDEN, rows, read_golden)
    inputs, outputs = golden if golden else ({}, {})
    samples = {}
    for index, row in enumerate(manifest.timings):
        raw = _trusted(folder, row.samples_file, rows, _read_samples) if row.samples_file else None
        if raw is not None:
            samples[index] = raw
    return Evidence(inputs, outputs, _trusted(folder, ANSWERS, rows, read_answers) or {}, samples)


def _trusted(folder: Path, name: str, rows: Mapping[str, FileRow], read: Callable[[Path], Read]) -> Read | None:
    row, path = rows.get(name), folder / name
    try:
        if row is None or row.size_bytes > _MAX_BYTES or path.is_symlink() or digest_file(path) != row.sha256:
            return None
        return read(path)
    except (OSError, IntegrityError, ValueError, MemoryError):
        return None


def _read_samples(path: Path) -> npt.NDArray[np.float64] | None:
    """Milliseconds from int64 (n, 2) rows of round and nanoseconds."""
    raw = np.load(path, allow_pickle=False)
    fits = raw.ndim == 2 and raw.shape[1] == 2 and len(raw) > 0 and np.issubdtype(raw.dtype, np.integer)
    return raw[:, 1].astype(np.float64) / 1e6 if fits else None
