"""TFLite metadata: a flatbuffer TFLITE_METADATA among the model's buffers, and associated files in a zip archive.

Source: the metadata specification of TFLite (metadata_schema.fbs 1.1.0 and the format document of flatbuffers).

    [ new root: Model table, vectors of buffers and metadata, the metadata itself ][ the file as it was ][ zip archive ]

Offsets in a flatbuffer are relative, so that the old bytes may move as one piece; only the root is rewritten, and
points into them. Weights keep their alignment because the new part is a multiple of `ALIGNMENT` bytes.
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
from converters.readers.flatbuffer_head import ALIGNMENT, Head
from converters.stamping.tflite_metadata import model_metadata

METADATA_NAME = b"TFLITE_METADATA"
_MARK = b"edgeport"
_HEADER = struct.Struct("<I4s8sIQ")  # root offset, identifier, our mark, bytes of the new part, bytes of the old file
_DATA_ALIGNMENT = 16  # force_align of Buffer.data


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


def _new_root(model: Table, old_size: int, metadata: bytes) -> bytes:
    """The new part of the file, for a model that will follow right behind it."""
    places = {field: place for field in schema.Model.BY_OFFSET if (place := model.target(field)) is not None}
    buffers = model.targets(schema.Model.BUFFERS)
    entries = model.targets(schema.Model.METADATA)
    head = Head(_HEADER.size)
    root = head.table(schema.Model.FIELDS)
    head.put(root + 4 + 4 * schema.Model.VERSION, model.scalar(schema.Model.VERSION, "I"))
    new_buffers, new_entries = head.vector(len(buffers) + 1), head.vector(len(entries) + 1)
    entry, name = head.table(2), head.octets(METADATA_NAME, 4, b"\0")
    buffer, data = head.table(1), head.octets(metadata, _DATA_ALIGNMENT)
    head.align(ALIGNMENT)
    size = len(head.data)
    places = {field: size + place for field, place in places.items()}
    places |= {schema.Model.BUFFERS: new_buffers, schema.Model.METADATA: new_entries}
    for field in schema.Model.BY_OFFSET:
        head.field(root, field, places.get(field))
    for vector, old, new in ((new_buffers, buffers, buffer), (new_entries, entries, entry)):
        for k, target in enumerate([*(size + place for place in old), new]):
            head.point(vector + 4 + 4 * k, target)
    head.point(entry + 4, name)
    head.put(entry + 8, len(buffers))
    head.point(buffer + 4, data)
    _HEADER.pack_into(head.data, 0, root, b"TFL3", _MARK, size, old_size)
    return bytes(head.data)


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
