"""Contents of an `.ort` file, read from its flatbuffer without ONNX Runtime.

It is the graph as ONNX Runtime executes it, after its optimizer: fewer and other operations than in the `.onnx` file
that it was made from. Field numbers: ort.fbs of ONNX Runtime (format versions 4 to 6; they are never renumbered).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from converters.readers.facts import MalformedError, Shape, TensorFact, checked_shape, mapped, refusing
from converters.readers.flatbuffer import Buffer, Table
from converters.readers.onnx_file import (
    DEFAULT_DOMAINS,
    STANDARD_DOMAINS,
    Initializer,
    OnnxFacts,
    dtype_of,
    nbytes,
    op_name,
)

IDENTIFIER = b"ORTM"
_SESSION_MODEL = 1
_OPSETS, _PRODUCER, _GRAPH, _PROPS = 1, 2, 7, 9
_INITIALIZERS, _VALUES, _NODES, _INPUTS, _OUTPUTS = 0, 1, 2, 5, 6
_NODE_DOMAIN, _NODE_OP, _NODE_ATTRIBUTES = 2, 5, 10
_ATTRIBUTE_GRAPH = 7
_TENSOR_TYPE, _SIZE, _NAMED = 1, 1, 2
"""Which of a union it is: a tensor among types; a size or a name among dimensions."""


def read_ort(path: Path) -> OnnxFacts:
    """Reads the facts of an ONNX Runtime model; weights are skipped.

    Raises:
        RefusedError: the bytes are not an ONNX Runtime model.
        UsageError: the file cannot be read.
    """
    with refusing(path, "ONNX Runtime model"), mapped(path) as data:
        return _facts(_model(data))


def metadata_of(path: Path) -> dict[str, str]:
    """The model's `metadata_props`. Raises MalformedError, OSError."""
    with mapped(path) as data:
        return {entry.text(0): entry.text(1) for entry in _model(data).tables(_PROPS)}


def _model(data: memoryview) -> Table:
    if bytes(data[4:8]) != IDENTIFIER:
        raise MalformedError("it does not carry the mark ORTM")
    model = Buffer(data).root().table(_SESSION_MODEL)
    if model is None:
        raise MalformedError("it has no model")
    return model


def _facts(model: Table) -> OnnxFacts:
    graph = model.table(_GRAPH)
    if graph is None:
        raise MalformedError("it has no graph")
    facts = OnnxFacts(producer=model.text(_PRODUCER))
    for opset in model.tables(_OPSETS):
        domain = opset.text(0)
        facts.opsets["" if domain in DEFAULT_DOMAINS else domain] = opset.scalar(1, "q")
    values = {value.text(0): value for value in graph.tables(_VALUES)}
    facts.inputs = [_fact(name, values) for name in graph.texts(_INPUTS)]
    facts.outputs = [_fact(name, values) for name in graph.texts(_OUTPUTS)]
    for part in _graphs(graph):
        facts.initializers += [_initializer(tensor) for tensor in part.tables(_INITIALIZERS)]
        facts.ops.update(op_name(node.text(_NODE_DOMAIN), node.text(_NODE_OP)) for node in part.tables(_NODES))
    custom = (op for op in facts.ops if "::" in op and op.rpartition("::")[0] not in STANDARD_DOMAINS)
    facts.custom_ops = sorted(custom)
    return facts


def _graphs(graph: Table) -> Iterator[Table]:
    """The graph and those inside the attributes of its nodes; the buffer's limit on tables ends a circle."""
    waiting = [graph]
    while waiting:
        part = waiting.pop()
        yield part
        inner = (a.table(_ATTRIBUTE_GRAPH) for node in part.tables(_NODES) for a in node.tables(_NODE_ATTRIBUTES))
        waiting += [subgraph for subgraph in inner if subgraph is not None]


def _initializer(tensor: Table) -> Initializer:
    name = tensor.text(0)
    shape = checked_shape(tensor.int64s(2), f"the tensor {name!r}")
    dtype = dtype_of(tensor.scalar(3, "i"))
    return Initializer(name, shape, dtype, nbytes(shape, dtype))


def _fact(name: str, values: dict[str, Table]) -> TensorFact:
    kind = values[name].table(2) if name in values else None
    tensor = kind.table(2) if kind is not None and kind.scalar(1, "B") == _TENSOR_TYPE else None
    if tensor is None:
        return TensorFact(name, None, "undefined" if kind is None else "sequence")
    shape = tensor.table(1)
    return TensorFact(name, None if shape is None else _shape(shape), dtype_of(tensor.scalar(0, "i")))


def _shape(shape: Table) -> Shape:
    def size(dimension: Table) -> int | str | None:
        value = dimension.table(0)
        kind = 0 if value is None else value.scalar(0, "b")
        if value is None or kind not in (_SIZE, _NAMED):
            return None
        return value.scalar(1, "q") if kind == _SIZE else value.text(2) or None

    return tuple(size(dimension) for dimension in shape.tables(0))
