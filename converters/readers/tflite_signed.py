"""A `.tflite` without a signature, as most of the world's are, as if it had one: of its tensors' names, cleaned.

    [ new root: Model table, the signature ][ the file as it was ]

Whatever asks a file for its signature, a runtime, a tap or a quantizer, then takes these as it takes all others.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from converters.readers import tflite_schema as schema
from converters.readers.facts import MalformedError, refusing
from converters.readers.flatbuffer import Buffer, Table
from converters.readers.flatbuffer_head import ALIGNMENT, Head
from converters.readers.tflite_file import IDENTIFIER, read_tflite
from converters.signature import SIGNATURE_KEY, tensor_names

NOTE = "The file has no signature: its inputs and outputs have the names of their tensors."

_HEADER = struct.Struct("<I4s")  # root offset, identifier
_Ends = Sequence[tuple[str, int]]


def signed(path: Path) -> bytes | None:
    """The file's bytes with a signature; None for a file that has one, or that cannot be given one (over 2 GiB).

    Raises:
        RefusedError: the bytes are not a TFLite model.
        UsageError: the file cannot be read.
    """
    if read_tflite(path).signatures:
        return None
    with refusing(path, "TFLite model"):
        content = path.read_bytes()
        model = Buffer(memoryview(content)).root()
        if any(buffer.scalar(schema.Buffer.OFFSET, "Q") > 1 for buffer in model.tables(schema.Model.BUFFERS)):
            return None  # weights behind the flatbuffer are named by their place, which would move
        return _head(model) + content


def _head(model: Table) -> bytes:
    graph = next(model.tables(schema.Model.SUBGRAPHS))
    tensors = [tensor.text(schema.Tensor.NAME) for tensor in graph.tables(schema.SubGraph.TENSORS)]
    places = {field: place for field in schema.Model.BY_OFFSET if (place := model.target(field)) is not None}
    head = Head(_HEADER.size)
    root = head.table(schema.Model.FIELDS)
    head.put(root + 4 + 4 * schema.Model.VERSION, model.scalar(schema.Model.VERSION, "I"))
    signatures = head.vector(1)
    signature = head.table(5)
    head.point(signatures + 4, signature)
    for number, ends in (
        (schema.SignatureDef.INPUTS, graph.int32s(schema.SubGraph.INPUTS)),
        (schema.SignatureDef.OUTPUTS, graph.int32s(schema.SubGraph.OUTPUTS)),
    ):
        if any(not 0 <= index < len(tensors) for index in ends):
            raise MalformedError("its inputs or outputs are no tensors of it")
        names = tensor_names(tensors[index] for index in ends)
        head.field(signature, number, _maps(head, list(zip(names, ends, strict=True))))
    head.field(signature, schema.SignatureDef.KEY, head.text(SIGNATURE_KEY))
    head.field(signature, schema.SignatureDef.UNUSED, None)
    head.field(signature, schema.SignatureDef.SUBGRAPH, None)  # 0, the first
    head.align(ALIGNMENT)
    size = len(head.data)
    targets = {field: size + place for field, place in places.items()} | {schema.Model.SIGNATURES: signatures}
    for field in schema.Model.BY_OFFSET:
        head.field(root, field, targets.get(field))
    _HEADER.pack_into(head.data, 0, root, IDENTIFIER)
    return bytes(head.data)


def _maps(head: Head, ends: _Ends) -> int:
    """A vector of TensorMaps; returns its place."""
    vector = head.vector(len(ends))
    for k, (name, index) in enumerate(ends):
        entry = head.table(2)
        head.point(vector + 4 + 4 * k, entry)
        head.field(entry, schema.TensorMap.NAME, head.text(name))
        head.put(entry + 4 + 4 * schema.TensorMap.INDEX, index)
    return vector
