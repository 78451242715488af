"""Is it really integer? What a file computes in integers, what in floats, and which layers those are.

A TFLite kernel is chosen by the types of its tensors, so the file tells. An ONNX file in Q/DQ form tells nothing of the
kind: ONNX Runtime fuses a float operation between Q/DQ pairs into an integer kernel, or does not. There the optimised
graph is counted (`executed`), node by node.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.formats import Format
from converters.readers.onnx_graph import OnnxGraph, OnnxNode, read_onnx_graph
from converters.readers.tflite_graph import GraphOp, read_tflite_graph

INTEGER, HYBRID, FLOAT, CONVERSION = "integer", "hybrid", "float", "conversion"

_WIDTHS = {"int8", "uint8", "int16", "int32", "int64", "uint16", "int4", "bool"}
_MOVES = {
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "MaxPool",
    "Concat",
    "Slice",
    "Gather",
    "Flatten",
    "Identity",
    "Split",
    "Pad",
    "Expand",
    "com.microsoft::NhwcMaxPool",
    "com.ms.internal.nhwc::MaxPool",
    "Shape",
    "Cast",
}
CONVERSIONS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QUANTIZE", "DEQUANTIZE"}
_LAYOUT = {"com.microsoft.nchwc::ReorderInput", "com.microsoft.nchwc::ReorderOutput"}
_TOKEN = re.compile(r"(_token_\d+|_quant|_nhwc|/MatMulAddFusion)+$")
"""The text that ONNX Runtime appends to the name of a node that it rewrites."""
_ROOTS = ("convolution", "depthwise", "conv", "Conv", "MatMul", "Tensordot", "einsum")


@dataclass(frozen=True)
class Operation:
    """One operation of a file. `macs` is None where the file does not state the shapes."""

    kind: str
    name: str
    compute: str
    macs: int | None


@dataclass(frozen=True)
class IntegerReport:
    """The arithmetic that a file computes in.

    Attributes:
        basis: what was counted: the file's tensor types, or the graph that ONNX Runtime executes.
        custom: operations of TFLite that no runtime has built in, Flex ones among them.
    """

    operations: tuple[Operation, ...]
    basis: str
    custom: tuple[str, ...] = ()

    def to_json(self, layers: Collection[str] = ()) -> dict[str, Any]:
        """`layers` are the checkpoint's layer names, by which islands are told."""
        operations = [op for op in self.operations if op.compute != CONVERSION]
        complete = all(op.macs is not None for op in operations)
        macs = {kind: sum(op.macs or 0 for op in operations if op.compute == kind) for kind in (INTEGER, HYBRID, FLOAT)}
        total = sum(macs.values())
        integers = sum(op.compute == INTEGER for op in operations)
        return {
            "basis": self.basis,
            "operations": len(operations),
            "integer_operations": integers,
            "hybrid_operations": sum(op.compute == HYBRID for op in operations),
            "conversions": len(self.operations) - len(operations),
            "macs": total if complete else None,
            "integer_macs_share": round(macs[INTEGER] / total, 6) if complete and total else None,
            "hybrid_macs_share": round(macs[HYBRID] / total, 6) if complete and total else None,
            "flex_ops": [kind for kind in self.custom if kind.startswith("Flex")],
            "custom_ops": [kind for kind in self.custom if not kind.startswith("Flex")],
            "islands": [
                {"layer": layer_of(op.name, layers), "operation": op.kind, "macs": op.macs}
                for op in operations
                if op.compute == FLOAT
            ],
        }


def count_integers(path: Path, fmt: Format) -> IntegerReport | None:
    """Counts by the file alone; None for formats that hold no integers of their own.

    Raises:
        RefusedError: the file is damaged.
    """
    if fmt is Format.TFLITE:
        graph = read_tflite_graph(path)
        custom = tuple(sorted({op.kind for op in graph if op.custom}))
        return IntegerReport(tuple(map(_tflite_op, graph)), "the file's tensor types", custom)
    if fmt is Format.ONNX:
        return IntegerReport(tuple(_filed(read_onnx_graph(path))), "the file's Q/DQ pairs")
    return None


def count_executed(artifact: Path, optimized: Path) -> IntegerReport:
    """Counts by the graph that ONNX Runtime executes for `artifact`; shapes come from the artifact's own nodes.

    A product of the artifact counts as an integer one only where the executed graph holds an integer kernel of its
    name; float kernels may have been fused under other names, so every other product counts as float.
    """
    file_graph, executed_graph = read_onnx_graph(artifact), read_onnx_graph(optimized)
    products = {_stem(node.name): node for node in file_graph.nodes if _is_product(node)}
    operations = []
    for node, compute in _computed(executed_graph):
        name = node.name or node.outputs[0]
        if not _is_product(node):
            operations.append(Operation(node.kind, name, CONVERSION if node.kind in _LAYOUT else compute, 0))
        elif compute != FLOAT and (source := products.pop(_stem(node.name), None)) is not None:
            operations.append(Operation(node.kind, name, compute, file_graph.macs(source)))
    operations += [Operation(node.kind, node.name, FLOAT, file_graph.macs(node)) for node in products.values()]
    return IntegerReport(tuple(operations), "ONNX Runtime's optimised graph")


