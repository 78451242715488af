"""A reader of protobuf's wire format that trusts no length, no nesting and no count.

Source: the encoding document of Protocol Buffers (wire types 0 varint, 1 fixed 64, 2 length-delimited, 5 fixed 32;
3 and 4, the groups, occur in none of the formats read here and are refused).
"""

from __future__ import annotations

from collections.abc import Iterator

from converters.readers.facts import MalformedError, text_of

MAX_DEPTH = 64
MAX_FIELDS = 8_000_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGN, _WRAP = 1 << 63, 1 << 64


class Budget:
    """How many fields may still be read of one file: what bounds the time that a hostile file can cost."""

    def __init__(self, fields: int = MAX_FIELDS) -> None:
        self.fields = fields

    def spend(self, count: int) -> None:
        self.fields -= count
        if self.fields < 0:
            raise MalformedError("it has more fields than any model needs")


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned integer at `at` and the offset behind it; at most ten bytes."""
    if 0 <= at < len(data) and data[at] < 0x80:  # nearly all numbers are this short
        return data[at], at + 1
    value = shift = 0
    for position in range(at, min(at + 10, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (_WRAP - 1), position + 1
        shift += 7
    raise MalformedError("a number is cut short or longer than 64 bits")


def signed(value: int) -> int:
    """The two's complement reading of a 64-bit varint, which is how int32, int64 and enums are stored."""
    return value - _WRAP if value & _SIGN else value


class Message:
    """One message, split into its fields; a nested one is split only when it is asked for.

    Where a field that should be single occurs more than once the last one wins, and messages are merged, as in every
    protobuf runtime: what a framework reads, a scan must see.
    """

    def __init__(self, data: memoryview, budget: Budget | None = None, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise MalformedError(f"its messages are nested deeper than {MAX_DEPTH}")
        self._budget = budget or Budget()
        self._depth = depth
        self._fields: dict[int, list[int | memoryview]] = {}
        for number, value in _split(data, self._budget):
            self._fields.setdefault(number, []).append(value)

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def parts(self, number: int) -> list[memoryview]:
        """The raw bytes of each occurrence of a length-delimited field."""
        values = self._fields.get(number, [])
        parts = [value for value in values if isinstance(value, memoryview)]
        if len(parts) != len(values):
            raise MalformedError(f"field {number} holds a number where bytes belong")
        return parts

    def messages(self, number: int) -> Iterator[Message]:
        for part in self.parts(number):
            yield Message(part, self._budget, self._depth + 1)

    def message(self, number: int) -> Message | None:
        parts = self.parts(number)
        whole = memoryview(b"".join(parts)) if len(parts) > 1 else parts[0] if parts else None
        return None if whole is None else Message(whole, self._budget, self._depth + 1)

    def texts(self, number: int) -> list[str]:
        return [text_of(part, f"field {number}") for part in self.parts(number)]

    def text(self, number: int, default: str = "") -> str:
        parts = self.parts(number)
        return text_of(parts[-1], f"field {number}") if parts else default

    def integers(self, number: int) -> list[int]:
        """All values of a repeated integer field, packed or not, read as signed."""
        result: list[int] = []
        for value in self._fields.get(number, []):
            if isinstance(value, int):
                result.append(signed(value))
            else:
                result.extend(self._packed(value))
        return result

    def _packed(self, data: memoryview) -> Iterator[int]:
        at = 0
        while at < len(data):
            self._budget.spend(1)
            value, at = varint(data, at)
            yield signed(value)

    def integer(self, number: int, default: int = 0) -> int:
        values = self._fields.get(number)
        if not values:
            return default
        if not isinstance(values[-1], int):
            raise MalformedError(f"field {number} holds bytes where a number belongs")
        return signed(values[-1])

    def map(self, number: int) -> Iterator[tuple[str, Message]]:
        """The entries of a `map<string, Message>` field."""
        for entry in self.messages(number):
            value = entry.message(2)
            yield entry.text(1), value if value is not None else Message(memoryview(b""), self._budget, self._depth)


def _split(data: memoryview, budget: Budget) -> Iterator[tuple[int, int | memoryview]]:
    at, end = 0, len(data)
    while at < end:
        budget.spend(1)
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise MalformedError(f"it has a field numbered {number}")
        if kind == _VARINT:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise MalformedError(f"it uses the unknown wire type {kind}")
        if size > end - at:
            raise MalformedError("a field runs past the end of the file or of the message around it")
        part = data[at : at + size]
        at += size
        yield number, part if kind == _BYTES else int.from_bytes(part, "little")


def tag(field: int, length: int) -> bytes:
    """The tag and length that come before the bytes of a length-delimited field."""
    return _varint(field << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
