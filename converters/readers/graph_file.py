"""Contents of a frozen graph (`.pb`, a GraphDef whose weights are constants), read without TensorFlow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from converters.errors import UsageError
from converters.readers.facts import MalformedError, TensorFact, WeightFact, checked_shape, mapped, refusing
from converters.readers.protobuf import Message
from converters.readers.saved_model_file import DTYPES, VARIABLE_OPS
from converters.readers.saved_model_ops import read_graph_ops

_NO_RESULT = frozenset({"NoOp", "Assert", "Const", "Placeholder", "PlaceholderV2", "Assign", "SaveV2", "RestoreV2"})
_INPUT_OPS = frozenset({"Placeholder", "PlaceholderV2"})
_NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")


@dataclass
class GraphFacts:
    """A frozen graph.

    Attributes:
        inputs: its placeholders; a tensor is named `node:0`.
        outputs: results of nodes that nothing else uses and that depend on an input; shapes are not stored.
        foreign: operations that make up no model, with the node's name.
        has_variables: it is not frozen: its weights lie elsewhere.
    """

    inputs: list[TensorFact] = field(default_factory=list)
    outputs: list[TensorFact] = field(default_factory=list)
    ops: Counter[str] = field(default_factory=Counter)
    weights: list[WeightFact] = field(default_factory=list)
    foreign: list[tuple[str, str]] = field(default_factory=list)
    has_variables: bool = False
    names: frozenset[str] = frozenset()


def read_graph_file(path: Path) -> GraphFacts:
    """Reads the facts of a `.pb` file.

    Raises:
        RefusedError: damaged, or no GraphDef.
        UsageError: it cannot be read.
    """
    with refusing(path, "frozen graph (GraphDef)"), mapped(path) as data:
        graph = Message(data)
        nodes = list(nodes_of(graph))
        if not nodes or not all(_NODE_NAME.fullmatch(node.name) and node.op for node in nodes):
            raise MalformedError("it has no nodes with a name and an operation")
        ends = _ends(nodes)
        ops = read_graph_ops(graph, [node.name for node in ends])
        facts = GraphFacts(ops=ops.counts, foreign=ops.unsafe, names=frozenset(node.name for node in nodes))
        facts.has_variables = bool(VARIABLE_OPS & facts.ops.keys())
        facts.inputs = [_placeholder(node) for node in nodes if node.op in _INPUT_OPS]
        facts.outputs = [TensorFact(f"{node.name}:0", None, _dtype(node)) for node in ends]
        facts.weights = [fact for node in nodes if node.op == "Const" and (fact := _constant(node)) is not None]
    return facts


def chosen_tensors(
    path: Path, facts: GraphFacts, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The tensors that the graph is fed and asked for: those named, else its placeholders and its ends.

    Raises:
        UsageError: a tensor is not in the graph, or the graph shows none by itself.
    """
    for tensor in (*inputs, *outputs):
        if producer(tensor) not in facts.names:
            from difflib import get_close_matches

            near = get_close_matches(producer(tensor), sorted(facts.names), n=5)
            raise UsageError(
                f"{path} has no node `{producer(tensor)}`.",
                file=path,
                step="scan",
                next_step=f"Did you mean {', '.join(near)}?" if near else "`edgeport inspect` lists its ends.",
            )
    input_tensors = [_tensor(name) for name in inputs] or [fact.name for fact in facts.inputs]
    output_tensors = [_tensor(name) for name in outputs] or [fact.name for fact in facts.outputs]
    for side, option, tensors in (
        ("input", "--graph-input", input_tensors),
        ("output", "--graph-output", output_tensors),
    ):
        if not tensors:
            raise UsageError(
                f"{path} shows no {side} by itself.", next_step=f"Name it with {option} NODE.", file=path, step="scan"
            )
    return input_tensors, output_tensors


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _placeholder(node: Node) -> TensorFact:
    shape = node.attribute("shape")
    value = shape.message(7) if shape is not None else None
    dims = None
    if value is not None and not value.integer(3):
        dims = tuple(d if (d := dim.integer(1)) >= 0 else None for dim in value.messages(2))
    return TensorFact(f"{node.name}:0", dims or None, _dtype(node))


def _dtype(node: Node) -> str:
    for name in ("dtype", "DstT", "T", "out_type", "output_type"):
        value = node.attribute(name)
        if value is not None and (dtype := DTYPES.get(value.integer(6))):
            return dtype
    return "float32"


def _ends(nodes: Sequence[Node]) -> list[Node]:
    """Nodes whose results nothing uses, of those that an input reaches (of all, where there is no placeholder)."""
    consumers: dict[str, list[str]] = {}
    for node in nodes:
        for name in map(producer, node.inputs):
            consumers.setdefault(name, []).append(node.name)
    pending = [node.name for node in nodes if node.op in _INPUT_OPS] or [node.name for node in nodes]
    reached = set(pending)
    while pending:
        fresh = [name for name in consumers.get(pending.pop(), ()) if name not in reached]
        reached.update(fresh)
        pending += fresh
    return [n for n in nodes if n.name not in consumers and n.name in reached and n.op not in _NO_RESULT]


def _constant(node: Node) -> WeightFact | None:
    value = node.attribute("value")
    tensor = value.message(8) if value is not None else None
    if tensor is None:
        return None
    shape = tensor.message(2)
    dims = tuple(dim.integer(1) for dim in shape.messages(2)) if shape is not None else ()
    dtype = DTYPES.get(tensor.integer(1), "unknown")
    return WeightFact(node.name, checked_shape(dims, f"the constant {node.name!r}"), dtype)


@dataclass(frozen=True)
class Node:
    """One operation of the graph itself."""

    name: str
    op: str
    inputs: tuple[str, ...]
    message: Message = field(repr=False, compare=False)

    def attribute(self, name: str) -> Message | None:
        """The AttrValue of that name."""
        return next((value for key, value in self.message.map(5) if key == name), None)


def nodes_of(graph: Message) -> Iterator[Node]:
    """The nodes of a GraphDef. Raises MalformedError."""
    for node in graph.messages(1):
        yield Node(node.text(1), node.text(2), tuple(node.texts(3)), node)


def producer(reference: str) -> str:
    """The node behind `^name`, `name` or `name:output`."""
    return reference.lstrip("^").split(":")[0]
