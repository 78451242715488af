"""The operations of a `.tflite` file with their tensors: who computes what from what, and in which types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from converters.readers import tflite_schema as schema
from converters.readers.facts import MalformedError, mapped, refusing
from converters.readers.flatbuffer import Buffer, Table
from converters.readers.tflite_file import IDENTIFIER


@dataclass(frozen=True)
class GraphTensor:
    """A tensor as an operation sees it. `shape` has 1 where the batch is free; `constant` is data in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class GraphOp:
    """One operation, in the order in which the runtime executes them."""

    kind: str
    custom: bool
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]

    @property
    def macs(self) -> int:
        """Multiply-adds for one sample; 0 for operations that are not products with weights."""
        if not self.outputs:
            return 0
        out = self.outputs[0].elements
        if self.kind in {"CONV_2D", "TRANSPOSE_CONV", "CONV_3D"}:
            weights = self.inputs[1].shape
            if self.kind == "TRANSPOSE_CONV":  # each input element meets every weight of its channel
                return self.inputs[2].elements * math.prod(weights) // max(1, weights[-1])
            return out * math.prod(weights) // max(1, self.outputs[0].shape[-1])
        if self.kind == "DEPTHWISE_CONV_2D":
            return out * math.prod(self.inputs[1].shape[1:3])
        if self.kind in {"FULLY_CONNECTED", "BATCH_MATMUL"}:
            return out * self.inputs[0].shape[-1] if self.inputs[0].shape else 0
        return 0


def read_tflite_graph(path: Path) -> list[GraphOp]:
    """The operations of all subgraphs.

    Raises:
        RefusedError: the bytes are not a TFLite model.
        UsageError: the file cannot be read.
    """
    with refusing(path, "TFLite model"), mapped(path) as data:
        if bytes(data[4:8]) != IDENTIFIER:
            raise MalformedError("it does not carry the mark TFL3")
        model = Buffer(data).root()
        filled = [_filled(table) for table in model.tables(schema.Model.BUFFERS)]
        codes = [_code(table) for table in model.tables(schema.Model.OPERATOR_CODES)]
        operations: list[GraphOp] = []
        for graph in model.tables(schema.Model.SUBGRAPHS):
            tensors = [_tensor(table, filled) for table in graph.tables(schema.SubGraph.TENSORS)]
            for table in graph.tables(schema.SubGraph.OPERATORS):
                kind, custom = codes[table.scalar(schema.Operator.OPCODE, "I")]
                sides = (table.int32s(schema.Operator.INPUTS), table.int32s(schema.Operator.OUTPUTS))
                inputs, outputs = (tuple(_at(tensors, k) for k in side if k != -1) for side in sides)
                operations.append(GraphOp(kind, custom, inputs, outputs))
        return operations


def _at(tensors: list[GraphTensor], index: int) -> GraphTensor:
    if not 0 <= index < len(tensors):
        raise MalformedError(f"it points to tensor {index} of {len(tensors)}")
    return tensors[index]


def _filled(table: Table) -> bool:
    return table.scalar(schema.Buffer.SIZE, "Q") > 0 or table.vector(schema.Buffer.DATA, 1)[1] > 0


def _code(table: Table) -> tuple[str, bool]:
    number = max(
        table.scalar(schema.OperatorCode.DEPRECATED_BUILTIN, "b"), table.scalar(schema.OperatorCode.BUILTIN, "i")
    )
    if number == schema.CUSTOM:
        return table.text(schema.OperatorCode.CUSTOM_CODE) or "CUSTOM", True
    if not 0 <= number < len(schema.BUILTIN_OPERATORS):
        raise MalformedError(f"it uses the unknown operator code {number}")
    return schema.BUILTIN_OPERATORS[number], False


def _tensor(table: Table, filled: list[bool]) -> GraphTensor:
    shape = table.int32s(schema.Tensor.SHAPE)
    code, buffer = table.scalar(schema.Tensor.TYPE, "b"), table.scalar(schema.Tensor.BUFFER, "I")
    if not 0 <= code < len(schema.TENSOR_TYPES) or buffer >= len(filled) or any(d < 0 for d in shape):
        raise MalformedError("a tensor has an impossible type, shape or buffer")
    return GraphTensor(table.text(schema.Tensor.NAME), shape, schema.TENSOR_TYPES[code], filled[buffer])
