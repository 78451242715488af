"""`golden.npz`: inputs and the reference's outputs, so that a device can check itself; the same bytes every time.

`answers.npz` holds what each artifact made of the first of these inputs where the bundle was made, for the report.
`metric.npz` holds what is kept of the user's metric for each, for `edgeport diff --max-drop`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.arrays import NamedArrays
from converters.errors import IntegrityError
from exporter.bundle.disk import write_file

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip entry can hold
_GROUPS = ("input", "output")


def write_golden(path: Path, inputs: NamedArrays, outputs: NamedArrays) -> None:
    """Writes keys `input/<name>` and `output/<name>`, sorted, stored without compression or clock.

    `numpy.savez` stamps members with their own order and settings; this writer fixes both, so that equal arrays give
    equal bytes on every machine.

    Raises:
        ResourceError: the disk is full.
    """
    members = {f"input/{name}": array for name, array in inputs.items()}
    _write(path, members | {f"output/{name}": array for name, array in outputs.items()})


def write_answers(path: Path, answers: Mapping[str, NamedArrays]) -> None:
    """Writes keys `<artifact>/<output>` like `write_golden`; `answers` is by the artifact's path in the bundle."""
    _write(path, {f"{artifact}/{name}": a for artifact, outputs in answers.items() for name, a in outputs.items()})


def _write(path: Path, members: NamedArrays) -> None:
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
        IntegrityError: the file is missing, is not an `.npz`, or holds objects instead of numbers.
    """
    groups = _read(path)
    if strange := groups.keys() - set(_GROUPS):
        raise _unfit(path, f"unexpected key {min(strange)[:60]!r}")
    return groups.get("input", {}), groups.get("output", {})


def read_answers(path: Path) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """By artifact, its outputs by name. Raises IntegrityError like `read_golden`."""
    return _read(path)


def _read(path: Path) -> dict[str, dict[str, npt.NDArray[Any]]]:
    groups: dict[str, dict[str, npt.NDArray[Any]]] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                group, _, name = key.partition("/")
                if not name:
                    raise ValueError(f"unexpected key {key[:60]!r}")
                groups.setdefault(group, {})[name] = archive[key]
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as cause:
        raise _unfit(path, str(cause)[:120]) from cause
    return groups


def _unfit(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path} does not hold golden vectors by name ({why}).",
        next_step="Make the bundle again, or get an undamaged copy of it.",
        file=path,
        step="verify",
    )
