"""The index of a TensorFlow checkpoint (`variables.index`): which tensors it holds, and whether their data is there.

The file is a LevelDB table (leveldb/doc/table_format.md): blocks of prefix-compressed entries, an index block over
them, a 48-byte footer. TensorFlow writes its blocks uncompressed (tensorflow/core/util/tensor_bundle). The entry with
the empty key is the header; the others are BundleEntryProto messages.
"""

from __future__ import annotations

import glob
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.readers.facts import MalformedError, checked_shape, mapped, text_of
from converters.readers.protobuf import Budget, Message, varint

INDEX = ".index"
_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_MAX_ENTRIES = 1_000_000


@dataclass(frozen=True)
class Entry:
    """A stored tensor. `dtype` is TensorFlow's DataType number; `offset` and `size` are bytes in its shard."""

    name: str
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


@dataclass(frozen=True)
class TensorBundle:
    shards: int
    entries: tuple[Entry, ...]


def read_bundle(index: Path) -> TensorBundle:
    """Reads an index file. Raises MalformedError, OSError."""
    with mapped(index) as data:
        return _parse(data)


def prefix_of(index: Path) -> str:
    """The prefix of the checkpoint `<prefix>.index`, which no `Path` can hold where its last part is empty."""
    return str(index).removesuffix(INDEX)


def shards_beside(index: Path) -> list[Path]:
    """The data files that lie beside an index under its prefix."""
    return sorted(index.parent.glob(f"{glob.escape(index.name.removesuffix(INDEX))}.data-*"))


def missing_data(index: Path, bundle: TensorBundle) -> str:
    """The fault in the data shards that belong to `<prefix>.index`; empty where there is none."""
    sizes = []
    for shard in range(bundle.shards):
        file = Path(f"{prefix_of(index)}.data-{shard:05d}-of-{bundle.shards:05d}")
        if not file.is_file():
            return f"{file.name} is missing"
        sizes.append(file.stat().st_size)
    for entry in bundle.entries:
        if not 0 <= entry.shard < len(sizes) or entry.offset < 0 or entry.size < 0:
            return f"the entry {entry.name!r} lies outside the data files"
        if entry.offset + entry.size > sizes[entry.shard]:
            return f"the data is cut short: {entry.name!r} lies past its end"
    return ""


def _parse(data: memoryview) -> TensorBundle:
    if len(data) < _FOOTER or struct.unpack_from("<Q", data, len(data) - 8)[0] != _MAGIC:
        raise MalformedError("it does not end in the mark of a checkpoint index")
    footer = data[len(data) - _FOOTER :]
    _, _, at = _handle(footer, 0)  # the meta index, which TensorFlow leaves empty
    offset, size, _ = _handle(footer, at)
    header: Message | None = None
    entries: list[Entry] = []
    budget = Budget()
    for _, handle in _block(data, offset, size):
        offset, size, _ = _handle(memoryview(handle), 0)
        for key, value in _block(data, offset, size):
            message = Message(memoryview(value), budget)
            if not key:
                header = message
            else:
                entries.append(_entry(key, message))
            if len(entries) > _MAX_ENTRIES:
                raise MalformedError("it lists more tensors than any model has")
    if header is None:
        raise MalformedError("it has no header")
    shards = header.integer(1)
    if not 0 <= shards <= 10_000 or header.integer(2):
        raise MalformedError("it is big-endian, or has an impossible number of shards")
    return TensorBundle(shards, tuple(entries))


def _entry(key: bytes, message: Message) -> Entry:
    name = text_of(key, "a tensor's name")
    shape = message.message(2)
    dims = tuple(dim.integer(1) for dim in shape.messages(2)) if shape is not None else ()
    return Entry(
        name,
        message.integer(1),
        checked_shape(dims, f"the tensor {name!r}"),
        message.integer(3),
        message.integer(4),
        message.integer(5),
    )


def _handle(data: memoryview, at: int) -> tuple[int, int, int]:
    """A block's offset and size, and the offset behind the handle."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return offset, size, at


def _block(data: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block. Behind it stand one byte for the compression and a CRC."""
    if offset + size + 5 > len(data) or size < 4:
        raise MalformedError("a block lies past the end of the index")
    if data[offset + size]:
        raise MalformedError("its blocks are compressed, which TensorFlow does not do")
    block = data[offset : offset + size]
    end = size - 4 - 4 * int(struct.unpack_from("<I", block, size - 4)[0])
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise MalformedError("an entry of the index runs past its block")
        key = key[:shared] + bytes(block[at : at + fresh])
        yield key, bytes(block[at + fresh : at + fresh + length])
        at += fresh + length
