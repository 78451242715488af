"""The nodes of an `.onnx` file with their tensors' types and shapes, as far as the file states them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from converters.readers.facts import mapped, refusing
from converters.readers.onnx_file import DTYPES, op_name
from converters.readers.protobuf import Message


@dataclass(frozen=True)
class OnnxNode:
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class OnnxGraph:
    """The main graph.

    Attributes:
        shapes: by tensor name; 1 stands for a free dimension. Tensors between nodes are there only where the file
            carries their shapes (`value_info`).
        dtypes: by tensor name, likewise.
        constants: names of initializers.
    """

    nodes: list[OnnxNode] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def macs(self, node: OnnxNode) -> int | None:
        """Multiply-adds of a node for one sample; 0 unless it multiplies by weights, None without known shapes."""
        place = _WEIGHTS.get(node.kind)
        if place is None:
            return 0
        weights = self.shapes.get(self.constant_behind(node.inputs[place])) if len(node.inputs) > place else None
        output = self._output_shape(node)
        if output is None or weights is None:
            return None
        if "Conv" in node.kind:  # weights are (out, in per group, kernel)
            return math.prod(output) * math.prod(weights[1:])
        inner = weights[-2] if len(weights) > 1 else weights[0]
        if node.kind in {"Gemm", "com.microsoft::QGemm"} and output and weights[-1] != output[-1]:
            inner = weights[-1]  # transposed
        return math.prod(output) * inner

    def _output_shape(self, node: OnnxNode) -> tuple[int, ...] | None:
        name = node.outputs[0]
        return self.shapes.get(name) or self.shapes.get(name.removesuffix("_output_quantized"))

    def constant_behind(self, name: str) -> str:
        """The initializer that a tensor is dequantized from; the name itself where there is none."""
        producer = self._producers().get(name)
        if producer is not None and producer.kind == "DequantizeLinear" and producer.inputs[0] in self.constants:
            return producer.inputs[0]
        if producer is not None and producer.kind in {"DequantizeLinear", "QuantizeLinear"}:
            return self.constant_behind(producer.inputs[0])
        return name

    def _producers(self) -> dict[str, OnnxNode]:
        if len(self._by_output) == 0:
            self._by_output.update({name: node for node in self.nodes for name in node.outputs})
        return self._by_output

    _by_output: dict[str, OnnxNode] = field(default_factory=dict, repr=False)


_WEIGHTS = {
    "Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3, "MatMul": 1, "MatMulInteger": 1, "Gemm": 1,
    "QLinearMatMul": 3, "com.microsoft::QGemm": 3, "com.microsoft::DynamicQuantizeMatMul": 1,
    "com.microsoft::MatMulIntegerToFloat": 1, "com.microsoft::FusedConv": 1, "com.microsoft::FusedMatMul": 1,
}  # fmt: skip
"""Where the weights stand among the inputs of each product."""


def read_onnx_graph(path: Path) -> OnnxGraph:
    """Reads the main graph; weights are skipped.

    Raises:
        RefusedError: the bytes are not an ONNX model.
        UsageError: the file cannot be read.
    """
    facts = OnnxGraph()
    with refusing(path, "ONNX model"), mapped(path) as data:
        graph = Message(data).message(7)
        if graph is None:
            return facts
        for tensor in graph.messages(5):
            name = tensor.text(8)
            facts.constants.add(name)
            facts.shapes[name] = tuple(tensor.integers(1))
            facts.dtypes[name] = DTYPES.get(tensor.integer(2), "undefined")
        for number in (13, 11, 12):
            for value in graph.messages(number):
                _value(facts, value)
        facts.inputs = [v.text(1) for v in graph.messages(11) if v.text(1) not in facts.constants]
        facts.outputs = [v.text(1) for v in graph.messages(12)]
        for node in graph.messages(1):
            kind = op_name(node.text(7), node.text(4))
            facts.nodes.append(OnnxNode(kind, node.text(3), tuple(node.texts(1)), tuple(node.texts(2))))
    return facts


def _value(facts: OnnxGraph, value: Message) -> None:
    kind = value.message(2)
    tensor = kind.message(1) if kind is not None else None
    if tensor is None:
        return
    facts.dtypes[value.text(1)] = DTYPES.get(tensor.integer(1), "undefined")
    shape = tensor.message(2)
    if shape is not None:
        facts.shapes[value.text(1)] = tuple(dim.integer(1) if 1 in dim else 1 for dim in shape.messages(1))
