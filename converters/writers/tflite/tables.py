"""A `.tflite` file as objects that can be changed, and what the steps after the quantizer ask of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converters.readers.facts import mapped


def parsed(content: bytes | bytearray) -> Any:
    """The file as a tree of the schema's objects."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for buffer in model.buffers:
        if buffer.data is not None:  # packed as an array in one go; bytes are packed one at a time, 1 MB a second
            buffer.data = np.frombuffer(buffer.data, np.uint8)
    return model


def graph_count(path: Path) -> int:
    """How many graphs the file has: more than one where there is a loop or a condition."""
    from ai_edge_litert import schema_py_generated as schema

    with mapped(path) as data:
        return int(schema.Model.GetRootAs(data, 0).SubgraphsLength())


def has_scales(content: bytes) -> bool:
    """Whether any tensor has a scale, by which integers stand for floats."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graphs = [model.Subgraphs(k) for k in range(model.SubgraphsLength())]
    tensors = (graph.Tensors(k) for graph in graphs for k in range(graph.TensorsLength()))
    return any(
        t.Quantization() is not None and (t.Quantization().ScaleLength() or t.Quantization().DetailsType())
        for t in tensors
    )


def packed(model: Any) -> bytes:
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def kind_of(model: Any, operation: Any) -> str:
    """The name of a built-in operation."""
    from converters.readers.tflite_schema import BUILTIN_OPERATORS

    return BUILTIN_OPERATORS[_number(model.operatorCodes[operation.opcodeIndex])]


def code_of(model: Any, kind: str, version: int) -> int:
    """The index of an operator code, in this version at least; it is added where the file lacks it."""
    from ai_edge_litert import schema_py_generated as schema

    builtin = getattr(schema.BuiltinOperator, kind)
    for k, code in enumerate(model.operatorCodes):
        if _number(code) == builtin:
            code.version = max(int(code.version), version)
            return k
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def operation(model: Any, kind: str, source: int, result: int, version: int = 1) -> Any:
    """An operation of one tensor from another."""
    from ai_edge_litert import schema_py_generated as schema

    made = schema.OperatorT()
    made.opcodeIndex = code_of(model, kind, version)
    made.inputs, made.outputs = [source], [result]
    return made


def likeness(graph: Any, index: int, suffix: str) -> int:
    """The index of a new tensor of the same shape and type, whose name ends in `suffix`."""
    from ai_edge_litert import schema_py_generated as schema

    model = graph.tensors[index]
    made = schema.TensorT()
    made.name = model.name + suffix.encode()
    made.type, made.quantization = model.type, model.quantization
    made.shape, made.shapeSignature, made.hasRank = model.shape, model.shapeSignature, model.hasRank
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def input_entries(model: Any, place: int = 0) -> list[Any]:
    """The inputs that signatures name of a graph."""
    return [entry for s in model.signatureDefs or () if s.subgraphIndex == place for entry in s.inputs]


def output_entries(model: Any, place: int = 0) -> list[Any]:
    """The outputs that signatures name of a graph."""
    return [entry for s in model.signatureDefs or () if s.subgraphIndex == place for entry in s.outputs]


def replaced(ends: Any, entries: list[Any], old: int, new: int) -> list[int]:
    """Inputs or outputs of a graph with another tensor in one's place; the signatures' entries too."""
    for entry in entries:
        entry.tensorIndex = new if int(entry.tensorIndex) == old else int(entry.tensorIndex)
    return [new if int(k) == old else int(k) for k in ends]


def _number(code: Any) -> int:
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
