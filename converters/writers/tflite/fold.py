"""A weightless TensorFlow graph whose scales and shifts already stand where TFLite's converter would put them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.weightless_graph import WeightlessGraph

_KERNEL_READERS = {"Conv2D", "DepthwiseConv2dNative", "MatMul"}
_ADDS = {"AddV2", "Add"}
_AFTER = {"Mul", "AddV2", "Add", "BiasAdd", "Sub"}
_BEFORE = {"Mul", "AddV2", "Add", "Sub", "RealDiv", "Div"}


@dataclass(frozen=True)
class Kernel:
    """One weight: what reads it, how many numbers it has, and what its output channels are multiplied by.

    Attributes:
        scale: float32 or float64, [channels] or []; no elements where there is none.
    """

    operation: str
    size: int
    scale: Array


@dataclass(frozen=True)
class Folded:
    """The graph after folding.

    Attributes:
        definition: a GraphDef; the kernels are still placeholders.
        kernels: by the placeholder's name.
        constants: the bytes of every float32 constant in it.
    """

    definition: Any
    kernels: dict[str, Kernel]
    constants: set[bytes]


def folded(graph: WeightlessGraph) -> Folded | None:
    """Multiplications after a kernel's operation become its scale, and what is added there one shift.

    None where the converter would compute with kernels in a way that this does not foresee: a kernel that something
    else reads or that several read, a constant added before a convolution (its sum over the kernel goes into the bias),
    a loop, a function.
    """
    return _Folding(graph).result()


class _Folding:
    def __init__(self, graph: WeightlessGraph) -> None:
        self._weights = graph.weights
        self._definition = type(graph.definition)()
        self._definition.CopyFrom(graph.definition)
        self._nodes = {node.name: node for node in self._definition.node}
        self._outputs = {_node(name) for name in graph.outputs}
        self._readers: dict[str, list[Any]] = {}
        for node in self._definition.node:
            for name in node.input:
                self._readers.setdefault(_node(name), []).append(node)
        self._gone: set[str] = set()
        self._added: list[Any] = []

    def result(self) -> Folded | None:
        if self._definition.library.function or any(v.dtype != np.float32 for v in self._weights.values()):
            return None
        kernels = {}
        for name, value in self._weights.items():
            reader = self._sole_reader(name)
            if reader is None or not _takes_kernel(reader, name):
                return None
            before = self._before(reader)
            if before is None:
                return None
            kernels[name] = Kernel(reader.op, int(value.size), self._absorb(reader, before, _channels(reader, value)))
        definition = type(self._definition)(versions=self._definition.versions)
        definition.node.extend(n for n in self._definition.node if n.name not in self._gone)
        definition.node.extend(self._added)
        return Folded(definition, kernels, {v.tobytes() for n in definition.node if (v := _value(n)) is not None})

    def _sole_reader(self, name: str) -> Any:
        """The one node that reads a tensor; None where several do or it leaves the graph."""
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def _before(self, reader: Any) -> list[Array] | None:
        """The factors of all the data of a kernel's operation, taken out of the graph; None where it is not plain."""
        factors: list[Array] = []
        while True:
            source = self._nodes[_node(reader.input[0])]
            position = next((k for k, name in enumerate(source.input) if self._constant(name) is not None), None)
            if source.op not in _BEFORE or position is None or source.name in self._gone:
                return factors
            constant = self._constant(source.input[position])
            assert constant is not None
            neutral = source.op in _ADDS and not constant.any()
            if not neutral and (source.op != "Mul" or constant.size != 1):
                padded = reader.op != "MatMul" and reader.attr["padding"].s == b"SAME"
                return factors if padded and source.op in _ADDS else None
            if self._sole_reader(source.name) is None or constant.size != 1:
                return None
            factors += [] if neutral else [constant.reshape(())]
            reader.input[0] = source.input[1 - position]
            self._gone.add(source.name)

    def _absorb(self, node: Any, factors: list[Array], channels: int) -> Array:
        """Takes what follows `node` out of the graph, puts one shift in its place, and returns the scale."""
        shift: Array | None = None
        last, rank = node, 2 if node.op == "MatMul" else 4
        while (follower := self._sole_reader(last.name)) is not None:
            constant = self._other(follower, last.name, (channels, rank))
            if constant is None or follower.name in self._gone:
                break
            if follower.op == "Mul":
                factors.append(constant)
                shift = None if shift is None else shift * constant.astype(np.float64)
            else:
                added = -constant.astype(np.float64) if follower.op == "Sub" else constant.astype(np.float64)
                shift = added if shift is None else shift + added
            self._gone.add(follower.name)
            last = follower
        if last is not node:
            self._shift(node.name, last.name, None if shift is None else np.broadcast_to(shift, (channels,)))
        return _product(factors)

    def _other(self, node: Any, value: str, size: tuple[int, int]) -> Array | None:
        """The constant of a Mul, Add or Sub by channel, for a value of (channels, rank); None for anything else."""
        channels, rank = size
        if node.op not in _AFTER or len(node.input) != 2:
            return None
        position = 0 if _node(node.input[0]) == value else 1
        if node.op in {"Sub", "BiasAdd"} and position == 1:
            return None
        constant = self._constant(node.input[1 - position])
        if constant is None or constant.dtype != np.float32 or constant.size not in {1, channels}:
            return None
        if constant.ndim > rank or (constant.size > 1 and constant.shape[-1] != channels):
            return None
        return constant.reshape(-1) if constant.size == channels else constant.reshape(())

    def _constant(self, name: str) -> Array | None:
        return _value(self._nodes[_node(name)])

    def _shift(self, source: str, name: str, shift: Array | None) -> None:
        """A node `name` that adds the shift to `source`, or hands it on."""
        import tensorflow as tf
        from tensorflow.core.framework import node_def_pb2

        single = tf.float32.as_datatype_enum
        node = node_def_pb2.NodeDef(name=name, op="Identity", input=[source])
        node.attr["T"].type = single
        if shift is not None:
            constant = node_def_pb2.NodeDef(name=f"{name}/shift", op="Const")
            constant.attr["dtype"].type = single
            constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(shift, tf.float32))
            node.op = "AddV2"
            node.input.append(constant.name)
            self._added.append(constant)
        self._added.append(node)


def _takes_kernel(reader: Any, weight: str) -> bool:
    """Whether the weight is the kernel of an operation whose layout is known."""
    if reader.op not in _KERNEL_READERS or _node(reader.input[1]) != weight or _node(reader.input[0]) == weight:
        return False
    if reader.op == "MatMul":
        return not (reader.attr["transpose_a"].b or reader.attr["transpose_b"].b)
    return reader.attr["data_format"].s in {b"", b"NHWC"}


def _product(factors: list[Array]) -> Array:
    """One factor as it is: its product with a float32 number rounds the same either way. Several in float64."""
    if len(factors) < 2:
        return factors[0] if factors else np.empty(0, np.float32)
    product = factors[0].astype(np.float64)
    for factor in factors[1:]:
        product = product * factor
    return product


def _channels(node: Any, weight: Array) -> int:
    return int(weight.shape[-1] * (weight.shape[-2] if node.op == "DepthwiseConv2dNative" else 1))


def _node(reference: str) -> str:
    return reference.lstrip("^").split(":")[0]


def _value(node: Any) -> Array | None:
    """A constant's float32 numbers; None for any other node."""
    import tensorflow as tf

    if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
        return None
    value: Array = tf.make_ndarray(node.attr["value"].tensor)
    return value
