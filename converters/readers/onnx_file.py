"""Contents of an `.onnx` file, read from its protobuf without the onnx library.

Field numbers: onnx.proto of ONNX 1.23 (IR version 14 and older ones; they are never renumbered).
"""

from __future__ import annotations

import math
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from converters.readers.facts import MalformedError, Shape, TensorFact, checked_shape, mapped, refusing
from converters.readers.protobuf import Message

DTYPES: dict[int, str] = dict(enumerate((
    "undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16",
    "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "uint4", "int4", "float4_e2m1", "float8_e8m0", "uint2", "int2",
    "float6_e2m3", "float6_e3m2",
)))  # fmt: skip
"""TensorProto.DataType."""

DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})
RUNTIME_DOMAINS = frozenset(
    {"com.microsoft", "com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc"}
)
"""What ONNX Runtime registers by itself; operations of any other domain are code that somebody would have to load."""

COMPILED_OPS = frozenset({"com.microsoft::EPContext"})
"""A program compiled for one device, inside the model or in a file that it names: no reader can tell what it does."""

STANDARD_DOMAINS = DEFAULT_DOMAINS | {"ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"}

_BITS = {"uint4": 4, "int4": 4, "float4_e2m1": 4, "uint2": 2, "int2": 2, "float6_e2m3": 6, "float6_e3m2": 6}
"""Element types that are packed: several in a byte, the last one filled up."""


