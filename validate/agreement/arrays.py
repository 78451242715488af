"""Big arrays between processes: one `.npy` a tensor, written a batch at a time and read a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from converters.arrays import Array, Arrays
from converters.errors import RefusedError, StepError

_BLOCK_BYTES = 8 << 20  # about what a core's caches hold


class Writer:
    """Writes arrays of `samples` rows as `<folder>/<stem>.<k>.npy`, k numbering the names in order."""

    def __init__(self, folder: Path, stem: str, names: tuple[str, ...], samples: int) -> None:
        self._folder, self._stem, self._names, self._samples = folder, stem, names, samples
        self._files: dict[str, BinaryIO] = {}
        self._texts: dict[str, list[Array]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, arrays: Arrays, rows: int) -> None:
        """Adds the outputs of the next `rows` samples.

        Raises:
            RefusedError: an output has not one row a sample.
        """
        for name, array in arrays.items():
            if array.ndim == 0 or array.shape[0] != rows:
                raise RefusedError(
                    f"The output {name} has shape {array.shape} for {rows} samples: its first dimension is no batch.",
                    next_step="Export a model whose outputs have one row for each sample.",
                    step="validate",
                )
            if array.dtype.kind == "S":  # as wide as the longest of all
                self._texts.setdefault(name, []).append(array)
                continue
            stream = self._files.get(name) or self._open(name, array)
            np.ascontiguousarray(array).tofile(stream)

    def _open(self, name: str, array: Array) -> BinaryIO:
        stream = path_of(self._folder, self._stem, self._names.index(name)).open("wb")
        self._files[name] = stream
        np.lib.format.write_array_header_1_0(
            stream,
            {
                "descr": np.lib.format.dtype_to_descr(array.dtype),
                "fortran_order": False,
                "shape": (self._samples, *array.shape[1:]),
            },
        )
        stream.flush()
        return stream

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._files.values():
            stream.close()
        for name, parts in self._texts.items():
            path = path_of(self._folder, self._stem, self._names.index(name))
            np.save(path, np.concatenate(parts), allow_pickle=False)


def path_of(folder: Path, stem: str, k: int) -> Path:
    return folder / f"{stem}.{k}.npy"


def read(folder: Path, stem: str, k: int) -> Array | None:
    """The array, mapped from disk; None where it was not written."""
    path = path_of(folder, stem, k)
    if not path.is_file():
        return None
    array: Array = np.load(path, allow_pickle=False, mmap_mode="r")
    return array


def read_array(folder: Path, stem: str, k: int) -> Array:
    """The same, which must be there. Raises StepError."""
    array = read(folder, stem, k)
    if array is None:
        raise StepError(
            f"The values {stem}.{k} were not written by their worker.",
            next_step="Run again with --debug.",
            file=folder,
            step="validate",
        )
    return array


def blocks(samples: int, *arrays: Array | None) -> Iterator[slice]:
    """Slices of samples, each of few enough bytes to be worked on in float64."""
    row = max((int(np.prod(a.shape[1:], dtype=np.int64)) * 8 for a in arrays if a is not None), default=1)
    step = max(1, _BLOCK_BYTES // max(1, row))
    for start in range(0, samples, step):
        yield slice(start, min(samples, start + step))


def wide(array: Any) -> Array:
    """Float64, whatever it was; booleans become 0 and 1."""
    return np.asarray(array).astype(np.float64)
