"""Facts that every reader reports, and the errors that it raises."""

from __future__ import annotations

import contextlib
import math
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.errors import RefusedError, UsageError

Shape = tuple[int | str | None, ...]
"""Integers; a string for a dimension that the file names; None for one that it leaves unknown."""

MAX_ELEMENTS = 1 << 50
"""More elements than any weight has; beyond it a shape is a lie."""


class MalformedError(ValueError):
    """The bytes break the format's rules. Never leaves this package: `refusing` turns it into a RefusedError."""


@dataclass(frozen=True)
class TensorFact:
    """An input or output as the file states it.

    Attributes:
        shape: None where the file gives no rank.
        dtype: NumPy's name of the element type.
    """

    name: str
    shape: Shape | None
    dtype: str


@dataclass(frozen=True)
class WeightFact:
    """A stored tensor: its name, shape and dtype, not its values."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def checked_shape(dims: tuple[int, ...], what: str) -> tuple[int, ...]:
    """The shape of a stored tensor, if its dimensions are plausible."""
    if any(d < 0 for d in dims) or math.prod(dims) > MAX_ELEMENTS:
        raise MalformedError(f"{what} has the impossible shape {list(dims)}")
    return dims


@contextlib.contextmanager
def refusing(path: Path, kind: str) -> Iterator[None]:
    """Turns what reading damaged bytes can raise into one RefusedError that names the file."""
    try:
        yield
    except RecursionError:
        raise _damaged(path, kind, "its parts are nested too deep") from None
    except (MalformedError, struct.error, UnicodeDecodeError, IndexError, OverflowError) as cause:
        raise _damaged(path, kind, str(cause)) from cause
    except OSError as cause:
        raise UsageError(
            f"{path} cannot be read ({cause.strerror or cause}).",
            next_step="Check the path and its permissions.",
            file=path,
        ) from cause


def _damaged(path: Path, kind: str, reason: str) -> RefusedError:
    return RefusedError(
        f"{path} is not a valid {kind}: {reason}.",
        next_step="The file may be damaged or cut short: export or copy it again.",
        file=path,
    )


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The file's bytes without reading them into memory. An empty file gives an empty view."""
    with path.open("rb") as stream:
        if stream.seek(0, 2) == 0:
            yield memoryview(b"")
            return
        region = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        yield memoryview(region)
    finally:
        with contextlib.suppress(BufferError):  # a view still held by a traceback: the collector closes it
            region.close()


def text_of(data: bytes | memoryview, what: str) -> str:
    """UTF-8 text, or MalformedError naming what it should have been."""
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError(f"{what} is not UTF-8 text") from None