@dataclass(frozen=True)
class Initializer:
    """A stored tensor.

    Attributes:
        nbytes: of its values, wherever they lie.
        location: the file beside the model that holds the values; empty where the model itself does.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    location: str = ""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass
class OnnxFacts:
    """An ONNX model.

    Attributes:
        opsets: version by domain; the default domain is the empty string.
        ops: how often each operation occurs, subgraphs and local functions included; operations outside the default
            domain are written `domain::Op`.
        custom_ops: those of domains that neither ONNX nor the file itself defines.
        initializers: with the tensors of Constant nodes.
        zero_point_dtypes: of QuantizeLinear: how activations are stored.
        casts: the dtypes that values are cast to.
        packed_bits: of the weights that operations unpack by themselves (MatMulNBits).
        in_blocks: a DequantizeLinear has a scale for each block.
    """

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    inputs: list[TensorFact] = field(default_factory=list)
    outputs: list[TensorFact] = field(default_factory=list)
    ops: Counter[str] = field(default_factory=Counter)
    custom_ops: list[str] = field(default_factory=list)
    initializers: list[Initializer] = field(default_factory=list)
    zero_point_dtypes: set[str] = field(default_factory=set)
    casts: set[str] = field(default_factory=set)
    packed_bits: set[int] = field(default_factory=set)
    in_blocks: bool = False
    external_files: list[str] = field(default_factory=list)

    @property
    def foreign_ops(self) -> list[str]:
        """Those of `custom_ops` that ONNX Runtime cannot run by itself, or that hold a compiled program."""
        return [o for o in self.custom_ops if o in COMPILED_OPS or o.rpartition("::")[0] not in RUNTIME_DOMAINS]

    @property
    def opset(self) -> int | None:
        return self.opsets.get("")


def read_onnx(path: Path) -> OnnxFacts:
    """Reads the facts of an ONNX file; weights are skipped.

    Raises:
        RefusedError: the bytes are not an ONNX model, or its external data lies outside its folder or is not all there.
        UsageError: the file cannot be read.
    """
    reader = _Reader(path.parent)
    with refusing(path, "ONNX model"), mapped(path) as data:
        reader.read(Message(data))
    return reader.facts


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.facts = OnnxFacts()
        self._quantized_by: set[str] = set()
        self._functions: set[str] = set()

    def read(self, model: Message) -> None:
        facts, graph = self.facts, model.message(7)
        facts.ir_version = model.integer(1)
        if graph is None or facts.ir_version <= 0:
            raise MalformedError("it has no graph or no IR version")
        facts.producer = " ".join(filter(None, (model.text(2), model.text(3))))
        for entry in model.messages(8):
            domain = entry.text(1)
            facts.opsets["" if domain in DEFAULT_DOMAINS else domain] = entry.integer(2)
        if not facts.opsets:
            raise MalformedError("it imports no operator set")
        functions = list(model.messages(25))
        self._functions = {op_name(f.text(10), f.text(1)) for f in functions}
        self._graph(graph)
        for function in functions:
            self._nodes(function.messages(7))
        stored = {i.name for i in facts.initializers}
        facts.inputs = [t for t in map(_value, graph.messages(11)) if t.name not in stored]
        facts.outputs = [_value(v) for v in graph.messages(12)]
        facts.custom_ops = sorted(op for op in facts.ops if self._is_custom(op))
        facts.zero_point_dtypes = {i.dtype for i in facts.initializers if i.name in self._quantized_by}
        facts.external_files = sorted({i.location for i in facts.initializers if i.location})

    def _is_custom(self, op: str) -> bool:
        domain, separator, _ = op.rpartition("::")
        return bool(separator) and domain not in STANDARD_DOMAINS and op not in self._functions

    def _graph(self, graph: Message) -> None:
        self.facts.initializers.extend(self._tensor(t) for t in graph.messages(5))
        for sparse in graph.messages(15):
            values = sparse.message(1)
            if values is not None:
                self.facts.initializers.append(self._tensor(values))
        self._nodes(graph.messages(1))

    def _nodes(self, nodes: Iterator[Message]) -> None:
        for node in nodes:
            op = op_name(node.text(7), node.text(4))
            if not node.text(4):
                raise MalformedError("a node names no operation")
            self.facts.ops[op] += 1
            inputs = node.texts(1)
            if op == "QuantizeLinear" and len(inputs) > 2:
                self._quantized_by.add(inputs[2])
            for attribute in node.messages(5):
                self._attribute(attribute, node)

    def _attribute(self, attribute: Message, node: Message) -> None:
        for number in (6, 11):
            for graph in attribute.messages(number):
                self._graph(graph)
        op, setting = node.text(4), attribute.text(1)
        if op == "Cast" and setting == "to":
            self.facts.casts.add(dtype_of(attribute.integer(3)))
        elif setting == "bits":
            self.facts.packed_bits.add(attribute.integer(3))
        elif op == "DequantizeLinear" and setting == "block_size":
            self.facts.in_blocks |= attribute.integer(3) > 0
        tensor = attribute.message(5)
        if tensor is not None and op == "Constant":
            name = next(iter(node.texts(2)), "")
            self.facts.initializers.append(self._tensor(tensor, name))

    def _tensor(self, tensor: Message, name: str = "") -> Initializer:
        name = name or tensor.text(8)
        dtype = dtype_of(tensor.integer(2))
        shape = checked_shape(tuple(tensor.integers(1)), f"the tensor {name!r}")
        expected = nbytes(shape, dtype)
        raw = tensor.parts(9)
        if tensor.integer(14) == 1:
            return Initializer(name, shape, dtype, expected, self._external(tensor, name, expected))
        if raw and len(raw[-1]) != expected:
            raise MalformedError(f"the tensor {name!r} has {len(raw[-1])} bytes where its shape asks for {expected}")
        return Initializer(name, shape, dtype, expected)

    def _external(self, tensor: Message, name: str, expected: int) -> str:
        entries = {e.text(1): e.text(2) for e in tensor.messages(13)}
        unknown = set(entries) - {"location", "offset", "length", "checksum"}
        if unknown or "location" not in entries:
            raise MalformedError(f"the external data of {name!r} has no location, or keys that ONNX does not define")
        location = entries["location"]
        size = external_size(self._folder, location)
        try:
            offset = int(entries.get("offset", "0"))
            length = int(entries.get("length", str(expected)))
        except ValueError:
            raise MalformedError(f"the external data of {name!r} has an offset or length that is no number") from None
        if offset < 0 or length != expected or offset + length > size:
            raise MalformedError(
                f"the external data of {name!r} asks for {length} bytes at {offset} of {location!r}, which has {size}; "
                f"its shape needs {expected}"
            )
        return location


def external_size(folder: Path, location: str) -> int:
    """The size of an external data file that lies in the model's folder, reached over no link.

    A hard link counts as a way out: ONNX Runtime reads through it (CVE-2026-34446).
    """
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    if not parts or ".." in parts or location.startswith("/") or windows.drive or "\\" in location or "\0" in location:
        raise MalformedError(f"its external data {location!r} points out of the model's folder")
    at = folder
    for part in parts:
        at = at / part
        if at.is_symlink():
            raise MalformedError(f"its external data {location!r} is a symbolic link")
    try:
        state = at.lstat()
    except OSError:
        raise MalformedError(f"its external data {location!r} is not beside it") from None
    if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
        raise MalformedError(f"its external data {location!r} is no file of its own (a folder, device or hard link)")
    return state.st_size


def nbytes(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes of a tensor's raw data; strings have none and count as zero."""
    elements = math.prod(shape)
    return (elements * _BITS[dtype] + 7) // 8 if dtype in _BITS else elements * _WIDTH[dtype]


_WIDTH = {
    "undefined": 0, "string": 0, "bool": 1, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "float16": 2, "bfloat16": 2,
    "int32": 4, "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e4m3fnuz": 1, "float8_e5m2": 1, "float8_e5m2fnuz": 1, "float8_e8m0": 1,
}  # fmt: skip


def op_name(domain: str, op: str) -> str:
    return op if domain in DEFAULT_DOMAINS else f"{domain}::{op}"


def dtype_of(code: int) -> str:
    """NumPy's name of an element type of ONNX. Raises MalformedError: ONNX does not have the number."""
    if code not in DTYPES:
        raise MalformedError(f"it has a tensor of the unknown element type {code}")
    return DTYPES[code]


def _value(value: Message) -> TensorFact:
    kind = value.message(2)
    tensor = kind.message(1) if kind is not None else None
    if tensor is None:
        return TensorFact(value.text(1), None, "undefined" if kind is None else "sequence")
    shape = tensor.message(2)
    return TensorFact(value.text(1), None if shape is None else _shape(shape), dtype_of(tensor.integer(1)))


def _shape(shape: Message) -> Shape:
    def dimension(dim: Message) -> int | str | None:
        if 1 in dim:
            size = dim.integer(1)
            return size if size >= 0 else None
        return dim.text(2) or None

    return tuple(dimension(dim) for dim in shape.messages(1))
