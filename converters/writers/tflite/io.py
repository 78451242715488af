"""The ends of a quantized `.tflite` file: their batch dimension, and integers instead of floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.errors import UnsupportedError
from converters.readers.tflite_schema import DEPRECATED_LIMIT
from converters.writers.tflite.tables import (
    code_of,
    input_entries,
    kind_of,
    likeness,
    operation,
    output_entries,
    packed,
    parsed,
    replaced,
)

IO_TYPES: dict[str, str | None] = {"float": None, "int8": "int8", "uint8": "uint8"}
_UINT8_SHIFT = 128
"""int8 and uint8 codes of the same numbers differ by this: codes and zero point move together."""

_OF_INTEGERS = 2
"""The version of QUANTIZE that takes integers, and of DEQUANTIZE that takes int8."""


def repaired(content: bytes) -> bytes:
    """Mends what the quantizer leaves out of the QUANTIZE and DEQUANTIZE operations that it adds.

    It copies a tensor's `shape` and not its `shape_signature`, so that an output says it holds one sample. And it
    writes their code in the new field alone: readers of the old one, OpenVINO among them, find 0 there, which is ADD
    (schema.fbs: a code below 127 stands in both).
    """
    model = parsed(content)
    for code in model.operatorCodes:
        code.deprecatedBuiltinCode = min(max(code.builtinCode, code.deprecatedBuiltinCode), DEPRECATED_LIMIT)
    for graph in model.subgraphs:
        for op in graph.operators:
            if kind_of(model, op) not in {"QUANTIZE", "DEQUANTIZE"}:
                continue
            source, result = (graph.tensors[int(ends[0])] for ends in (op.inputs, op.outputs))
            for bare, full in ((result, source), (source, result)):
                if bare.shapeSignature is None and full.shapeSignature is not None:
                    bare.shapeSignature = full.shapeSignature
    return packed(model)


def with_sizes(content: bytes | bytearray, shapes: Mapping[str, Sequence[int]]) -> bytearray:
    """The file with sizes in place of unknown ones, which it says are 1: the quantizer allocates its tensors.

    Args:
        shapes: by input.
    """
    model = parsed(content)
    for entry in input_entries(model):
        model.subgraphs[0].tensors[entry.tensorIndex].shape = list(shapes[entry.name.decode()])
    return bytearray(packed(model))


def without_sizes(content: bytes) -> bytes:
    """Undoes `with_sizes`."""
    model = parsed(content)
    for tensor in model.subgraphs[0].tensors:
        if tensor.shapeSignature is not None:
            tensor.shape = [1 if size == -1 else size for size in tensor.shapeSignature]
    return packed(model)


def integer_ends(content: bytes, io: str, ranges: Mapping[str, Any]) -> bytes:
    """Drops the QUANTIZE after each float input and the DEQUANTIZE before each float output.

    For `uint8` the two stay as requantizations between uint8 and int8, with the same scale and a zero point 128 higher.
    An end beside which everything computes in float gets a QUANTIZE or DEQUANTIZE of its own.

    Args:
        ranges: by tensor, `min` and `max` over the calibration data.

    Raises:
        UnsupportedError: the range of a float input or output is not known.
    """
    model = parsed(content)
    graph = model.subgraphs[0]
    for index in dict.fromkeys(map(int, graph.inputs)):
        if _is_float(graph, index):
            _quantize_input(model, index, io, ranges)
            _integer_input(model, index, io)
    for index in dict.fromkeys(map(int, graph.outputs)):
        if _is_float(graph, index):
            _integer_output(model, _behind_dequantize(model, index, io, ranges), io)
    return packed(model)


def _quantize_input(model: Any, index: int, io: str, ranges: Mapping[str, Any]) -> None:
    """Puts a QUANTIZE behind an input that has none."""
    graph = model.subgraphs[0]
    if not any(index in op.inputs and kind_of(model, op) == "QUANTIZE" for op in graph.operators):
        inner = _int8(graph, index, ranges, io)
        graph.operators.insert(0, operation(model, "QUANTIZE", index, inner))


def _behind_dequantize(model: Any, index: int, io: str, ranges: Mapping[str, Any]) -> int:
    """The output, or the one that is put in its place, behind a QUANTIZE and a DEQUANTIZE, where it has none."""
    graph = model.subgraphs[0]
    if not any(index in op.outputs and kind_of(model, op) == "DEQUANTIZE" for op in graph.operators):
        inner, end = _int8(graph, index, ranges, io), likeness(graph, index, "_float")
        graph.operators.append(operation(model, "QUANTIZE", index, inner))
        graph.operators.append(operation(model, "DEQUANTIZE", inner, end, _OF_INTEGERS))
        graph.outputs = replaced(graph.outputs, output_entries(model), index, end)
        return end
    return index


def _int8(graph: Any, index: int, ranges: Mapping[str, Any], io: str) -> int:
    """The index of a new int8 tensor for the numbers of a float tensor."""
    from ai_edge_litert import schema_py_generated as schema

    name = graph.tensors[index].name.decode()
    if name not in ranges:
        raise UnsupportedError(
            f"`{name}` cannot become {io}: the range of its values is not known.",
            next_step="Export with --io float.",
            step="convert",
        )
    low, high = min(0.0, float(np.min(ranges[name]["min"]))), max(0.0, float(np.max(ranges[name]["max"])))
    scale = (high - low) / 255 or 1.0
    inner = likeness(graph, index, "_int8")
    graph.tensors[inner].type = schema.TensorType.INT8
    graph.tensors[inner].quantization = schema.QuantizationParametersT()
    graph.tensors[inner].quantization.scale = [scale]
    graph.tensors[inner].quantization.zeroPoint = [round(-128 - low / scale)]
    return inner


def _integer_input(model: Any, index: int, io: str) -> None:
    """The input becomes what the finest QUANTIZE that reads it gives; whatever else reads it reads that."""
    graph = model.subgraphs[0]
    readers = [op for op in graph.operators if index in op.inputs]
    quantizers = [op for op in readers if kind_of(model, op) == "QUANTIZE"]
    first = min(quantizers, key=lambda op: float(graph.tensors[int(op.outputs[0])].quantization.scale[0]))
    inner = int(first.outputs[0])
    integers = [op for op in readers if op is not first and kind_of(model, op) in {"QUANTIZE", "SHAPE"}]
    begin = _begin_in_float(model, index, inner)
    for op in integers:
        _read(op, index, inner)
        if kind_of(model, op) == "QUANTIZE":
            op.opcodeIndex = code_of(model, "QUANTIZE", _OF_INTEGERS)
    if io == "uint8":
        _requantize(model, first, index, inner)
        if begin or integers:  # they may stand before it
            graph.operators.remove(first)
            graph.operators.insert(0, first)
    else:
        graph.operators.remove(first)
        graph.inputs = replaced(graph.inputs, input_entries(model), index, inner)
    place = 1 if io == "uint8" else 0
    graph.operators[place:place] = begin


def _begin_in_float(model: Any, index: int, inner: int) -> list[Any]:
    """The DEQUANTIZE for what goes on with an input in float, or gives it out; nothing where nothing does."""
    graph = model.subgraphs[0]
    readers = [op for op in graph.operators if index in op.inputs and kind_of(model, op) not in {"QUANTIZE", "SHAPE"}]
    if not readers and index not in graph.outputs:
        return []
    plain = likeness(graph, index, "_float")
    for op in readers:
        _read(op, index, plain)
    graph.outputs = replaced(graph.outputs, output_entries(model), index, plain)
    return [operation(model, "DEQUANTIZE", inner, plain, _OF_INTEGERS)]


def _integer_output(model: Any, index: int, io: str) -> None:
    """The output becomes what its DEQUANTIZE reads, which stays where an operation goes on with the floats."""
    graph = model.subgraphs[0]
    makers = [op for op in graph.operators if index in op.outputs]
    inner, end = int(makers[0].inputs[0]), index
    read = any(index in op.inputs for op in graph.operators)
    if io == "uint8":
        if read:
            end = likeness(graph, index, "_uint8")
            makers[0] = operation(model, "QUANTIZE", inner, end, _OF_INTEGERS)
            graph.operators.append(makers[0])
        _requantize(model, makers[0], end, inner)
    else:
        end = inner
        if not read:
            graph.operators.remove(makers[0])
    graph.outputs = replaced(graph.outputs, output_entries(model), index, end)


def _requantize(model: Any, op: Any, end: int, inner: int) -> None:
    """Makes `op` a QUANTIZE between the uint8 `end` and the int8 `inner`."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    tensor, source = graph.tensors[end], graph.tensors[inner].quantization
    tensor.type = schema.TensorType.UINT8
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = list(source.scale)
    tensor.quantization.zeroPoint = [int(z) + _UINT8_SHIFT for z in source.zeroPoint]
    op.opcodeIndex = code_of(model, "QUANTIZE", _OF_INTEGERS)
    op.builtinOptions, op.builtinOptionsType = None, schema.BuiltinOptions.NONE


def _read(op: Any, old: int, new: int) -> None:
    op.inputs = [new if int(k) == old else int(k) for k in op.inputs]


def _is_float(graph: Any, index: int) -> bool:
    return int(graph.tensors[index].type) == 0  # TensorType.FLOAT32
