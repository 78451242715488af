"""Kind of a path, recognised by its first bytes and not by its name."""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from pathlib import Path

from converters.errors import UsageError
from converters.readers import h5_file, keras_file, tflite_file

_HEAD = 4096
_SCHEMES = ("http:", "https:", "gs:", "s3:", "hf:", "kaggle:", "file:")


class FileKind(StrEnum):
    """Kind of the bytes. `UNKNOWN` may still be ONNX, which has no mark of its own."""

    EMPTY = "an empty file"
    TEXT = "a text file"
    ZIP = "a zip archive"
    HDF5 = "an HDF5 file"
    TFLITE = "a TFLite model"
    ORT = "an ONNX Runtime model"
    FOLDER = "a folder"
    UNKNOWN = "a file of unknown content"


def sniff(path: Path) -> FileKind:
    """Looks at the first bytes; never waits on a pipe or a device.

    Raises:
        UsageError: nothing is there, it is not a regular file or folder, or it may not be read.
    """
    if str(path).startswith(_SCHEMES):
        raise UsageError(
            f"{path} is an address, and edgeport reads local paths only.", next_step="Download it first.", file=path
        )
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        if not os.access(path, os.R_OK | os.X_OK):
            raise _unusable(path, "cannot be read (permission denied)")
        return FileKind.FOLDER
    if not stat.S_ISREG(mode):
        raise _unusable(path, "is neither a file nor a folder")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as cause:
        raise _unusable(path, f"cannot be read ({cause.strerror})") from cause
    return _kind(head)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise _unusable(path, "is not there") from None
    except (OSError, ValueError) as cause:  # too long a name, a loop of links, a NUL
        raise _unusable(path, f"cannot be used ({getattr(cause, 'strerror', None) or cause})") from cause


def _unusable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path} {reason}.", next_step="Check the path and its permissions.", file=path)


def _kind(head: bytes) -> FileKind:
    if not head:
        return FileKind.EMPTY
    if head.startswith(h5_file.MAGIC):
        return FileKind.HDF5
    if head.startswith((keras_file.MAGIC, b"PK\x05\x06")):
        return FileKind.ZIP
    if head[4:8] == tflite_file.IDENTIFIER:
        return FileKind.TFLITE
    if head[4:8] == b"ORTM":
        return FileKind.ORT
    return FileKind.TEXT if _is_text(head) else FileKind.UNKNOWN


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as cause:
        return cause.start >= len(head) - 3 and len(head) == _HEAD  # a character cut by the end of the sample
    return True
