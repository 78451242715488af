"""The nodes of a TensorFlow graph, read from its protobuf without TensorFlow, and what of them may not be there.

Field numbers: graph.proto, node_def.proto, attr_value.proto, function.proto, tensor.proto of TensorFlow 2.21.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from converters.readers.graph_ops import CHECKPOINT_OPS, is_known
from converters.readers.protobuf import Message

_SAVERS = ("__inference__traced_save", "__inference__traced_restore")


@dataclass(frozen=True)
class Node:
    """One operation. `calls` are the library functions that its attributes name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    calls: tuple[str, ...]
    message: Message = field(repr=False, compare=False)

    def attribute(self, name: str) -> Message | None:
        return next((value for key, value in self.message.map(5) if key == name), None)


@dataclass
class Graph:
    """The nodes of the graph itself and of its library's functions."""

    nodes: list[Node]
    functions: dict[str, list[Node]]

    def all_nodes(self) -> Iterator[Node]:
        yield from self.nodes
        for body in self.functions.values():
            yield from body

    def ops(self) -> Counter[str]:
        return Counter(node.op for node in self.all_nodes())


def read_graph(message: Message) -> Graph:
    """A GraphDef. Raises MalformedError."""
    library = message.message(2)
    functions: dict[str, list[Node]] = {}
    for function in library.messages(1) if library is not None else ():
        signature = function.message(1)
        name = signature.text(1) if signature is not None else ""
        functions[name] = [_node(node) for node in function.messages(3)]
    return Graph([_node(node) for node in message.messages(1)], functions)


def _node(message: Message) -> Node:
    calls = []
    for _, value in message.map(5):
        if 10 in value and (function := value.message(10)) is not None:
            calls.append(function.text(1))
        listed = value.message(1)
        if listed is not None and 9 in listed:
            calls.extend(function.text(1) for function in listed.messages(9))
    return Node(message.text(1), message.text(2), tuple(message.texts(3)), tuple(calls), message)


def foreign_ops(graph: Graph, roots: Iterable[str]) -> list[tuple[str, str]]:
    """(operation, node) of what makes up no model: unknown operations anywhere, and checkpoint files in what runs.

    Args:
        roots: the nodes that a user of the graph runs: outputs of signatures, initialisation.
    """
    # An operation may also be the name of a library function: that is a call.
    found = [(n.op, n.name) for n in graph.all_nodes() if not is_known(n.op) and n.op not in graph.functions]
    return found + [(n.op, n.name) for n in _reached(graph, roots) if n.op in CHECKPOINT_OPS]


def _reached(graph: Graph, roots: Iterable[str]) -> list[Node]:
    """What running `roots` runs, function bodies too; and every function that is not the saver's own."""
    nodes = {node.name: node for node in graph.nodes}
    pending = [nodes[name] for root in roots if (name := producer(root)) in nodes]
    functions = [name for name in graph.functions if not name.startswith(_SAVERS)]
    seen_nodes, seen_functions = {node.name for node in pending}, set(functions)
    reached: list[Node] = []
    while pending or functions:
        if functions:
            body = graph.functions.get(functions.pop(), [])
            reached += body
            called = [name for node in body for name in _called(node, graph)]
        else:
            node = pending.pop()
            reached.append(node)
            called = _called(node, graph)
            for name in map(producer, node.inputs):
                if name in nodes and name not in seen_nodes:
                    seen_nodes.add(name)
                    pending.append(nodes[name])
        fresh = [name for name in called if name not in seen_functions]
        seen_functions.update(fresh)
        functions += fresh
    return reached


def _called(node: Node, graph: Graph) -> list[str]:
    return [*node.calls, *([node.op] if node.op in graph.functions else [])]


def producer(reference: str) -> str:
    """The node behind `^name`, `name` or `name:output`."""
    return reference.lstrip("^").split(":")[0]
