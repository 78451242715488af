"""Contents of a `.tflite` file, read from its flatbuffer without an interpreter."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.errors import UsageError
from converters.readers import tflite_schema as schema
from converters.readers.facts import MalformedError, TensorFact, mapped, refusing
from converters.readers.flatbuffer import Buffer, Table
from converters.signature import SIGNATURE_KEY, tensor_names

IDENTIFIER = b"TFL3"
_MAX_RANK = 8


@dataclass(frozen=True)
class Tensor:
    """A tensor of a subgraph.

    Attributes:
        shape: None in it is an unknown dimension (`shape_signature` -1).
        nbytes: of its constant data; 0 where it is computed.
        quantized: it has a scale, or one for each block.
        in_blocks: its scales are of blocks, in a tensor of their own.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    nbytes: int
    quantized: bool
    in_blocks: bool = False

    def fact(self, name: str) -> TensorFact:
        return TensorFact(name, self.shape, self.dtype)

    @property
    def elements(self) -> int:
        return math.prod(d or 0 for d in self.shape)


@dataclass(frozen=True)
class Signature:
    """A signature. `tensors` are the tensors' own names by those of the signature, inputs and outputs apart."""

    key: str
    inputs: tuple[TensorFact, ...]
    outputs: tuple[TensorFact, ...]
    tensors: tuple[dict[str, str], dict[str, str]] = field(default_factory=lambda: ({}, {}))


@dataclass
class TfliteFacts:
    """A TFLite model.

    Attributes:
        signatures: as the file orders them; without any, the runtime knows the tensors by index only.
        inputs, outputs: of the first subgraph, by tensor name.
        ops: how often each builtin occurs, all subgraphs together; custom ones by their own name.
        activations: how often each dtype occurs among the tensors that operations compute; `quantized`: among those
            of them that have a scale.
        constants: the tensors with stored data, each buffer once.
    """

    version: int = 0
    signatures: list[Signature] = field(default_factory=list)
    inputs: tuple[TensorFact, ...] = ()
    outputs: tuple[TensorFact, ...] = ()
    ops: Counter[str] = field(default_factory=Counter)
    custom_ops: list[str] = field(default_factory=list)
    activations: Counter[str] = field(default_factory=Counter)
    quantized: Counter[str] = field(default_factory=Counter)
    constants: list[Tensor] = field(default_factory=list)

    @property
    def flex_ops(self) -> list[str]:
        """TensorFlow operations that need the Flex delegate."""
        return [op for op in self.custom_ops if op.startswith("Flex")]

    @property
    def keys(self) -> str:
        """The signatures by name, for people."""
        return ", ".join(sorted(signature.key for signature in self.signatures)) or "none"

    def signature(self, key: str | None = None) -> Signature | None:
        """Of several signatures that of `key`, else `serving_default`; the only one; None where none is meant."""
        if len(self.signatures) == 1:
            return self.signatures[0]
        return next((s for s in self.signatures if s.key == (key or SIGNATURE_KEY)), None)

    def chosen(self, path: Path, key: str | None = None) -> Signature | None:
        """The same; None where the file has none.

        Raises:
            UsageError: it has several, and none is meant.
        """
        signature = self.signature(key)
        if signature is not None or not self.signatures:
            return signature
        named = f"has no signature `{key}`" if key else "has several signatures and none is called serving_default"
        raise UsageError(
            f"{path} {named}; it has: {self.keys}.", next_step="Choose one of these with --signature NAME.", file=path
        )

    @property
    def by_tensors(self) -> Signature:
        """The ends of the first subgraph with their tensors' names, cleaned: the signature of a file without one."""
        sides = (self.inputs, self.outputs)
        named = [
            tuple(replace(fact, name=name) for fact, name in zip(side, tensor_names(f.name for f in side), strict=True))
            for side in sides
        ]
        return Signature("", named[0], named[1])


def read_tflite(path: Path) -> TfliteFacts:
    """Reads the facts of a TFLite file; weights are skipped.

    Raises:
        RefusedError: the bytes are not a TFLite model.
        UsageError: the file cannot be read.
    """
    reader = _Reader()
    with refusing(path, "TFLite model"), mapped(path) as data:
        if bytes(data[4:8]) != IDENTIFIER:
            raise MalformedError("it does not carry the mark TFL3")
        reader.read(data)
    return reader.facts


