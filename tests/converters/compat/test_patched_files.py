"""Each patch of the converters on and off: the same bytes where it promises them, the same bits from what is made.

A patch is put off as a newer library would do it: the original gets another signature, so that it does not fit.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.artifact import digest
from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.identify import identify
from converters.checkpoints.loading import load
from converters.compat import keras, tensorflow, tf2onnx
from converters.compat.patch import Part, Patch, noting
from converters.errors import MisfitError
from converters.tracing import trace
from converters.workers import float32 as conversion
from converters.writers.onnx import tensorflow_graph as onnx_tf2onnx
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite
from validate.compat.litert import operations_in

EVERY = {"onnx", "tflite", "variables"}
TFLITE_RUNS = 1e-7
"""Of what a file computes; TFLite's kernels add in another order where the graph is another."""


@dataclass(frozen=True)
class Made:
    """What a model was converted to: digests, what each file computes on the same inputs, operations of two of them."""

    digests: Mapping[str, str]
    values: Mapping[str, Mapping[str, Any]]
    nodes: Mapping[str, int]
    saved_bytes: int
    notes: Sequence[str]


def made(source: Path, folder: Path) -> Made:
    import onnx
    import onnxruntime
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    folder.mkdir()
    with noting() as notes:
        loaded = load(Checkpoint(source, SourceKind.KERAS, "m", ""))
        traced = trace(loaded)
        write_saved_model(traced, folder / "sm")
        write_tflite(traced, lambda: folder / "sm", folder / "m.tflite")
        write_onnx(traced, folder / "m.onnx")
    feeds = {spec.name: _drawn(spec) for spec in loaded.signature.inputs}
    served = tf.saved_model.load(str(folder / "sm")).signatures["serving_default"]
    keywords = served.structured_input_signature[1]
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    lite = Interpreter(str(folder / "m.tflite"), experimental_op_resolver_type=resolver)
    (variables,) = (folder / "sm" / "variables").glob("*.data-*")
    values = {
        "savedmodel": served(**{key: tf.constant(feeds[spec.name]) for key, spec in keywords.items()}),
        "onnx": dict(zip(names, session.run(None, feeds), strict=True)),
        "tflite": lite.get_signature_runner("serving_default")(**feeds),
    }
    return Made(
        {
            "onnx": digest(folder / "m.onnx"),
            "tflite": digest(folder / "m.tflite"),
            "variables": digest(variables),
        },
        {fmt: {name: np.array(value) for name, value in outputs.items()} for fmt, outputs in values.items()},
        {"onnx": len(onnx.load(folder / "m.onnx").graph.node), "tflite": len(operations_in(lite))},
        (folder / "sm" / "saved_model.pb").stat().st_size,
        tuple(notes),
    )


def _drawn(spec: Any) -> Any:
    values = np.random.default_rng(0).uniform(0, 1, spec.concrete(3, 24))
    return (values * 49).astype(np.int32) if spec.dtype == "int32" else values.astype(spec.dtype)


class Models:
    """Models of the zoo on disk, and what they are converted to with every patch on."""

    def __init__(self, zoo: Any, folder: Path) -> None:
        self._zoo, self._folder = zoo, folder

    @functools.cache  # noqa: B019 - lives as long as the module's tests
    def source(self, name: str) -> Path:
        path = self._folder / f"{name}.keras"
        self._zoo.build(name).save(path)
        return path

    @functools.cache  # noqa: B019
    def patched(self, name: str) -> Made:
        return made(self.source(name), self._folder / name)


