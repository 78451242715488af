"""A `.tflite` with no signature or with several, as if it had one: the one to run, on the file's first subgraph.

    [ new root: Model table, the signature, the subgraphs' places ][ the file as it was ]

Most of the world's files have no signature: their tensors' names, cleaned, become it. Whatever asks a file for its
signature, a runtime, a tap or a quantizer, then takes these as it takes all others.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.errors import RefusedError
from converters.readers import tflite_schema as schema
from converters.readers.facts import MalformedError, refusing
from converters.readers.flatbuffer import Buffer, Table
from converters.readers.flatbuffer_head import ALIGNMENT, Head
from converters.readers.tflite_file import IDENTIFIER, read_tflite
from converters.signature import SIGNATURE_KEY, tensor_names

NOTE = "The file has no signature: its inputs and outputs have the names of their tensors."

_HEADER = struct.Struct("<I4s")  # root offset, identifier
_Ends = Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Signed:
    """The bytes to open instead of the file, None where it is right as it is, and what is to be told of them."""

    content: bytes | None = None
    notes: tuple[str, ...] = ()


def signed(path: Path, key: str | None = None) -> Signed:
    """A file with one signature. One without stays so where its weights lie behind the flatbuffer (over 2 GiB).

    Args:
        key: which of several; None takes `serving_default`. A file of one signature is taken by that one.

    Raises:
        RefusedError: the bytes are not a TFLite model, or the signature cannot be had alone.
        UsageError: the file cannot be read, or has several signatures and none is meant.
    """
    facts = read_tflite(path)
    signature = facts.chosen(path, key)
    if len(facts.signatures) == 1:
        return Signed()
    with refusing(path, "TFLite model"):
        content = path.read_bytes()
        model = Buffer(memoryview(content)).root()
        far = any(buffer.scalar(schema.Buffer.OFFSET, "Q") > 1 for buffer in model.tables(schema.Model.BUFFERS))
        if signature is None:
            # Weights behind the flatbuffer are named by their place, which would move.
            return Signed() if far else Signed(_Signing(model).head(_unsigned(model)) + content, (NOTE,))
        if not far:
            definitions = model.tables(schema.Model.SIGNATURES)
            definition = next(s for s in definitions if s.text(schema.SignatureDef.KEY) == signature.key)
            place = definition.scalar(schema.SignatureDef.SUBGRAPH, "I")
            head = _Signing(model, place).head(_ends_of(definition))
            return Signed(head + content, (f"Of the file's signatures {facts.keys}, `{signature.key}` is run.",))
    raise RefusedError(
        f"{path} has several signatures and is larger than 2 GiB: one alone cannot be taken from it.",
        next_step="Convert it again with one signature.",
        file=path,
    )


def _unsigned(model: Table) -> tuple[_Ends, _Ends]:
    graph = next(model.tables(schema.Model.SUBGRAPHS))
    tensors = [tensor.text(schema.Tensor.NAME) for tensor in graph.tables(schema.SubGraph.TENSORS)]

    def side(number: int) -> _Ends:
        ends = graph.int32s(number)
        if any(not 0 <= index < len(tensors) for index in ends):
            raise MalformedError("its inputs or outputs are no tensors of it")
        return list(zip(tensor_names(tensors[index] for index in ends), ends, strict=True))

    return side(schema.SubGraph.INPUTS), side(schema.SubGraph.OUTPUTS)


def _ends_of(definition: Table) -> tuple[_Ends, _Ends]:
    def side(number: int) -> _Ends:
        maps = definition.tables(number)
        return [(m.text(schema.TensorMap.NAME), m.scalar(schema.TensorMap.INDEX, "I")) for m in maps]

    return side(schema.SignatureDef.INPUTS), side(schema.SignatureDef.OUTPUTS)


class _Signing:
    """The new beginning of a file whose subgraph at `place` becomes the first, and the only one that nothing calls.

    Without a place all stay as they are.
    """

    def __init__(self, model: Table, place: int | None = None) -> None:
        self._model, self._place = model, place
        self._head = Head(_HEADER.size)

    def head(self, ends: tuple[_Ends, _Ends]) -> bytes:
        model, head = self._model, self._head
        places = {field: place for field in schema.Model.BY_OFFSET if (place := model.target(field)) is not None}
        root = head.table(schema.Model.FIELDS)
        head.put(root + 4 + 4 * schema.Model.VERSION, model.scalar(schema.Model.VERSION, "I"))
        signatures = self._signature(ends)
        subgraphs, moved = (None, {}) if self._place is None else self._subgraphs(self._place)
        head.align(ALIGNMENT)
        size = len(head.data)
        for at, target in moved.items():
            head.point(at, size + target)
        targets = {field: size + place for field, place in places.items()}
        targets[schema.Model.SIGNATURES] = signatures
        if subgraphs is not None:
            targets[schema.Model.SUBGRAPHS] = subgraphs
        for field in schema.Model.BY_OFFSET:
            head.field(root, field, targets.get(field))
        _HEADER.pack_into(head.data, 0, root, IDENTIFIER)
        return bytes(head.data)

    def _signature(self, ends: tuple[_Ends, _Ends]) -> int:
        head = self._head
        signatures = head.vector(1)
        signature = head.table(5)
        head.point(signatures + 4, signature)
        for number, side in zip((schema.SignatureDef.INPUTS, schema.SignatureDef.OUTPUTS), ends, strict=True):
            head.field(signature, number, _maps(head, side))
        head.field(signature, schema.SignatureDef.KEY, head.text(SIGNATURE_KEY))
        head.field(signature, schema.SignatureDef.UNUSED, None)
        head.field(signature, schema.SignatureDef.SUBGRAPH, None)  # 0, the first
        return signatures

    def _subgraphs(self, place: int) -> tuple[int, dict[int, int]]:
        """The vector's place, and in it the entries that are old subgraphs: those of other signatures are empty now."""
        head, targets = self._head, self._model.targets(schema.Model.SUBGRAPHS)
        called = set(_called(self._model, place))
        if place and 0 in called:
            raise MalformedError("its signature calls the file's first subgraph, which cannot be another one too")
        vector = head.vector(len(targets))
        empty = head.table(4)
        nothing = head.vector(0)
        for number in (schema.SubGraph.TENSORS, schema.SubGraph.INPUTS, schema.SubGraph.OUTPUTS):
            head.field(empty, number, nothing)
        head.field(empty, schema.SubGraph.OPERATORS, nothing)
        entries = {0: targets[place]} | {k: targets[k] for k in called}
        for k in set(range(len(targets))) - set(entries):
            head.point(vector + 4 + 4 * k, empty)
        return vector, {vector + 4 + 4 * k: target for k, target in entries.items()}


