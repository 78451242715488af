"""The nodes of a TensorFlow graph, read from its protobuf without TensorFlow.

Field numbers: graph.proto, node_def.proto of TensorFlow 2.21.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from converters.readers.protobuf import Message


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
