"""The ends of a quantized `.tflite` file: their batch dimension, and integers instead of floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.errors import UnsupportedError

IO_TYPES: dict[str, str | None] = {"float": None, "int8": "int8", "uint8": "uint8"}
_UINT8_SHIFT = 128
"""int8 and uint8 codes of the same numbers differ by this: codes and zero point move together."""


def restore_batch(content: bytes) -> bytes:
    """Gives the QUANTIZE and DEQUANTIZE results that the quantizer added the batch dimension of their source.

    The quantizer copies a tensor's `shape` and not its `shape_signature`, so that an output says it holds one sample.
    """
    model, utils = _parsed(content)
    for graph in model.subgraphs:
        for operation in graph.operators:
            if _name(model, operation) not in {"QUANTIZE", "DEQUANTIZE"}:
                continue
            source, result = (graph.tensors[int(ends[0])] for ends in (operation.inputs, operation.outputs))
            for bare, full in ((result, source), (source, result)):
                if bare.shapeSignature is None and full.shapeSignature is not None:
                    bare.shapeSignature = full.shapeSignature
    return _packed(model, utils)


def integer_ends(content: bytes, io: str) -> bytes:
    """Drops the QUANTIZE after each float input and the DEQUANTIZE before each float output.

    For `uint8` the two stay as requantizations between uint8 and int8, with the same scale and a zero point 128 higher.

    Raises:
        UnsupportedError: a float input or output is not quantized right at the end.
    """
    model, utils = _parsed(content)
    graph = model.subgraphs[0]
    for k, index in enumerate(list(graph.inputs)):
        if _is_float(graph, index):
            _integer_end(model, _End(graph, k, int(index), output=False), io)
    for k, index in enumerate(list(graph.outputs)):
        if _is_float(graph, index):
            _integer_end(model, _End(graph, k, int(index), output=True), io)
    return _packed(model, utils)


@dataclass(frozen=True)
class _End:
    """An input or output of a graph: its place among them, and its tensor."""

    graph: Any
    position: int
    index: int
    output: bool


def _integer_end(model: Any, end: _End, io: str) -> None:
    graph, index, output = end.graph, end.index, end.output
    kind = "DEQUANTIZE" if output else "QUANTIZE"
    users = [op for op in graph.operators if index in (op.outputs if output else op.inputs)]
    if not users or any(_name(model, op) != kind for op in users):
        name = graph.tensors[index].name.decode()
        raise UnsupportedError(
            f"`{name}` cannot become {io}: an operation beside it computes in float.",
            next_step="Export with --io float.",
            step="convert",
        )
    operation = users[0]
    inner = int((operation.inputs if output else operation.outputs)[0])
    if io == "uint8":
        _requantized(model, graph, operation, (index, inner))
        return
    graph.operators = [op for op in graph.operators if op is not operation]
    _replace_end(model, end, inner)


def _requantized(model: Any, graph: Any, operation: Any, tensors: tuple[int, int]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    end, inner = (graph.tensors[k] for k in tensors)
    source = inner.quantization
    end.type = schema.TensorType.UINT8
    end.quantization = schema.QuantizationParametersT()
    end.quantization.scale = list(source.scale)
    end.quantization.zeroPoint = [int(z) + _UINT8_SHIFT for z in source.zeroPoint]
    operation.opcodeIndex = _quantize_code(model, schema)
    operation.builtinOptions, operation.builtinOptionsType = None, schema.BuiltinOptions.NONE


def _quantize_code(model: Any, schema: Any) -> int:
    for k, code in enumerate(model.operatorCodes):
        if max(int(code.builtinCode), int(code.deprecatedBuiltinCode)) == schema.BuiltinOperator.QUANTIZE:
            code.version = max(int(code.version), 2)  # version 2 takes integers
            return k
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _replace_end(model: Any, end: _End, new: int) -> None:
    graph = end.graph
    ends = [int(k) for k in (graph.outputs if end.output else graph.inputs)]
    ends[end.position] = new
    if end.output:
        graph.outputs = ends
    else:
        graph.inputs = ends
    for signature in model.signatureDefs or ():
        for entry in signature.outputs if end.output else signature.inputs:
            if entry.tensorIndex == end.index:
                entry.tensorIndex = new


def _is_float(graph: Any, index: int) -> bool:
    return int(graph.tensors[int(index)].type) == 0  # TensorType.FLOAT32


def _name(model: Any, operation: Any) -> str:
    from converters.readers.tflite_schema import BUILTIN_OPERATORS

    code = model.operatorCodes[operation.opcodeIndex]
    return BUILTIN_OPERATORS[max(int(code.builtinCode), int(code.deprecatedBuiltinCode))]


def _parsed(content: bytes) -> tuple[Any, Any]:
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for buffer in model.buffers:
        if buffer.data is not None:  # packed as an array in one go; bytes are packed one at a time, 1 MB a second
            buffer.data = np.frombuffer(buffer.data, np.uint8)
    return model, flatbuffer_utils


def _packed(model: Any, utils: Any) -> bytes:
    return bytes(utils.convert_object_to_bytearray(model))