def _called(model: Table, place: int) -> Iterator[int]:
    """The subgraphs that the one at `place` runs, and that those run. All others where an operator may run any."""
    graphs = list(model.tables(schema.Model.SUBGRAPHS))
    codes = [
        max(code.scalar(schema.OperatorCode.DEPRECATED_BUILTIN, "b"), code.scalar(schema.OperatorCode.BUILTIN, "i"))
        for code in model.tables(schema.Model.OPERATOR_CODES)
    ]
    waiting, seen = [place], {place}
    while waiting:
        for operator in graphs[waiting.pop()].tables(schema.SubGraph.OPERATORS):
            kind = schema.BUILTIN_OPERATORS[codes[operator.scalar(schema.Operator.OPCODE, "I")]]
            options = operator.table(schema.Operator.OPTIONS)
            if kind.startswith("STABLEHLO_"):
                yield from range(1, len(graphs))
            for field in range(schema.CALLS.get(kind, 0)):
                target = 0 if options is None else options.scalar(field, "i")
                if not 0 <= target < len(graphs):
                    raise MalformedError(f"an operation runs subgraph {target} of {len(graphs)}")
                yield target
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)


def _maps(head: Head, ends: _Ends) -> int:
    """A vector of TensorMaps; returns its place."""
    vector = head.vector(len(ends))
    for k, (name, index) in enumerate(ends):
        entry = head.table(2)
        head.point(vector + 4 + 4 * k, entry)
        head.field(entry, schema.TensorMap.NAME, head.text(name))
        head.put(entry + 4 + 4 * schema.TensorMap.INDEX, index)
    return vector
