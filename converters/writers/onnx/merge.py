"""Equal nodes and equal constants become one; which of them stays depends on the graph's structure alone.

tf2onnx merges them too, but keeps whichever a Python set hands out first, so that names differ between processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.arrays import Array
from converters.writers.onnx.order import has_subgraph, in_order

_SAMPLE = 1024  # numbers of a constant that tell whether another is worth comparing: weights are large, rarely equal


def merge_equal(model: Any, constants: dict[str, Array], outputs: Sequence[str]) -> None:
    """Changes `model` and `constants` in place; `outputs` keep their names and their own nodes."""
    same = _equal_constants(constants, [i for node in in_order(model.graph, outputs) for i in node.input])
    nodes: list[Any] = []
    by_key: dict[tuple[Any, ...], Any] = {}
    for node in in_order(model.graph, outputs):
        _redirect(node, same)
        twin = None if has_subgraph(node) else by_key.setdefault(_key(node), node)
        if twin is None or twin is node or set(node.output) & set(outputs):
            nodes.append(node)
        else:
            same.update(zip(node.output, twin.output, strict=True))
    refill(model.graph.node, nodes)


def _redirect(node: Any, same: Mapping[str, str]) -> None:
    """Lets a node read other values, and the bodies of loops and branches that take them from outside."""
    node.input[:] = [same.get(i, i) for i in node.input]
    for attribute in node.attribute:
        for body in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            for inner in body.node:  # no name stands for two values, inside and outside
                _redirect(inner, same)
            for value in body.output:
                value.name = same.get(value.name, value.name)


def settle_identities(body: Any) -> None:
    """Rebuilds a loop body's Identity nodes: one for each output whose value no node makes or an earlier output has.

    Which of two outputs an Identity stands at is left to chance by tf2onnx.
    """
    from onnx import helper

    alias: dict[str, str] = {}
    nodes = []
    for node in body.node:
        node.input[:] = [alias.get(i, i) for i in node.input]
        if node.op_type == "Identity":
            alias[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    free = {name for node in nodes for name in node.output}
    for value in body.output:
        source = alias.get(value.name, value.name)
        if source in free:
            free.remove(source)
            value.name = source
        else:
            nodes.append(helper.make_node("Identity", [source], [f"{source}/handed_on_{len(nodes)}"], name="handed_on"))
            value.name = nodes[-1].output[0]
    refill(body.node, nodes)


def refill(field: Any, items: Sequence[Any]) -> None:
    """Replaces the messages of a repeated field, by some that may be in it."""
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)


def _key(node: Any) -> tuple[Any, ...]:
    attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
    return node.domain, node.op_type, tuple(node.input), len(node.output), tuple(attributes)


def _equal_constants(constants: dict[str, Array], names: Sequence[str]) -> dict[str, str]:
    """Each constant -> the first of its equals that is read."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    same: dict[str, str] = {}
    for name in dict.fromkeys(names):
        value = constants.get(name)
        if value is None:
            continue
        sample = value.flat[:: max(1, value.size // _SAMPLE)].tobytes()
        others = alike.setdefault((value.dtype.str, value.shape, sample), [])
        same[name] = next((other for other in others if _are_equal(constants[other], value)), name)
        if same[name] == name:
            others.append(name)
    return same


def _are_equal(one: Array, other: Array) -> bool:
    """To the bit: -0.0 is not 0.0, and a NaN is itself. Both have the same dtype and shape."""
    return one is other or one.size <= _SAMPLE or one.tobytes() == other.tobytes()
