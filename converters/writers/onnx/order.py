"""The order of an ONNX graph's nodes that depends on the graph alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def in_order(graph: Any, outputs: Sequence[str]) -> list[Any]:
    """Depth-first postorder from the outputs, with an explicit stack: deep networks overflow Python's."""
    producer = {name: node for node in graph.node for name in node.output if name}
    order: list[Any] = []
    visited: set[int] = set()
    stack: list[tuple[Any, Iterator[str]]] = []
    for output in outputs:
        if output in producer:
            stack.append((producer[output], iter(inputs_of(producer[output]))))
        while stack:
            node, names = stack[-1]
            if id(node) in visited:
                stack.pop()
                continue
            following = next((n for n in names if n in producer and id(producer[n]) not in visited), None)
            if following is None:
                visited.add(id(node))
                order.append(node)
                stack.pop()
            else:
                stack.append((producer[following], iter(inputs_of(producer[following]))))
    return order


def has_subgraph(node: Any) -> bool:
    """True for loops and branches."""
    return any(a.HasField("g") or a.graphs for a in node.attribute)


def inputs_of(node: Any) -> list[str]:
    """The names that a node reads, those that its subgraphs take from outside included."""
    names = [i for i in node.input if i]
    for attribute in node.attribute:
        for body in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            inner = {v.name for v in (*body.input, *body.initializer)} | {o for n in body.node for o in n.output}
            names += [n for node_ in body.node for n in inputs_of(node_) if n not in inner]
            names += [o.name for o in body.output if o.name not in inner]
    return names
