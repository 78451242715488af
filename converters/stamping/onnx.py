"""ONNX metadata: `metadata_props` of the ModelProto, appended to the file or taken away from it.

Source: onnx.proto (ModelProto.metadata_props is 14; key 1 and value 2 of StringStringEntryProto) and the encoding of
protocol buffers, in which a repeated field may go on anywhere in a message. Image keys are those of ONNX's document
MetadataProps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from converters.contract import Contract, InputContract
from converters.readers.facts import mapped
from converters.readers.protobuf import tag, varint

PREFIX = "edgeport."
_PROPS, _DELIMITED = 14, 2
_PIXELS = {"RGB": "Rgb8", "BGR": "Bgr8", "GRAY": "Gray8"}
_RANGES = {(0.0, 255.0): "NominalRange_0_255", (0.0, 1.0): "Normalized_0_1", (-1.0, 1.0): "Normalized_1_1"}
_IMAGE_KEYS = ("Image.BitmapPixelFormat", "Image.NominalPixelRange")


def properties(contract: Contract) -> dict[str, str]:
    """Keys and values: `edgeport.contract` is all of it as JSON, `edgeport.labels.<output>` has one label a line."""
    entries = {f"{PREFIX}contract": json.dumps(contract.to_json(), ensure_ascii=False, sort_keys=True)}
    for row in contract.outputs:
        if row.labels:
            entries[f"{PREFIX}labels.{row.name}"] = "\n".join(row.labels)
    images = [row for row in contract.inputs if row.layout == "NHWC"]
    return entries | (_image(images[0]) if len(images) == 1 else {})


def _image(row: InputContract) -> dict[str, str]:
    pixels = _PIXELS.get(row.colour_order or "")
    limits = _RANGES.get(row.range) if row.range else None
    return {key: value for key, value in zip(_IMAGE_KEYS, (pixels, limits), strict=True) if value}


def stamp(path: Path, props: Mapping[str, str]) -> None:
    """Writes the properties at the end of an `.onnx` file, in the place of those that edgeport wrote before."""
    _remove(path)
    with path.open("ab") as stream:
        for key, value in props.items():
            entry = _delimited(1, key.encode()) + _delimited(2, value.encode())
            stream.write(_delimited(_PROPS, entry))


def _remove(path: Path) -> None:
    """Takes edgeport's properties away: a cut where they are the last of the file, else the file is rewritten."""
    size = path.stat().st_size
    spans = _spans(path)
    if not spans:
        return
    if spans[0][0] + sum(end - start for start, end in spans) == size:
        os.truncate(path, spans[0][0])
        return
    content, remainder, at = path.read_bytes(), bytearray(), 0
    for start, end in spans:
        remainder += content[at:start]
        at = end
    path.write_bytes(bytes(remainder) + content[at:])


def _spans(path: Path) -> list[tuple[int, int]]:
    """Where edgeport's properties lie in the file; weights are skipped over."""
    spans = []
    with mapped(path) as data:
        at = 0
        while at < len(data):
            start = at
            tag, at = varint(data, at)
            if tag & 7 != _DELIMITED:
                at = varint(data, at)[1]  # the other fields of a ModelProto are integers
                continue
            length, at = varint(data, at)
            if tag >> 3 == _PROPS and _is_ours(data[at : at + length]):
                spans.append((start, at + length))
            at += length
    return spans


def property_of(path: Path, key: str, most: int) -> bytes | None:
    """The value of one of edgeport's properties; None where the file has none of that key, or one over `most` bytes.

    Raises:
        MalformedError: the bytes are not a protocol buffer.
    """
    for start, end in _spans(path):
        if end - start <= most:
            with path.open("rb") as stream:
                stream.seek(start)
                field = memoryview(stream.read(end - start))
            entry = field[varint(field, 1)[1] :]
            if _key(entry) == key:
                length, at = varint(entry, 1)
                _, at = varint(entry, at + length + 1)
                return bytes(entry[at:])
    return None


def _key(entry: memoryview) -> str:
    length, at = varint(entry, 1)
    return bytes(entry[at : at + length]).decode(errors="replace")


def _is_ours(entry: memoryview) -> bool:
    key = _key(entry)
    return key.startswith(PREFIX) or key in _IMAGE_KEYS


def _delimited(number: int, payload: bytes) -> bytes:
    return tag(number, len(payload)) + payload
