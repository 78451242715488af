"""TFLite metadata: a flatbuffer TFLITE_METADATA among the model's buffers, and associated files in a zip archive.

Source: the metadata specification of TFLite (metadata_schema.fbs 1.1.0 and the format document of flatbuffers).

    [ new root: Model table, vectors of buffers and metadata, the metadata itself ][ the file as it was ][ zip archive ]

Offsets in a flatbuffer are relative, so that the old bytes may move as one piece; only the root is rewritten, and
points into them. Weights keep their alignment because the new part is a multiple of `_ALIGNMENT` bytes.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from converters.contract import Contract
from converters.readers import tflite_schema as schema
from converters.readers.flatbuffer import Buffer, Table
from converters.stamping.tflite_metadata import model_metadata

METADATA_NAME = b"TFLITE_METADATA"
_MARK = b"edgeport"
_HEADER = struct.Struct("<I4s8sIQ")  # root offset, identifier, our mark, bytes of the new part, bytes of the old file
_ALIGNMENT = 64
_DATA_ALIGNMENT = 16  # force_align of Buffer.data
_FIELDS = 8  # of the Model table
_BY_OFFSET = {
    schema.Model.OPERATOR_CODES,
    schema.Model.SUBGRAPHS,
    schema.Model.DESCRIPTION,
    schema.Model.BUFFERS,
    schema.Model.METADATA_BUFFER,
    schema.Model.METADATA,
    schema.Model.SIGNATURES,
}


def stamp(path: Path, contract: Contract, files: Mapping[str, bytes], name: str) -> bool:
    """Writes metadata and associated files into a `.tflite` file; False where it is too large to hold any.

    A file whose weights lie behind the flatbuffer (over 2 GiB) names them by their place, and is left alone.
    """
    old = plain(path.read_bytes())
    model = Buffer(memoryview(old)).root()
    if any(buffer.scalar(schema.Buffer.OFFSET, "Q") > 1 for buffer in model.tables(schema.Model.BUFFERS)):
        return False
    head = _new_root(model, len(old), model_metadata(contract, name, tuple(files)))
    part = path.with_name(f".stamping-{path.name}")
    with part.open("wb") as stream:
        stream.write(head)
        stream.write(old)
        stream.write(_archive(files, len(head) + len(old)))
    part.replace(path)
    return True


def plain(content: bytes) -> bytes:
    """The bytes of the file before it was stamped; its own where it never was."""
    if len(content) < _HEADER.size or content[8:16] != _MARK:
        return content
    _, _, _, head, size = _HEADER.unpack_from(content)
    return content[head : head + size]


class _Head:
    """The new part, written front to back: what it points to lies further on, or in the old file."""

    def __init__(self) -> None:
        self.data = bytearray(_HEADER.size)

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

    def put(self, at: int, value: int) -> None:
        struct.pack_into("<I", self.data, at, value)

    def point(self, at: int, target: int) -> None:
        self.put(at, target - at)


def _new_root(model: Table, old_size: int, metadata: bytes) -> bytes:
    """The new part of the file, for a model that will follow right behind it."""
    places = {field: place for field in _BY_OFFSET if (place := model.target(field)) is not None}
    buffers = model.targets(schema.Model.BUFFERS)
    entries = model.targets(schema.Model.METADATA)
    head = _Head()
    root = head.table(_FIELDS)
    head.put(root + 4 + 4 * schema.Model.VERSION, model.scalar(schema.Model.VERSION, "I"))
    new_buffers, new_entries = head.vector(len(buffers) + 1), head.vector(len(entries) + 1)
    entry, name = head.table(2), head.octets(METADATA_NAME, 4, b"\0")
    buffer, data = head.table(1), head.octets(metadata, _DATA_ALIGNMENT)
    head.align(_ALIGNMENT)
    size = len(head.data)
    places = {field: size + place for field, place in places.items()}
    places |= {schema.Model.BUFFERS: new_buffers, schema.Model.METADATA: new_entries}
    for field in _BY_OFFSET:
        _field(head, root, field, places.get(field))
    for vector, old, new in ((new_buffers, buffers, buffer), (new_entries, entries, entry)):
        for k, target in enumerate([*(size + place for place in old), new]):
            head.point(vector + 4 + 4 * k, target)
    head.point(entry + 4, name)
    head.put(entry + 8, len(buffers))
    head.point(buffer + 4, data)
    _HEADER.pack_into(head.data, 0, root, b"TFL3", _MARK, size, old_size)
    return bytes(head.data)


def _field(head: _Head, table: int, number: int, target: int | None) -> None:
    """Points a field at its target; a field that the old file leaves out is left out here."""
    if target is not None:
        head.point(table + 4 + 4 * number, target)
        return
    vtable = table - struct.unpack_from("<i", head.data, table)[0]
    struct.pack_into("<H", head.data, vtable + 4 + 2 * number, 0)


def _archive(files: Mapping[str, bytes], start: int) -> bytes:
    """A zip archive that stands at `start` of its file: stored, as the public readers want it, and without a clock."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # 1980-01-01
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return _moved(stream.getvalue(), start)


def _moved(archive: bytes, start: int) -> bytes:
    """The archive with the offsets in its directory counted from the start of the whole file."""
    moved = bytearray(archive)
    count, _, directory = struct.unpack_from("<HII", moved, len(moved) - 12)
    at = directory
    for _ in range(count):
        name, extra, comment = struct.unpack_from("<HHH", moved, at + 28)
        (offset,) = struct.unpack_from("<I", moved, at + 42)
        struct.pack_into("<I", moved, at + 42, offset + start)
        at += 46 + name + extra + comment
    struct.pack_into("<I", moved, len(moved) - 6, directory + start)
    return bytes(moved)
