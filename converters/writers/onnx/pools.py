"""Pools whose windows leave values out between them, at a size that is not known, and pools of padded values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.arrays import Array

_POOLS = {"MaxPool", "AveragePool"}


def crop_before_pools(model: Any, constants: dict[str, Array]) -> None:
    """Cuts off what lies behind the last window of each pool of which ONNX Runtime would work out negative pads.

    `SAME_UPPER` means pads of (ceil(n / stride) - 1) * stride + kernel - n in all, and none where that is negative: a
    kernel smaller than its stride, behind which the last values are left out. ONNX Runtime refuses to run it then.
    Cut at the end of the last window the pads are right, and elsewhere the cut lies at the end or beyond and does
    nothing.
    """
    nodes = []
    for node in model.graph.node:
        if node.op_type in _POOLS:
            nodes += _crop(node, constants)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _crop(node: Any, constants: dict[str, Array]) -> list[Any]:
    """Nodes that crop the input of a pool, which takes their end as its own; none where its pads cannot be negative."""
    from onnx import helper

    attributes: Mapping[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kernel = attributes["kernel_shape"]
    strides = attributes.get("strides") or [1] * len(kernel)
    same = str(attributes.get("auto_pad", b"NOTSET"), "utf-8").startswith("SAME")
    if not (same and any(k < s for k, s in zip(kernel, strides, strict=True))):
        return []
    axes, rank = list(range(2, 2 + len(kernel))), 2 + len(kernel)
    name = f"{node.name}/cropped"

    def constant(role: str, value: list[int]) -> str:
        constants[f"{name}_{role}"] = np.array(value, np.int64)
        return f"{name}_{role}"

    stride, every = constant("strides", list(strides)), constant("axes", axes)
    steps: list[tuple[str, list[str]]] = [
        ("Shape", [node.input[0]]),
        ("Slice", ["", constant("from", [2]), constant("to", [rank])]),
        ("Sub", ["", constant("one", [1])]),
        ("Div", ["", stride]),
        ("Mul", ["", stride]),
        ("Add", ["", constant("kernel", list(kernel))]),
    ]
    made: list[Any] = []
    for operation, inputs in steps:
        taken = [i or made[-1].output[0] for i in inputs]
        made.append(helper.make_node(operation, taken, [f"{name}_{operation}"], f"{name}_{operation}"))
    cut = [node.input[0], constant("begin", [0] * len(kernel)), made[-1].output[0], every]
    made.append(helper.make_node("Slice", cut, [name], name))
    node.input[0] = name
    return made


def keep_pads(model: Any) -> None:
    """States a maximum's missing pads as `VALID` where a Pad stands before it.

    ONNX Runtime (1.31 and before) takes a Pad of zeros into a MaxPool, whose own pads are the lowest number: among
    negative values the zeros are lost. A pool that states `VALID` it leaves alone. Behind a Relu both are the same.
    """
    from onnx import helper

    sources = {name: node for node in model.graph.node for name in node.output}
    for node in (node for node in model.graph.node if node.op_type == "MaxPool"):
        pad = sources.get(node.input[0])
        before = sources.get(pad.input[0]) if pad is not None and pad.op_type == "Pad" else None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        bare = attributes.get("auto_pad", b"NOTSET") == b"NOTSET" and not any(attributes.get("pads", []))
        if pad is None or pad.op_type != "Pad" or not bare or (before is not None and before.op_type == "Relu"):
            continue
        kept = [a for a in node.attribute if a.name not in {"auto_pad", "pads"}]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("auto_pad", "VALID")])
