"""Outputs that the network goes on with: they are no outputs while the quantizer works.

The quantizer knows what to do with an output that nothing else reads. One that an operation reads too, or that is given
out twice, it makes an integer here and a float there. So each becomes a tensor inside the network that one more
operation reads, in float: for such a reader the quantizer makes a float tensor, and that is the output afterwards.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.readers.facts import mapped
from converters.writers.tflite.tables import input_entries, operation, output_entries, packed, parsed

_READER = "edgeport/output/"
"""What the readers' names begin with."""

STAY_FLOAT = f"^{_READER}"
"""A pattern of names: for the quantizer's rule that leaves the readers in float."""


@dataclass(frozen=True)
class Apart:
    """A file whose shared outputs are read by operations instead.

    Attributes:
        readers: by output, its reader's number; None where the output stayed one.
        entries: the same by output entry of the signatures.
    """

    content: bytearray
    readers: tuple[int | None, ...]
    entries: tuple[int | None, ...]


def outputs_apart(path: Path) -> Apart | None:
    """None where every output is given out once and read by nothing."""
    shared = _shared(path)
    if not shared:
        return None
    from ai_edge_litert import schema_py_generated as schema

    model = parsed(path.read_bytes())
    graph = model.subgraphs[0]
    for k, tensor in enumerate(shared):
        result = schema.TensorT()
        result.name, result.type, result.shape = f"{_READER}{k}".encode(), schema.TensorType.INT32, [0]
        graph.tensors.append(result)
        reader = operation(model, "SHAPE", tensor, len(graph.tensors) - 1)
        reader.builtinOptionsType, reader.builtinOptions = schema.BuiltinOptions.ShapeOptions, schema.ShapeOptionsT()
        reader.builtinOptions.outType = schema.TensorType.INT32
        graph.operators.append(reader)
    number = {tensor: k for k, tensor in enumerate(shared)}
    readers = tuple(number.get(int(tensor)) for tensor in graph.outputs)
    entries = tuple(number.get(int(entry.tensorIndex)) for entry in output_entries(model))
    graph.outputs = [int(tensor) for tensor in graph.outputs if int(tensor) not in number]
    return Apart(bytearray(packed(model)), readers, entries)


def outputs_together(content: bytes, apart: Apart) -> bytes:
    """The quantized file with its outputs in their places, and without their readers."""
    model = parsed(content)
    graph = model.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    readers = [op for op in graph.operators if len(op.outputs) and names[int(op.outputs[0])].startswith(_READER)]
    tensors = [int(op.inputs[0]) for op in readers]
    graph.operators = [op for op in graph.operators if op not in readers]
    others = iter([int(k) for k in graph.outputs])
    graph.outputs = [next(others) if reader is None else tensors[reader] for reader in apart.readers]
    for entry, reader in zip(output_entries(model), apart.entries, strict=True):
        entry.tensorIndex = int(entry.tensorIndex) if reader is None else tensors[reader]
    _drop(model, [int(op.outputs[0]) for op in readers])
    return packed(model)


def _shared(path: Path) -> list[int]:
    """The output tensors of the main graph that an operation reads or that are given out more than once."""
    from ai_edge_litert import schema_py_generated as schema

    with mapped(path) as data:
        graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
        times = Counter(graph.Outputs(k) for k in range(graph.OutputsLength()))
        operations = [graph.Operators(k) for k in range(graph.OperatorsLength())]
        read = {op.Inputs(k) for op in operations for k in range(op.InputsLength())}
    return [tensor for tensor, count in times.items() if count > 1 or tensor in read]


def _drop(model: Any, tensors: list[int]) -> None:
    """Takes tensors that nothing uses any more out of the main graph."""
    graph = model.subgraphs[0]
    kept = [k for k in range(len(graph.tensors)) if k not in tensors]
    place = {-1: -1} | {old: new for new, old in enumerate(kept)}
    graph.tensors = [graph.tensors[k] for k in kept]
    for op in graph.operators:
        op.inputs, op.outputs = ([place[int(k)] for k in ends] for ends in (op.inputs, op.outputs))
    graph.inputs, graph.outputs = ([place[int(k)] for k in ends] for ends in (graph.inputs, graph.outputs))
    for entry in (*input_entries(model), *output_entries(model)):
        entry.tensorIndex = place[int(entry.tensorIndex)]