@pytest.fixture(scope="module")
def models(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(zoo, tmp_path_factory.mktemp("models"))


def put_off(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library as a newer one might be: a patched function takes one more parameter, a called one other ones."""
    module, _, attribute = part.where.partition(":")
    *outer, name = attribute.split(".")
    owner = functools.reduce(getattr, outer, importlib.import_module(module))
    original = getattr(owner, name)

    def stranger(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    if isinstance(part, Patch):
        known = inspect.signature(inspect.unwrap(original)).parameters.values()
        kept = [p for p in known if p.kind is not p.VAR_KEYWORD]
        new = inspect.Parameter("something_new", inspect.Parameter.KEYWORD_ONLY, default=None)
        stranger.__signature__ = inspect.Signature([*kept, new, *(p for p in known if p.kind is p.VAR_KEYWORD)])  # type: ignore[attr-defined]
    monkeypatch.setattr(owner, name, stranger)
    assert not part.fits()


CASES = [
    # patch or part put off         model              what stays the same to the byte
    (keras.RESHAPE,                 "squeeze_excite",  EVERY),
    (keras.REPEAT,                  "squeeze_excite",  EVERY),
    (keras.MATMUL,                  "gelu_attention",  {"variables"}),
    (keras.MATMUL,                  "normalization",   EVERY),
    (keras.CONV,                    "squeeze_excite",  EVERY),
    (keras.CONV,                    "convolutional",   {"variables"}),
    (keras.RELU,                    "convolutional",   EVERY),
    (keras.NORMALIZATION,           "convolutional",   {"variables"}),
    (keras.AVERAGED_TO_A_SIZE,      "squeeze_excite",  EVERY),
    (keras.LARGEST_TO_A_SIZE,       "squeeze_excite",  EVERY),
    (keras.SPLIT,                   "squeeze_excite",  EVERY),
    (keras.TENSORDOT,               "squeeze_excite",  EVERY),
    (keras.QUANTILE,                "squeeze_excite",  EVERY),
    (keras.SPECTRUM,                "squeeze_excite",  EVERY),
    (keras.CROP,                    "squeeze_excite",  EVERY),
    (keras.SWITCH,                  "squeeze_excite",  EVERY),
    (keras.EXTREMES[0],             "squeeze_excite",  EVERY),
    (keras.EXTREMES[1],             "squeeze_excite",  EVERY),
    (keras.VARIABLE_VALUE,          "squeeze_excite",  EVERY),
    (keras.NAME_SCOPE,              "squeeze_excite",  EVERY),
    (keras.SKIPSET,                 "squeeze_excite",  EVERY),
    (keras.LOAD_ARCHIVE,            "squeeze_excite",  EVERY),
    (keras.CHANNEL_OPERATIONS[0],   "squeeze_excite",  EVERY),
    (keras.CHANNEL_OPERATIONS[1],   "separable",       EVERY),
    (keras.CHANNEL_OPERATIONS[2],   "separable",       EVERY),
    (keras.CHANNEL_OPERATIONS[3],   "transposed",      EVERY),
    (tensorflow.EINSUM,             "gelu_attention",  {"variables"}),
    (tensorflow.CREATE_OPERATION,   "convolutional",   {"variables", "onnx"}),
    (tensorflow.SERIALIZE,          "squeeze_excite",  EVERY),
    (tensorflow.RESTORE,            "squeeze_excite",  EVERY),
    (tensorflow.READ_VALUE,         "squeeze_excite",  EVERY),
    (tensorflow.CONVERT_SAVED_MODEL, "squeeze_excite", {"variables", "onnx"}),
    (tensorflow.CONVERT_SAVED_MODEL, "transposed",     {"variables", "onnx"}),
    (tensorflow.DEDUPLICATE,        "squeeze_excite",  EVERY),
    (tf2onnx.RUN_REWRITERS,         "squeeze_excite",  EVERY),
    (tf2onnx.RESOLVE_FUNCTIONS,     "squeeze_excite",  EVERY),
    (tf2onnx.TRANSPOSES,            "squeeze_excite",  EVERY),
    (tf2onnx.TRANSPOSES,            "transposed",      {"variables", "tflite"}),
]  # fmt: skip
SAVES = {(keras.MATMUL, "gelu_attention"): "onnx", (tensorflow.EINSUM, "gelu_attention"): "tflite"}
"""In which format a patch is worth nodes; every other one leaves ONNX as many as it has."""


@pytest.mark.parametrize(("part", "name", "same"), CASES, ids=lambda v: v.where if isinstance(v, Part) else "")
def test_a_patch_put_off_is_noted_and_the_files_compute_the_same(
    part: Part, name: str, same: set[str], models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on, source = models.patched(name), models.source(name)
    put_off(part, monkeypatch)
    off = made(source, tmp_path / "off")
    assert on.notes == ()
    assert any(part.where in note or part.otherwise in note for note in off.notes)
    assert {kind for kind in EVERY if on.digests[kind] == off.digests[kind]} >= same
    saves = SAVES.get((part, name))
    assert on.nodes[saves] < off.nodes[saves] if saves else on.nodes["onnx"] == off.nodes["onnx"]
    for fmt, outputs in on.values.items():
        assert set(outputs) == set(off.values[fmt])
        for output, value in outputs.items():
            difference = np.abs(value - off.values[fmt][output]).max()
            assert difference <= (TFLITE_RUNS if fmt == "tflite" else 0), (fmt, output)


def test_lean_saving_makes_a_smaller_file(models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The claim of the two patches that change a SavedModel's bytes: fewer operations, the same variables."""
    on, source = models.patched("squeeze_excite"), models.source("squeeze_excite")
    for part in (tensorflow.SERIALIZE, tensorflow.RESTORE):
        put_off(part, monkeypatch)
    off = made(source, tmp_path / "off")
    assert on.saved_bytes < off.saved_bytes
    assert on.digests == off.digests


def test_a_layer_of_any_name_is_why_scopes_are_opened_so(
    models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on, source = models.patched("odd_names"), models.source("odd_names")
    put_off(keras.NAME_SCOPE, monkeypatch)
    off = made(source, tmp_path / "off")
    assert "unusual names" in off.notes[0]
    assert on.values["onnx"].keys() == off.values["onnx"].keys()


@pytest.mark.parametrize(
    ("part", "name"),
    [*((part, "channels_first") for part in keras.CHANNEL_OPERATIONS), (keras.CONV, "grouped")],
    ids=lambda value: value.where if isinstance(value, Part) else value,
)
def test_where_there_is_no_plain_way_the_library_is_blamed_and_not_the_model(
    part: Part, name: str, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = models.source(name)
    put_off(part, monkeypatch)
    with pytest.raises(MisfitError, match=r"keras 3\.\S+ is not as edgeport knows it from keras 3\.") as caught:
        load(Checkpoint(source, SourceKind.KERAS, "m", ""))
    assert part.where in caught.value.message
    assert str(source) not in caught.value.message
    assert "pip install 'keras==" in caught.value.next_step


@pytest.mark.parametrize("part", [keras.FLATTEN_LAYERS, keras.HISTORY], ids=lambda part: part.where)
def test_a_private_part_that_is_gone_is_the_librarys_fault(
    part: Part, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = models.source("squeeze_excite")
    put_off(part, monkeypatch)
    with pytest.raises(MisfitError, match="is not as edgeport knows it"):
        load(Checkpoint(source, SourceKind.KERAS, "m", ""))


def test_an_attribute_error_of_ours_does_not_blame_the_model(
    models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    traced = trace(load(Checkpoint(models.source("squeeze_excite"), SourceKind.KERAS, "m", "")))
    monkeypatch.setattr(onnx_tf2onnx, "_widen_scalars", lambda _: onnx_tf2onnx._constant(None, "stem", np.zeros(1)))
    with pytest.raises(MisfitError, match="edgeport's own use of tf2onnx 1") as caught:
        write_onnx(traced, tmp_path / "m.onnx")
    assert "model" not in caught.value.message


class Told:
    """Takes a worker's events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def event(self, **event: Any) -> None:
        self.events.append(event)

    def of(self, item: str) -> dict[str, Any]:
        return next(event for event in self.events if event.get("item") == item and len(event) > 1)


def test_the_manifests_notes_and_a_failure_tell_what_was_left_out(
    models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conversion, "_open", None)
    for part in (keras.RELU, tensorflow.SERIALIZE, tensorflow.FREEZE):
        put_off(part, monkeypatch)
    targets = [
        {"item": fmt, "format": fmt, "precision": "float32", "path": str(tmp_path / f"m.{fmt}")}
        for fmt in ("savedmodel", "onnx")
    ]
    request = {
        "checkpoint": identify(models.source("lstm")).to_json(),
        "folder": str(tmp_path),
        "batch": None,
        "opset": None,
        "allow_flex": False,
        "check": False,
        "shapes": {},
        "targets": targets,
    }
    told: Any = Told()
    facts = conversion.open_source(request, told)
    conversion.write_float32(request, told)
    assert any(keras.RELU.where in note for note in facts["notes"])
    assert any(tensorflow.SERIALIZE.where in note for note in told.of("savedmodel")["result"]["notes"])
    failure = told.of("onnx")["error"]  # a loop is frozen first, and nothing else can do that
    assert tensorflow.FREEZE.where in failure["message"]
    assert "model" not in failure["message"].removeprefix("tensorflow")
    assert "pip install 'tensorflow==" in failure["next"]
