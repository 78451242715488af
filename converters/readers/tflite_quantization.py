"""Scale and zero point of the integer ends of a `.tflite` file. Apart, as a reader that others may use."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TypeVar

from converters.readers import tflite_schema as schema
from converters.readers.facts import MalformedError, mapped, refusing
from converters.readers.flatbuffer import Buffer, Table
from converters.readers.tflite_file import IDENTIFIER

_T = TypeVar("_T")

Quantization = tuple[float, int]
"""Scale and zero point: a code q stands for (q - zero point) * scale."""


def read_end_quantization(path: Path) -> dict[str, Quantization]:
    """By name, the quantization of those inputs and outputs of all signatures that have one for the whole tensor.

    Raises:
        RefusedError: the bytes are not a TFLite model.
        UsageError: the file cannot be read.
    """
    quantizations: dict[str, Quantization] = {}
    with refusing(path, "TFLite model"), mapped(path) as data:
        if bytes(data[4:8]) != IDENTIFIER:
            raise MalformedError("it does not carry the mark TFL3")
        model = Buffer(data).root()
        graphs = [list(graph.tables(schema.SubGraph.TENSORS)) for graph in model.tables(schema.Model.SUBGRAPHS)]
        for signature in model.tables(schema.Model.SIGNATURES):
            graph = _at(graphs, signature.scalar(schema.SignatureDef.SUBGRAPH, "I"))
            for side in (schema.SignatureDef.INPUTS, schema.SignatureDef.OUTPUTS):
                for end in signature.tables(side):
                    tensor = _at(graph, end.scalar(schema.TensorMap.INDEX, "I"))
                    if quantization := _of(tensor, data):
                        quantizations[end.text(schema.TensorMap.NAME)] = quantization
    return quantizations


def _of(tensor: Table, data: memoryview) -> Quantization | None:
    table = tensor.table(schema.Tensor.QUANTIZATION)
    if table is None:
        return None
    scale_at, scales = table.vector(schema.Quantization.SCALE, 4)
    zero_at, zeros = table.vector(schema.Quantization.ZERO_POINT, 8)
    if scales != 1 or zeros > 1:
        return None
    scale = float(struct.unpack_from("<f", data, scale_at)[0])
    return (scale, int(struct.unpack_from("<q", data, zero_at)[0]) if zeros else 0) if scale else None


def _at(items: list[_T], index: int) -> _T:
    if not 0 <= index < len(items):
        raise MalformedError(f"it points to part {index} of {len(items)}")
    return items[index]
