"""Outputs that the network goes on with: copies of them are the outputs while the quantizer works.

The quantizer knows what to do with an output that nothing else reads. One that an operation reads too, or that is
given out twice, it makes an integer here and a float there. So each is given out as a copy, made by an operation that
stays in float; what that operation reads in the quantized file is the output in the end. The body of a loop has such
outputs too: a state is given to the next step and read in this one.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from converters.readers.facts import mapped
from converters.writers.tflite.tables import (
    input_entries,
    likeness,
    operation,
    output_entries,
    packed,
    parsed,
    replaced,
)

_COPY = "/edgeport/copy"
"""What the copies' names end in."""

STAY_FLOAT = f"{_COPY}$|{_COPY};"
"""A pattern of names: for the quantizer's rule that leaves the copies in float."""


def outputs_apart(path: Path) -> bytearray | None:
    """The file with copies of its shared outputs as outputs; None where it has no shared ones."""
    shared = _shared(path)
    if not any(shared):
        return None
    model = parsed(path.read_bytes())
    for place, (graph, tensors) in enumerate(zip(model.subgraphs, shared, strict=True)):
        for tensor in tensors:
            copy = likeness(graph, tensor, _COPY)
            graph.operators.append(operation(model, "CAST", tensor, copy))
            graph.outputs = replaced(graph.outputs, output_entries(model, place), tensor, copy)
    return bytearray(packed(model))


def outputs_together(content: bytes) -> bytes:
    """The quantized file with its own outputs in place of the copies."""
    model = parsed(content)
    for place, graph in enumerate(model.subgraphs):
        copies = [k for k, tensor in enumerate(graph.tensors) if tensor.name.decode().endswith(_COPY)]
        makers = [op for op in graph.operators if any(int(k) in copies for k in op.outputs)]
        for op in makers:
            source, copy = int(op.inputs[0]), int(op.outputs[0])
            graph.outputs = replaced(graph.outputs, output_entries(model, place), copy, source)
        graph.operators = [op for op in graph.operators if op not in makers]
        _drop(model, place, copies)
    return packed(model)


def _drop(model: Any, place: int, tensors: list[int]) -> None:
    """Takes tensors that nothing uses any more out of a graph."""
    graph = model.subgraphs[place]
    kept = [k for k in range(len(graph.tensors)) if k not in tensors]
    moved = {-1: -1} | {old: new for new, old in enumerate(kept)}
    graph.tensors = [graph.tensors[k] for k in kept]
    for op in graph.operators:
        op.inputs, op.outputs = ([moved[int(k)] for k in ends] for ends in (op.inputs, op.outputs))
    graph.inputs, graph.outputs = ([moved[int(k)] for k in ends] for ends in (graph.inputs, graph.outputs))
    for entry in (*input_entries(model, place), *output_entries(model, place)):
        entry.tensorIndex = moved[int(entry.tensorIndex)]


def _shared(path: Path) -> list[list[int]]:
    """By graph, the output tensors that an operation reads or that are given out more than once."""
    from ai_edge_litert import schema_py_generated as schema

    with mapped(path) as data:
        model = schema.Model.GetRootAs(data, 0)
        return [_shared_of(model.Subgraphs(k)) for k in range(model.SubgraphsLength())]


def _shared_of(graph: Any) -> list[int]:
    times = Counter(graph.Outputs(k) for k in range(graph.OutputsLength()))
    operations = [graph.Operators(k) for k in range(graph.OperatorsLength())]
    read = {op.Inputs(k) for op in operations for k in range(op.InputsLength())}
    return [tensor for tensor, count in times.items() if count > 1 or tensor in read]
