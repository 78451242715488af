"""Reads a contract back from an artifact, which may be anybody's. Apart from the writers: sizes are checked first."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

from converters.readers import ort_file
from converters.readers.facts import MalformedError
from converters.stamping import ASSETS, CONTRACT_FILE, onnx

_MOST = 16 << 20


def read_contract(path: Path) -> dict[str, Any] | None:
    """The contract's JSON document as the artifact carries it; None where it carries none that can be read."""
    try:
        text = _text(path)
        document = None if text is None else json.loads(text)
    except (OSError, ValueError, struct.error, RecursionError, zipfile.BadZipFile, NotImplementedError, MalformedError):
        return None
    return document if isinstance(document, dict) else None


def _text(path: Path) -> bytes | None:
    if path.is_dir():
        file = path / ASSETS / CONTRACT_FILE
        return file.read_bytes() if file.is_file() and file.stat().st_size <= _MOST else None
    if path.suffix == ".onnx":
        return onnx.property_of(path, f"{onnx.PREFIX}contract", _MOST)
    if path.suffix == ".ort":
        text = ort_file.metadata_of(path).get(f"{onnx.PREFIX}contract")
        return None if text is None else text.encode()
    if path.suffix != ".tflite" or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if CONTRACT_FILE not in archive.namelist():
            return None
        entry = archive.getinfo(CONTRACT_FILE)
        if entry.file_size > _MOST or entry.compress_type != zipfile.ZIP_STORED:
            return None
        return archive.read(entry)
