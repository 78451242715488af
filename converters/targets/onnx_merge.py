"""Equal nodes and equal small constants become one; which of them stays depends on the graph's structure alone.

tf2onnx merges them too, but keeps whichever a Python set hands out first, so that names differ between processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converters.targets.onnx_graph import has_subgraph, in_order
from converters.targets.weights import Array

_SMALL = 4096  # bytes: larger constants are weights, which are rarely equal and slow to compare


def merge_equal(model: Any, constants: dict[str, Array], outputs: Sequence[str]) -> None:
    """Changes `model` and `constants` in place; `outputs` keep their names and their own nodes."""
    same = _equal_constants(constants, [i for node in in_order(model.graph, outputs) for i in node.input])
    kept: list[Any] = []
    seen: dict[tuple[Any, ...], Any] = {}
    for node in in_order(model.graph, outputs):
        node.input[:] = [same.get(i, i) for i in node.input]
        twin = None if has_subgraph(node) else seen.setdefault(_key(node), node)
        if twin is None or twin is node or set(node.output) & set(outputs):
            kept.append(node)
        else:
            same.update(zip(node.output, twin.output, strict=True))
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _key(node: Any) -> tuple[Any, ...]:
    attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
    return node.domain, node.op_type, tuple(node.input), len(node.output), tuple(attributes)


def _equal_constants(constants: dict[str, Array], read: Sequence[str]) -> dict[str, str]:
    """Each small constant -> the first one that is read of those that equal it."""
    first: dict[tuple[Any, ...], str] = {}
    same: dict[str, str] = {}
    for name in dict.fromkeys(read):
        value = constants.get(name)
        if value is not None and value.nbytes <= _SMALL:
            same[name] = first.setdefault((value.dtype.str, value.shape, value.tobytes()), name)
    return same
