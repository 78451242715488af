"""A reader of flatbuffers that checks every offset.

The runtime of the flatbuffers package follows offsets unchecked; this one is for files that nobody vouches for.
Source: the binary format document of FlatBuffers. Offsets and lengths are little-endian 32-bit unsigned integers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from converters.readers.facts import MalformedError, text_of

MAX_TABLES = 4_000_000


class Buffer:
    """The bytes of one file, and how many tables may still be opened in it."""

    def __init__(self, data: memoryview, tables: int = MAX_TABLES) -> None:
        self.data = data
        self._tables = tables

    def root(self) -> Table:
        return Table(self, self.u32(0))

    def spend(self) -> None:
        self._tables -= 1
        if self._tables < 0:
            raise MalformedError("it has more tables than any model needs")

    def need(self, at: int, size: int) -> None:
        if at < 0 or size < 0 or at + size > len(self.data):
            raise MalformedError("an offset points past the end of the file")

    def u32(self, at: int) -> int:
        self.need(at, 4)
        return int(struct.unpack_from("<I", self.data, at)[0])

    def scalar(self, at: int, code: str) -> int:
        self.need(at, struct.calcsize("<" + code))
        return int(struct.unpack_from("<" + code, self.data, at)[0])


class Table:
    """One table. Its fields are named by their number in the schema, counted from 0."""

    def __init__(self, buffer: Buffer, at: int) -> None:
        buffer.spend()
        self._buffer = buffer
        self._at = at
        self._vtable = at - buffer.scalar(at, "i")
        self._vtable_size = buffer.scalar(self._vtable, "H")
        size = buffer.scalar(self._vtable + 2, "H")
        if self._vtable_size < 4 or self._vtable_size % 2 or size < 4:
            raise MalformedError("a table has an impossible size")
        buffer.need(self._vtable, self._vtable_size)
        buffer.need(at, size)

    def _field(self, number: int) -> int | None:
        """The field's place in the file; None where the table leaves it out."""
        slot = 4 + 2 * number
        if slot + 2 > self._vtable_size:
            return None
        offset = self._buffer.scalar(self._vtable + slot, "H")
        return self._at + offset if offset else None

    def scalar(self, number: int, code: str, default: int = 0) -> int:
        """An integer of `struct` code b, B, H, i, I, q or Q; also a bool or an enum."""
        at = self._field(number)
        return default if at is None else self._buffer.scalar(at, code)

    def target(self, number: int) -> int | None:
        """The place in the file that a field points to; None where the table leaves it out."""
        at = self._field(number)
        return None if at is None else at + self._buffer.u32(at)

    def targets(self, number: int) -> list[int]:
        """The places in the file of a vector's tables."""
        start, count = self.vector(number, 4)
        return [at + self._buffer.u32(at) for at in range(start, start + 4 * count, 4)]

    def table(self, number: int) -> Table | None:
        at = self.target(number)
        return None if at is None else Table(self._buffer, at)

    def vector(self, number: int, width: int) -> tuple[int, int]:
        """Where a vector's first element lies and how many it has; (0, 0) where the field is absent."""
        at = self.target(number)
        if at is None:
            return 0, 0
        count = self._buffer.u32(at)
        self._buffer.need(at + 4, count * width)
        return at + 4, count

    def tables(self, number: int) -> Iterator[Table]:
        start, count = self.vector(number, 4)
        for at in range(start, start + 4 * count, 4):
            yield Table(self._buffer, at + self._buffer.u32(at))

    def int32s(self, number: int) -> tuple[int, ...]:
        start, count = self.vector(number, 4)
        return struct.unpack_from(f"<{count}i", self._buffer.data, start)

    def int64s(self, number: int) -> tuple[int, ...]:
        start, count = self.vector(number, 8)
        return struct.unpack_from(f"<{count}q", self._buffer.data, start)

    def text(self, number: int) -> str:
        start, count = self.vector(number, 1)
        return text_of(self._buffer.data[start : start + count], "a name")

    def texts(self, number: int) -> list[str]:
        """The strings of a vector of strings."""
        strings = []
        for at in self.targets(number):
            count = self._buffer.u32(at)
            self._buffer.need(at + 4, count)
            strings.append(text_of(self._buffer.data[at + 4 : at + 4 + count], "a name"))
        return strings
