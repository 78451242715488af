"""Scales and shifts that follow a convolution or a matrix product go into its weights: a batch norm costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.arrays import Array

_AFFINE = {"Mul", "Add", "Sub", "Div"}
_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": -1}


@dataclass
class _Graph:
    """A model's nodes with who reads what; constants are by name and may be replaced."""

    model: Any
    constants: dict[str, Array]

    def __post_init__(self) -> None:
        self.readers: dict[str, list[Any]] = {}
        for node in self.model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.outputs = {o.name for o in self.model.graph.output}

    def sole_reader(self, name: str) -> Any:
        """The one node that reads a value; None when several do, or a subgraph might, or it leaves the graph."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None


def fuse_affine(model: Any, constants: dict[str, Array]) -> None:
    """Folds every `Conv|MatMul -> (Mul|Add|Sub|Div by constants)*` into one node, in float64, rounded once.

    Changes `model` and `constants` in place. Additions of zero and multiplications by one are dropped anywhere.
    """
    if any(a.HasField("g") or a.graphs for n in model.graph.node for a in n.attribute):
        return  # a subgraph may read any value of the outer graph
    _drop_neutral(model, constants)
    graph = _Graph(model, constants)
    fused: set[int] = set()
    for node in list(model.graph.node):
        if node.op_type in _CHANNEL_AXIS and len(node.input) > 1 and node.input[1] in constants:
            fused |= {id(n) for n in _fuse_chain(graph, node)}
    remaining = [n for n in model.graph.node if id(n) not in fused]
    rebuilt = _copies(remaining)
    del model.graph.node[:]
    model.graph.node.extend(rebuilt)


def _copies(nodes: list[Any]) -> list[Any]:
    import onnx

    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    return copies


def _fuse_chain(graph: _Graph, node: Any) -> list[Any]:
    """Absorbs what follows `node`; returns the nodes that are no longer needed."""
    scale, shift = np.array(1.0), np.array(0.0)
    absorbed: list[Any] = []
    products = 0
    last = node
    while True:
        follower = graph.sole_reader(last.output[0])
        factors = _per_channel(graph, node, follower, last.output[0]) if follower is not None else None
        if factors is None:
            break
        scale, shift = scale * factors[0], shift * factors[0] + factors[1]
        products += {"Mul": 1, "Div": 2}.get(follower.op_type, 0)  # a reciprocal is not a float32 number
        absorbed.append(follower)
        last = follower
    # A single product rounds in float32 as it does in float64, in a third of the time.
    if absorbed and _apply(graph, node, scale.astype(np.float32) if products <= 1 else scale, shift):
        node.output[0] = last.output[0]
        return absorbed
    return []


def _per_channel(graph: _Graph, node: Any, follower: Any, value: str) -> tuple[Array, Array] | None:
    """The follower as `x * scale + shift` with one number a channel; None when it is something else."""
    if follower.op_type not in _AFFINE or len(follower.input) != 2:
        return None
    position = list(follower.input).index(value)
    other = follower.input[1 - position]
    if other not in graph.constants or (follower.op_type == "Div" and position == 1):
        return None
    weight = graph.constants[node.input[1]]
    constant = graph.constants[other]
    if constant.dtype != np.float32 or weight.dtype != np.float32:
        return None
    vector = _channel_vector(node, weight, constant)
    if vector is None:
        return None
    one, zero = np.ones_like(vector), np.zeros_like(vector)
    if follower.op_type == "Sub":
        return (one, -vector) if position == 0 else (-one, vector)
    if follower.op_type == "Div":
        return 1.0 / vector, zero
    return (vector, zero) if follower.op_type == "Mul" else (one, vector)


def _channel_vector(node: Any, weight: Array, constant: Array) -> Array | None:
    """The constant as a vector over the node's output channels, when that is what broadcasting makes of it."""
    if constant.size == 1:
        return constant.astype(np.float64).reshape(())
    channels = _channels(node, weight)
    spatial = weight.ndim - 2 if node.op_type in {"Conv", "ConvTranspose"} else 0
    shape = constant.shape
    while len(shape) > spatial + 1 and shape[0] == 1:
        shape = shape[1:]
    if shape != (channels, *([1] * spatial)):
        return None
    return constant.astype(np.float64).reshape(channels)


def _channels(node: Any, weight: Array) -> int:
    if node.op_type == "ConvTranspose":
        return int(weight.shape[1]) * _attribute(node, "group", 1)
    if node.op_type == "Gemm" and _attribute(node, "transB", 0):
        return int(weight.shape[0])
    return int(weight.shape[_CHANNEL_AXIS[node.op_type]])


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _apply(graph: _Graph, node: Any, scale: Array, shift: Array) -> bool:
    """Writes scale and shift into the node's weights and bias; False where the node cannot take them."""
    has_shift = bool(np.any(shift))
    plain = node.op_type != "Gemm" and (node.op_type != "ConvTranspose" or _attribute(node, "group", 1) == 1)
    biased = len(node.input) > 2 and node.input[2] != ""
    if not plain or (node.op_type == "MatMul" and has_shift) or (biased and node.input[2] not in graph.constants):
        return False
    weight = graph.constants[node.input[1]].astype(scale.dtype, copy=False)
    axis = _CHANNEL_AXIS[node.op_type] % weight.ndim
    column = scale.reshape([-1 if k == axis else 1 for k in range(weight.ndim)]) if scale.ndim else scale
    _replace(graph, node, 1, weight * column)
    if biased or has_shift:
        old = graph.constants[node.input[2]].astype(np.float64) if biased else np.float64(0)
        scale = scale.astype(np.float64)
        channels = _channels(node, weight)
        _replace(graph, node, 2, np.broadcast_to(old * scale + shift, (channels,)))
    return True


def _replace(graph: _Graph, node: Any, position: int, value: Array) -> None:
    """A constant of the node's own: other nodes may share the old one."""
    stem = node.input[position] if position < len(node.input) and node.input[position] else f"{node.input[1]}/bias"
    name = f"{stem}/{node.name}"
    graph.constants[name] = np.ascontiguousarray(value.astype(np.float32, copy=False))
    if position < len(node.input):
        node.input[position] = name
    else:
        node.input.append(name)


def _drop_neutral(model: Any, constants: dict[str, Array]) -> None:
    """Removes `x + 0`, `x - 0`, `x * 1` and `x / 1` where the shape stays, by handing x through."""
    outputs = {o.name for o in model.graph.output}
    alias: dict[str, str] = {}
    nodes = []
    for node in model.graph.node:
        node.input[:] = [alias.get(i, i) for i in node.input]
        source = _neutral_source(node, constants)
        if source is not None and node.output[0] not in outputs:
            alias[node.output[0]] = source
        else:
            nodes.append(node)
    rebuilt = _copies(nodes)
    del model.graph.node[:]
    model.graph.node.extend(rebuilt)


def _neutral_source(node: Any, constants: dict[str, Array]) -> str | None:
    if node.op_type not in _AFFINE or len(node.input) != 2 or node.input[0] in constants:
        return None
    constant = constants.get(node.input[1])
    neutral = 0.0 if node.op_type in {"Add", "Sub"} else 1.0
    if constant is None or constant.size != 1 or constant.ndim > 1 or float(constant.reshape(())) != neutral:
        return None
    return str(node.input[0])
