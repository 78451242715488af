"""The two wire readers, on bytes made by hand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.readers.facts import MalformedError
from converters.readers.flatbuffer import Buffer
from converters.readers.protobuf import MAX_DEPTH, Budget, Message, signed, varint


def encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@given(st.integers(0, 2**64 - 1))
def test_varint_round_trip(value: int) -> None:
    assert varint(memoryview(encode(value)), 0) == (value, len(encode(value)))


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_is_twos_complement(value: int) -> None:
    assert signed(value % 2**64) == value


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 11])
def test_bad_varint(data: bytes) -> None:
    with pytest.raises(MalformedError):
        varint(memoryview(data), 0)


def message(data: bytes) -> Message:
    return Message(memoryview(data))


def test_fields_of_every_wire_type() -> None:
    data = b"\x08\x96\x01" + b"\x12\x02hi" + b"\x1d" + struct.pack("<i", 7) + b"\x21" + struct.pack("<q", 9)
    found = message(data)
    assert found.integer(1) == 150
    assert found.text(2) == "hi"
    assert (found.integer(3), found.integer(4), found.integer(5, -3)) == (7, 9, -3)
    assert 2 in found
    assert 6 not in found


def test_repeated_integers_packed_or_not() -> None:
    assert message(b"\x08\x01\x08\x02").integers(1) == [1, 2]
    assert message(b"\x0a\x03\x01\x96\x01").integers(1) == [1, 150]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x12\x05hi", "past the end"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x01", "numbered 0"),
        (b"\x1d\x01", "past the end"),
    ],
)
def test_malformed(data: bytes, cause: str) -> None:
    with pytest.raises(MalformedError, match=cause):
        message(data)


def test_wrong_type_of_field() -> None:
    with pytest.raises(MalformedError, match="number where bytes"):
        message(b"\x08\x01").text(1)
    with pytest.raises(MalformedError, match="bytes where a number"):
        message(b"\x0a\x01a").integer(1)
    with pytest.raises(MalformedError, match="UTF-8"):
        message(b"\x0a\x01\xff").text(1)


def test_depth_and_size_have_a_budget() -> None:
    data = b""
    for _ in range(MAX_DEPTH + 2):
        data = b"\x0a" + encode(len(data)) + data
    inner = message(data)
    for _ in range(MAX_DEPTH):
        inner = next(inner.messages(1))
    with pytest.raises(MalformedError, match="nested deeper"):
        next(inner.messages(1))
    with pytest.raises(MalformedError, match="more fields"):
        Message(memoryview(b"\x08\x01" * 11), Budget(10))


def table_bytes() -> bytes:
    """A root table of two fields: an int32 7, and the string "ok"."""
    vtable = struct.pack("<HHHH", 8, 12, 4, 8)
    table = struct.pack("<iiI", 8, 7, 4)
    return struct.pack("<I", 12) + vtable + table + struct.pack("<I", 2) + b"ok"


def test_flatbuffer_fields() -> None:
    root = Buffer(memoryview(table_bytes())).root()
    assert root.scalar(0, "i") == 7
    assert root.text(1) == "ok"
    assert root.scalar(2, "i", -1) == -1
    assert root.int32s(9) == ()
    assert root.table(9) is None


@given(st.integers(0, len(table_bytes()) - 1), st.integers(0, 255))
def test_flatbuffer_mutants_raise_nothing_else(at: int, value: int) -> None:
    data = bytearray(table_bytes())
    data[at] = value
    try:
        root = Buffer(memoryview(bytes(data))).root()
        root.scalar(0, "i")
        root.text(1)
    except MalformedError:
        pass
    assert len(data) == len(table_bytes())


def test_flatbuffer_tables_have_a_budget() -> None:
    buffer = Buffer(memoryview(table_bytes()), tables=2)
    buffer.root()
    buffer.root()
    with pytest.raises(MalformedError, match="more tables"):
        buffer.root()