def layer_of(name: str, layers: Collection[str] = ()) -> str:
    """The Keras layer that a tensor or node is named after: the last part of its path that is a layer's name.

    Fused TFLite tensors carry all their operations, `;` between them; the one with the weights counts.

    >>> layer_of("net_1/relu_1/Relu;net_1/conv_1/BiasAdd;net_1/conv_1/convolution", {"conv", "relu"})
    'conv'
    """
    paths = [part.split("/") for part in name.split(";") if part]
    rooted = [p for p in paths if any(p[-1].startswith(root) for root in _ROOTS)]
    for path in [*rooted, *paths]:
        for part in reversed(path):
            for candidate in (part, re.sub(r"_\d+$", "", part)):
                if candidate in layers:
                    return candidate
    path = next(iter([*rooted, *paths]), [name])
    return re.sub(r"_1$", "", path[-2] if len(path) > 1 else path[0])


def _tflite_op(op: GraphOp) -> Operation:
    name = ";".join(t.name for t in op.outputs)
    return Operation(op.kind, name, _tflite_compute(op), op.macs)


def _tflite_compute(op: GraphOp) -> str:
    if op.kind in CONVERSIONS:
        return CONVERSION
    if all(t.dtype in _WIDTHS for t in op.outputs) and all(t.dtype in _WIDTHS for t in op.inputs):
        return INTEGER
    if op.macs and any(t.constant and t.dtype in {"int8", "int4", "int2"} for t in op.inputs):
        return HYBRID  # the kernel quantizes its input on the fly and multiplies integers
    return FLOAT


def _filed(graph: OnnxGraph) -> Iterator[Operation]:
    """Q/DQ form: an operation between pairs is one that can run in integers."""
    users: dict[str, list[OnnxNode]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    computed = dict(_computed_pairs(graph))
    producers = {name: node for node in graph.nodes for name in node.outputs}
    for index, node in enumerate(graph.nodes):
        compute = computed[index]
        if compute == FLOAT and _between_pairs(node, producers, users, graph):
            compute = INTEGER
        yield Operation(node.kind, node.name or node.outputs[0], compute, graph.macs(node))


def _between_pairs(
    node: OnnxNode, producers: dict[str, OnnxNode], users: dict[str, list[OnnxNode]], graph: OnnxGraph
) -> bool:
    fed = [producers.get(name) for name in node.inputs if name and name not in graph.constants]
    if not fed or any(p is None or p.kind != "DequantizeLinear" for p in fed):
        return _is_activation(node) and bool(fed) and fed[0] is not None and fed[0].kind in _ROOT_KINDS
    after = [user for name in node.outputs for user in users.get(name, [])]
    return bool(after) and all(user.kind == "QuantizeLinear" or _is_activation(user) for user in after)


_ROOT_KINDS = {"Conv", "MatMul", "Gemm", "Add"}


def _is_activation(node: OnnxNode) -> bool:
    return node.kind in {"Relu", "Clip"}


def _is_product(node: OnnxNode) -> bool:
    return any(word in node.kind for word in ("Conv", "MatMul", "Gemm"))


def _computed(graph: OnnxGraph) -> Iterator[tuple[OnnxNode, str]]:
    computed = dict(_computed_pairs(graph))
    for index, node in enumerate(graph.nodes):
        yield node, computed[index]


def _computed_pairs(graph: OnnxGraph) -> Iterator[tuple[int, str]]:
    """By node index, what it computes in; types are followed from producer to consumer."""
    dtypes = dict(graph.dtypes)
    for index, node in enumerate(graph.nodes):
        source = dtypes.get(node.inputs[0], "float32") if node.inputs else "float32"
        bare = node.kind.rpartition("::")[2]
        if node.kind in CONVERSIONS:
            kind, result = CONVERSION, "float32" if bare == "DequantizeLinear" else "uint8"
        elif bare.startswith("QLinear") or bare == "QGemm":
            kind, result = INTEGER, "uint8"
        elif bare in {"ConvInteger", "MatMulInteger"}:
            kind, result = HYBRID, "int32"
        elif bare in {"MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}:
            kind, result = HYBRID, "float32"
        elif node.kind in _MOVES:
            kind, result = INTEGER if source in _WIDTHS else FLOAT, source
        else:
            kind, result = FLOAT, "float32"
        for name in node.outputs:
            dtypes[name] = result
        yield index, kind


def _stem(name: str) -> str:
    return _TOKEN.sub("", name)