class _Reader:
    def __init__(self) -> None:
        self.facts = TfliteFacts()
        self._size = 0
        self._buffers: list[int] = []
        self._codes: list[tuple[str, bool]] = []
        self._visited_buffers: set[int] = set()

    def read(self, data: memoryview) -> None:
        facts, model = self.facts, Buffer(data).root()
        self._size = len(data)
        self._buffers = [self._buffer_size(b) for b in model.tables(schema.Model.BUFFERS)]
        self._codes = [self._operator_name(c) for c in model.tables(schema.Model.OPERATOR_CODES)]
        facts.version = model.scalar(schema.Model.VERSION, "I")
        if facts.version != 3:
            raise MalformedError(f"it has the schema version {facts.version} where 3 is the only one")
        subgraphs = list(model.tables(schema.Model.SUBGRAPHS))
        if not subgraphs:
            raise MalformedError("it has no subgraph")
        tensors = [self._tensors(s) for s in subgraphs]
        for subgraph, graph_tensors in zip(subgraphs, tensors, strict=True):
            self._operators(subgraph, graph_tensors)
        first = subgraphs[0]
        facts.inputs = tuple(t.fact(t.name) for t in _pick(tensors[0], first.int32s(schema.SubGraph.INPUTS)))
        facts.outputs = tuple(t.fact(t.name) for t in _pick(tensors[0], first.int32s(schema.SubGraph.OUTPUTS)))
        facts.signatures = [_signature(s, tensors) for s in model.tables(schema.Model.SIGNATURES)]
        facts.custom_ops = sorted({op for op, custom in self._codes if custom and facts.ops[op]})

    def _buffer_size(self, buffer: Table) -> int:
        """Bytes of a buffer, which models over 2 GiB keep behind the flatbuffer (`offset` and `size`)."""
        offset, size = buffer.scalar(schema.Buffer.OFFSET, "Q"), buffer.scalar(schema.Buffer.SIZE, "Q")
        if offset > 1:
            if offset + size > self._size:
                raise MalformedError("a buffer lies past the end of the file")
            return size
        return buffer.vector(schema.Buffer.DATA, 1)[1]

    def _operator_name(self, code: Table) -> tuple[str, bool]:
        """The operator's name, and whether it is a custom one."""
        short = code.scalar(schema.OperatorCode.DEPRECATED_BUILTIN, "b")
        number = max(short, code.scalar(schema.OperatorCode.BUILTIN, "i"))
        if number == schema.CUSTOM:
            return code.text(schema.OperatorCode.CUSTOM_CODE) or "CUSTOM", True
        if not 0 <= number < len(schema.BUILTIN_OPERATORS):
            raise MalformedError(f"it uses the unknown operator code {number}")
        return schema.BUILTIN_OPERATORS[number], False

    def _tensors(self, subgraph: Table) -> list[Tensor]:
        result = []
        for table in subgraph.tables(schema.SubGraph.TENSORS):
            buffer = table.scalar(schema.Tensor.BUFFER, "I")
            tensor = self._tensor(table, buffer)
            result.append(tensor)
            if tensor.nbytes and buffer not in self._visited_buffers:
                self._visited_buffers.add(buffer)
                self.facts.constants.append(tensor)
        return result

    def _tensor(self, table: Table, buffer: int) -> Tensor:
        name = table.text(schema.Tensor.NAME)
        code = table.scalar(schema.Tensor.TYPE, "b")
        shape = table.int32s(schema.Tensor.SHAPE)
        signature = table.int32s(schema.Tensor.SHAPE_SIGNATURE) or shape
        if not 0 <= code < len(schema.TENSOR_TYPES):
            raise MalformedError(f"the tensor {name!r} has the unknown element type {code}")
        if buffer >= len(self._buffers):
            raise MalformedError(f"the tensor {name!r} lies in buffer {buffer} of {len(self._buffers)}")
        if len(signature) != len(shape) or any(d < 0 for d in shape) or any(d < -1 for d in signature):
            raise MalformedError(f"the tensor {name!r} has an impossible shape")
        if len(shape) > _MAX_RANK or math.prod(shape) >= 1 << 40:
            raise MalformedError(f"the tensor {name!r} has an impossible shape")
        scale = table.table(schema.Tensor.QUANTIZATION)
        in_blocks = scale is not None and scale.scalar(schema.Quantization.DETAILS_TYPE, "B") == schema.BLOCKWISE
        quantized = in_blocks or (scale is not None and scale.vector(schema.Quantization.SCALE, 4)[1] > 0)
        dims = tuple(None if d == -1 else d for d in signature)
        return Tensor(name, dims, schema.TENSOR_TYPES[code], self._buffers[buffer], quantized, in_blocks)

    def _operators(self, subgraph: Table, tensors: list[Tensor]) -> None:
        for operator in subgraph.tables(schema.SubGraph.OPERATORS):
            index = operator.scalar(schema.Operator.OPCODE, "I")
            if index >= len(self._codes):
                raise MalformedError(f"an operation has code {index} of {len(self._codes)}")
            self.facts.ops[self._codes[index][0]] += 1
            _pick(tensors, operator.int32s(schema.Operator.INPUTS), optional=True)
            computed = _pick(tensors, operator.int32s(schema.Operator.OUTPUTS), optional=True)
            self.facts.activations.update(t.dtype for t in computed)
            self.facts.quantized.update(t.dtype for t in computed if t.quantized)


def _pick(tensors: list[Tensor], indices: tuple[int, ...], *, optional: bool = False) -> list[Tensor]:
    """The tensors at those indices; -1 is an input left out, where that is allowed."""
    picked = []
    for index in indices:
        if optional and index == -1:
            continue
        if not 0 <= index < len(tensors):
            raise MalformedError(f"it points to tensor {index} of {len(tensors)}")
        picked.append(tensors[index])
    return picked


def _signature(table: Table, tensors: list[list[Tensor]]) -> Signature:
    index = table.scalar(schema.SignatureDef.SUBGRAPH, "I")
    if index >= len(tensors):
        raise MalformedError(f"a signature points to subgraph {index} of {len(tensors)}")

    def side(number: int) -> dict[str, Tensor]:
        maps = list(table.tables(number))
        picked = _pick(tensors[index], tuple(m.scalar(schema.TensorMap.INDEX, "I") for m in maps))
        return {m.text(schema.TensorMap.NAME): tensor for m, tensor in zip(maps, picked, strict=True)}

    key = table.text(schema.SignatureDef.KEY)
    inputs, outputs = side(schema.SignatureDef.INPUTS), side(schema.SignatureDef.OUTPUTS)
    return Signature(key, _facts(inputs), _facts(outputs), (_own_names(inputs), _own_names(outputs)))


def _facts(ends: dict[str, Tensor]) -> tuple[TensorFact, ...]:
    return tuple(tensor.fact(name) for name, tensor in ends.items())


def _own_names(ends: dict[str, Tensor]) -> dict[str, str]:
    return {name: tensor.name for name, tensor in ends.items()}
