"""A new beginning for the flatbuffer of a model, whose old bytes follow it as one piece.

Offsets in a flatbuffer are relative, so that the old bytes may move; only the root is written anew, and points into
them. Weights keep their alignment where the new part is a multiple of `ALIGNMENT` bytes.
"""

from __future__ import annotations

import struct

ALIGNMENT = 64


class Head:
    """The new part, written front to back: what it points to lies further on, or in the old file.

    Args:
        reserved: bytes at the beginning, which the caller fills in.
    """

    def __init__(self, reserved: int) -> None:
        self.data = bytearray(reserved)

    def align(self, size: int, ahead: int = 0) -> None:
        """Pads until the place `ahead` bytes on is a multiple of `size`."""
        self.data += bytes(-(len(self.data) + ahead) % size)

    def table(self, widths: int) -> int:
        """A table of `widths` 4-byte fields, each present; returns its place. Fields are set by `put`."""
        self.align(4, 4 + 2 * widths)
        slots = [4 + 4 * k for k in range(widths)]
        vtable = len(self.data)
        self.data += struct.pack(f"<{2 + widths}H", 4 + 2 * widths, 4 + 4 * widths, *slots)
        at = len(self.data)
        self.data += struct.pack("<i", at - vtable) + bytes(4 * widths)
        return at

    def vector(self, count: int) -> int:
        """A vector of 4-byte elements; returns its place."""
        self.align(4)
        at = len(self.data)
        self.data += struct.pack("<I", count) + bytes(4 * count)
        return at

    def octets(self, value: bytes, alignment: int, end: bytes = b"") -> int:
        """A vector of bytes, or a string where `end` is its zero byte."""
        self.align(alignment, 4)
        at = len(self.data)
        self.data += struct.pack("<I", len(value)) + value + end
        return at

    def text(self, value: str) -> int:
        return self.octets(value.encode(), 4, b"\0")

    def put(self, at: int, value: int) -> None:
        struct.pack_into("<I", self.data, at, value)

    def point(self, at: int, target: int) -> None:
        self.put(at, target - at)

    def field(self, table: int, number: int, target: int | None) -> None:
        """Points a field at its target; None leaves it out."""
        if target is not None:
            self.point(table + 4 + 4 * number, target)
            return
        vtable = table - struct.unpack_from("<i", self.data, table)[0]
        struct.pack_into("<H", self.data, vtable + 4 + 2 * number, 0)
