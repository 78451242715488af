"""Takes apart the constants that several graphs of a file share, for the quantizer: each graph has its own.

The quantizer sees to operations of one graph that share a constant. Where the body of one loop makes an integer of it
and another graph keeps it in float, both are left with the bytes of one of them.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from converters.writers.tflite.tables import packed, parsed


def buffers_apart(given: str | bytes | bytearray) -> bytearray | None:
    """The file (a path or its bytes) with no constant in two graphs; None where it has none."""
    from ai_edge_litert import schema_py_generated as schema

    content = Path(given).read_bytes() if isinstance(given, str) else given
    if schema.Model.GetRootAs(content, 0).SubgraphsLength() < 2:
        return None
    model = parsed(content)
    again = _seen_before(model)
    for tensor in again:
        model.buffers.append(copy.copy(model.buffers[tensor.buffer]))
        tensor.buffer = len(model.buffers) - 1
    return bytearray(packed(model)) if again else None


def _seen_before(model: Any) -> list[Any]:
    """The tensors whose constant is one of a graph before."""
    owners: dict[int, int] = {}
    tensors = [(place, tensor) for place, graph in enumerate(model.subgraphs) for tensor in graph.tensors]
    constants = [(place, t) for place, t in tensors if model.buffers[t.buffer].data is not None]
    return [tensor for place, tensor in constants if owners.setdefault(int(tensor.buffer), place) != place]
