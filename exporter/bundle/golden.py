"""`golden.npz`: inputs and the reference's outputs, so that a device can check itself; the same bytes every time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.errors import IntegrityError
from exporter.bundle.disk import write_file

Arrays = Mapping[str, npt.NDArray[Any]]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip entry can hold
_GROUPS = ("input", "output")


def write_golden(path: Path, inputs: Arrays, outputs: Arrays) -> None:
    """Writes keys `input/<name>` and `output/<name>`, sorted, stored without compression or clock.

    `numpy.savez` stamps members with their own order and settings; this writer fixes both, so that equal arrays give
    equal bytes on every machine.

    Raises:
        ResourceError: the disk is full.
    """
    members = {f"input/{name}": array for name, array in inputs.items()}
    members |= {f"output/{name}": array for name, array in outputs.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key in sorted(members):
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=_EPOCH)
            entry.create_system = 3  # Unix, whatever wrote it
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(members[key], order="C"), allow_pickle=False)
    write_file(path, buffer.getvalue())


def read_golden(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """The inputs and the outputs, by name.

    Raises:
        IntegrityError: the file is missing, no `.npz`, or holds objects instead of numbers.
    """
    groups: dict[str, dict[str, npt.NDArray[Any]]] = {group: {} for group in _GROUPS}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                group, _, name = key.partition("/")
                if group not in groups or not name:
                    raise ValueError(f"unexpected key {key[:60]!r}")
                groups[group][name] = archive[key]
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as cause:
        raise IntegrityError(
            f"{path} does not hold golden vectors ({str(cause)[:120]}).",
            next_step="Make the bundle again, or get an undamaged copy of it.", file=path, step="verify",
        ) from cause  # fmt: skip
    return groups["input"], groups["output"]
