"""Contents of a SavedModel folder, read from its protobufs without TensorFlow.

Field numbers: saved_model.proto, meta_graph.proto, graph.proto, function.proto of TensorFlow 2.21.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from converters.errors import RefusedError
from converters.readers.facts import MalformedError, TensorFact, WeightFact, mapped, refusing
from converters.readers.protobuf import Message
from converters.readers.saved_model_assets import asset_files
from converters.readers.saved_model_ops import read_ops
from converters.readers.tensor_bundle import Entry, missing_data, read_bundle
from converters.signature import SIGNATURE_KEY

DTYPES: dict[int, str] = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16",
    18: "complex128", 19: "float16", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64", 24: "float8_e5m2",
    25: "float8_e4m3fn", 26: "float8_e4m3fnuz", 27: "float8_e4m3b11fnuz", 28: "float8_e5m2fnuz", 29: "int4",
    30: "uint4", 31: "int2", 32: "uint2",
}  # fmt: skip
"""tensorflow.DataType; +100 is the reference type of the same."""

VARIABLE_OPS = frozenset({"VarHandleOp", "VariableV2", "Variable"})
_INTERNAL_SIGNATURES = frozenset({"__saved_model_init_op", "__saved_model_train_op"})
_KERAS_LIST = "_all_variables/"
_BOOKKEEPING = frozenset(
    {
        "_checkpointable_object_graph",
        "save_counter",
        "optimizer",
        "_optimizer",
        ".optimizer_slot",
        "seed_generator",
        "keras_api",
    }
)


@dataclass(frozen=True)
class Signature:
    key: str
    inputs: tuple[TensorFact, ...]
    outputs: tuple[TensorFact, ...]


@dataclass
class SavedModelFacts:
    """A SavedModel.

    Attributes:
        tags: of each meta graph.
        signatures: those of the meta graph tagged `serve`, or of the only one. Protobuf maps have no order: by name.
        ops: how often each operation occurs, function bodies included.
        host_ops: operations that may reach beyond the model (`saved_model_ops`), with the node's name.
        assets: names of the files under `assets/` that it reads.
        has_objects: TensorFlow 2 wrote it; without, it holds graphs alone (TensorFlow 1).
        variables: what the checkpoint stores, less optimizer and bookkeeping.
    """

    tags: list[tuple[str, ...]] = field(default_factory=list)
    tensorflow_version: str = ""
    signatures: list[Signature] = field(default_factory=list)
    ops: Counter[str] = field(default_factory=Counter)
    host_ops: list[tuple[str, str]] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)
    has_objects: bool = False
    variables: list[WeightFact] = field(default_factory=list)

    def signature(self, key: str = SIGNATURE_KEY) -> Signature | None:
        """The signature of that key; where it is missing and there is but one, that one."""
        match = next((s for s in self.signatures if s.key == key), None)
        return match or (self.signatures[0] if len(self.signatures) == 1 else None)


def read_saved_model(folder: Path) -> SavedModelFacts:
    """Reads the facts of a SavedModel folder, and checks that its variables are all there.

    Raises:
        RefusedError: a part is missing or damaged; the message names it.
        UsageError: a file cannot be read.
    """
    graph = folder / "saved_model.pb"
    if not graph.is_file():
        raise _incomplete(folder, "it has no saved_model.pb")
    facts = SavedModelFacts()
    with refusing(graph, "SavedModel graph"), mapped(graph) as data:
        if not data:
            raise MalformedError("it is empty")
        _read_graph(facts, Message(data))
    for name in facts.assets:
        if not (folder / "assets" / name).is_file():
            raise _incomplete(folder, f"its file assets/{name} is missing")
    index = folder / "variables" / "variables.index"
    if index.is_file():
        _read_variables(facts, index, folder)
    elif VARIABLE_OPS & facts.ops.keys():
        raise _incomplete(folder, "it has no variables/variables.index, where its weights are listed")
    return facts


def _incomplete(folder: Path, reason: str) -> RefusedError:
    return RefusedError(
        f"{folder} is not a whole SavedModel: {reason}.",
        next_step="Copy the whole folder again, or save the model again.",
        file=folder,
    )


def _read_variables(facts: SavedModelFacts, index: Path, folder: Path) -> None:
    with refusing(index, "checkpoint index"):
        bundle = read_bundle(index)
        problem = missing_data(index, bundle)
    if problem:
        raise _incomplete(folder, f"in variables/, {problem}")
    names = _weight_names([entry.name for entry in bundle.entries])
    facts.variables = [
        WeightFact(entry.name, entry.shape, DTYPES.get(entry.dtype, "unknown"))
        for entry in bundle.entries
        if entry.name in names and DTYPES.get(entry.dtype) != "string" and not _is_seed(entry)
    ]


def _is_seed(entry: Entry) -> bool:
    """Keras keeps the state of a random generator as two integers (keras/src/random/seed_generator.py)."""
    return entry.shape == (2,) and DTYPES.get(entry.dtype) in ("int64", "uint32")


def _weight_names(keys: list[str]) -> set[str]:
    """The keys of the model's own weights, each counted once.

    Keras' `model.export()` stores every variable twice: under `variables/` (with the seeds of random generators) and
    under `_all_variables/`, its list of the model's weights. Where that list is there, it is the answer.
    """
    list_keys = {key for key in keys if key.startswith(_KERAS_LIST)}
    return list_keys or {key for key in keys if not _BOOKKEEPING & set(key.lower().split("/"))}


def _read_graph(facts: SavedModelFacts, model: Message) -> None:
    chosen: Message | None = None
    for meta in model.messages(2):
        info = meta.message(1)
        tags = tuple(info.texts(4)) if info is not None else ()
        facts.tags.append(tags)
        if chosen is None or "serve" in tags:
            chosen = meta
            facts.tensorflow_version = info.text(5) if info is not None else ""
        ops = read_ops(meta)
        facts.ops += ops.counts
        facts.host_ops += ops.unsafe
        facts.assets += [_asset(asset) for asset in asset_files(meta)]
    if chosen is None:
        raise MalformedError("it has no graph in it")
    entries = sorted(chosen.map(5), key=lambda entry: entry[0])
    facts.has_objects = 7 in chosen
    facts.signatures = [_signature(key, s) for key, s in entries if key not in _INTERNAL_SIGNATURES]


def _asset(asset: Message) -> str:
    """The name of an asset, which TensorFlow joins to the folder as it is."""
    name = asset.text(2)
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or "\0" in name or ":" in name:
        raise MalformedError(f"its asset {name!r} lies outside the folder")
    return name


def _signature(key: str, message: Message) -> Signature:
    def side(number: int) -> tuple[TensorFact, ...]:
        return tuple(_tensor(name, info) for name, info in sorted(message.map(number), key=lambda entry: entry[0]))

    return Signature(key, side(1), side(2))


def _tensor(name: str, info: Message) -> TensorFact:
    code = info.integer(2)
    dtype = DTYPES.get(code % 100 if code > 100 else code)
    if dtype is None:
        raise MalformedError(f"the signature's tensor {name!r} has the unknown element type {code}")
    shape = info.message(3)
    if shape is None or shape.integer(3):
        return TensorFact(name, None, dtype)
    dims = (dim.integer(1) for dim in shape.messages(2))
    return TensorFact(name, tuple(d if d >= 0 else None for d in dims), dtype)
