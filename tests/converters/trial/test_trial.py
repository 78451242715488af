"""Files that nobody ran: each of what a writer gets wrong is found by running its file once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.loading import loaded_model
from converters.errors import StepError
from converters.formats import Format, Precision
from converters.signature import Signature, TensorSpec
from converters.tracing import Traced, trace
from converters.trial.drawing import rounds
from converters.trial.opening import function_of
from converters.trial.trial import Trial
from converters.workers import float32, reduced
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite


@dataclass(frozen=True)
class Made:
    """A model with its files, which are right."""

    traced: Traced
    trial: Trial
    files: dict[Format, Path]

    def check(self, fmt: Format, path: Path | None = None, precision: Precision = Precision.FLOAT32) -> bool:
        return self.trial.check(path or self.files[fmt], fmt, precision, self.traced.signature)


def small_model(size: int | None = None) -> Any:
    import keras
    from keras import layers as kl

    keras.utils.set_random_seed(3)
    image = keras.Input((size, size, 3), name="image")
    maps = kl.Conv2D(4, 3, padding="same", activation="relu", bias_initializer="random_normal")(image)
    vector = kl.Dense(3, name="scores", bias_initializer="random_normal")(kl.GlobalAveragePooling2D()(maps))
    return keras.Model(image, {"scores": vector, "whole": keras.ops.cast(vector * 10, "int32")})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    traced = trace(loaded_model(small_model()))
    files = {fmt: folder / f"m.{fmt.value}" for fmt in (Format.SAVEDMODEL, Format.TFLITE, Format.ONNX)}
    write_saved_model(traced, files[Format.SAVEDMODEL])
    write_tflite(traced, lambda: files[Format.SAVEDMODEL], files[Format.TFLITE])
    write_onnx(traced, files[Format.ONNX])
    return Made(traced, Trial.drawn(function_of(traced.concrete), traced.signature, {}), files)


FORMATS = (Format.SAVEDMODEL, Format.TFLITE, Format.ONNX)


@pytest.mark.parametrize("fmt", FORMATS)
def test_right_files_pass_at_two_sizes(made: Made, fmt: Format) -> None:
    assert [sample.inputs["image"].shape for sample in made.trial.samples] == [(2, 32, 32, 3), (2, 45, 51, 3)]
    assert made.check(fmt)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_that_does_not_open_was_not_made(made: Made, fmt: Format, tmp_path: Path) -> None:
    source, path = made.files[fmt], tmp_path / made.files[fmt].name
    if source.is_dir():
        shutil.copytree(source, path)
        (path / "variables" / "variables.index").write_bytes(b"")
    else:
        path.write_bytes(source.read_bytes()[:900])
    with pytest.raises(StepError, match=rf"The {fmt.value} file that was made cannot be opened by .+ \(\w+: .+\)"):
        made.check(fmt, path)


def with_other_bias(source: Path, path: Path, change: Callable[[Any], Any]) -> Path:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    biases = [t for t in model.graph.initializer if len(t.dims) == 1 and t.data_type == onnx.TensorProto.FLOAT]
    assert biases
    for bias in biases:
        bias.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(bias)), bias.name))
    onnx.save(model, path)
    return path


def test_a_wrong_bias_is_found_and_a_rounded_one_is_not(made: Made, tmp_path: Path) -> None:
    """The kind of Conv2DTranspose with an output padding, whose last row lacked the bias, and of area resizing."""
    source = made.files[Format.ONNX]
    wrong = with_other_bias(source, tmp_path / "wrong.onnx", lambda bias: bias + np.float32(0.1))
    with pytest.raises(StepError, match=r"is not what the model is: `scores` is off by 0.*largest value"):
        made.check(Format.ONNX, wrong)
    rounded = with_other_bias(source, tmp_path / "close.onnx", lambda bias: bias * np.float32(1 + 1e-5))
    assert made.check(Format.ONNX, rounded)


def test_precisions_have_bounds_of_their_own(made: Made, tmp_path: Path) -> None:
    source = made.files[Format.ONNX]
    wrong = with_other_bias(source, tmp_path / "wrong.onnx", lambda bias: bias + np.float32(0.05))
    garbage = with_other_bias(source, tmp_path / "garbage.onnx", lambda bias: bias + np.float32(1e6))
    assert made.check(Format.ONNX, wrong, Precision.INT8)
    for precision in Precision:
        with pytest.raises(StepError, match="is off by"):
            made.check(Format.ONNX, garbage, precision)


def test_answers_that_are_not_numbers_are_found(made: Made, tmp_path: Path) -> None:
    path = with_other_bias(made.files[Format.ONNX], tmp_path / "nan.onnx", lambda bias: bias * np.float32(np.nan))
    for precision in (Precision.FLOAT32, Precision.DYNAMIC_INT8):
        with pytest.raises(StepError, match="`scores` is not finite where the model is"):
            made.check(Format.ONNX, path, precision)


def test_a_size_that_was_written_down_for_another_is_found(made: Made, tmp_path: Path) -> None:
    """The kind of a file that its checker passes and whose runtime refuses what the signature allows."""
    traced = trace(loaded_model(small_model(32)))
    write_onnx(traced, tmp_path / "fixed.onnx")
    with pytest.raises(StepError, match="cannot be run by ONNX Runtime"):
        made.check(Format.ONNX, tmp_path / "fixed.onnx")


def answering(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Trial:
    signature = Signature((TensorSpec("x", ("batch", 4), "float32"),), (TensorSpec("y", ("batch", 4), "float32"),))
    return Trial.drawn(lambda inputs: change({"y": inputs["x"]}), signature, {})


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        (lambda y: {}, "it has no output `y`"),
        (lambda y: {"y": y["y"][:1]}, r"the shape of `y` is \[1, 4\] instead of \[2, 4\]"),
        (lambda y: {"y": y["y"].astype(np.int8)}, "`y` is int8 instead of float32"),
    ],
)
def test_shapes_names_and_types_are_looked_at(
    answers: Callable[[Any], Any], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = answering(lambda y: y)
    monkeypatch.setattr("converters.trial.trial.opened", lambda *_: lambda inputs: answers({"y": inputs["x"]}))
    with pytest.raises(StepError, match=fault):
        trial.check(Path("m.onnx"), Format.ONNX, Precision.INT8, trial.signature)


def test_complex_numbers_are_measured_and_random_ones_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = answering(lambda y: {"y": y["y"] * (1 + 2j)})
    generator = np.random.default_rng(0)
    dice = answering(lambda y: {"y": y["y"] * generator.random(y["y"].shape)})
    for turn, right in ((1 + 2j, True), (1 - 2j, False)):
        answers = {"y": trial.samples[0].inputs["x"] * turn}
        monkeypatch.setattr("converters.trial.trial.opened", lambda *_, a=answers: lambda _inputs: a)
        if right:
            assert trial.check(Path("m"), Format.SAVEDMODEL, Precision.FLOAT32, trial.signature)
        else:
            with pytest.raises(StepError, match="is off by"):
                trial.check(Path("m"), Format.SAVEDMODEL, Precision.FLOAT32, trial.signature)
    again = dice.run(dice.samples[0].inputs)
    monkeypatch.setattr("converters.trial.trial.opened", lambda *_: lambda _inputs: again)
    assert dice.check(Path("m"), Format.SAVEDMODEL, Precision.FLOAT32, dice.signature)


def test_what_the_model_magnifies_itself_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million times the difference of neighbours: nobody's float32 agrees with another's."""

    def steep(values: dict[str, Any]) -> dict[str, Any]:
        return {"y": (values["y"] - np.float32(0.5)) * np.float32(1e6) % np.float32(7)}

    trial = answering(steep)
    other = {"y": steep({"y": np.nextafter(trial.samples[0].inputs["x"], np.float32(9))})["y"]}
    assert np.abs(other["y"] - trial.samples[0].answers["y"]).max() > 0.01 * 7
    monkeypatch.setattr("converters.trial.trial.opened", lambda *_: lambda _inputs: other)
    assert trial.check(Path("m.onnx"), Format.ONNX, Precision.FLOAT32, trial.signature)


def test_a_model_that_runs_on_nothing_drawn_is_not_checked(made: Made) -> None:
    def refuses(_inputs: Any) -> Any:
        raise ValueError("it takes none of them")

    trial = Trial.drawn(refuses, made.traced.signature, {})
    assert not trial.check(made.files[Format.ONNX], Format.ONNX, Precision.FLOAT32, made.traced.signature)


def test_maps_beside_an_image_are_drawn_at_whole_parts_of_its_size() -> None:
    """Such as the masks of a segmenter, which come at a quarter: with any other size nothing of it runs."""
    image = TensorSpec("image", ("batch", 64, 64, 3), "float32")
    masks = TensorSpec("masks", ("batch", "masks_dim1", "masks_dim2", "masks_dim3", 1), "float32")
    first, second = rounds(Signature((image, masks), ()))
    for draws, count in ((first, 1), (second, 2)):
        shapes = [draw.inputs(Signature((image, masks), ()), {})["masks"].shape for draw in draws]
        assert (2, count, 16, 16, 1) in shapes
    open_image = TensorSpec("image", ("batch", "h", "w", 3), "float32")
    usual = next(rounds(Signature((open_image,), ())))[0].inputs(Signature((open_image,), ()), {})
    assert usual["image"].shape == (2, 32, 32, 3)


def test_indices_are_drawn_from_the_vocabulary_or_from_little() -> None:
    signature = Signature((TensorSpec("ids", ("batch", "ids_dim1"), "int32"),), ())
    (first, *_), _ = rounds(signature)
    assert first.inputs(signature, {})["ids"].max() <= 9
    assert 900 < first.inputs(signature, {"ids": (0, 999)})["ids"].max() <= 999

    def table_of_two(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"y": np.arange(2)[inputs["ids"]]}

    assert Trial.drawn(table_of_two, signature, {}).samples[0].inputs["ids"].max() == 1
    floats = Signature((TensorSpec("ids", ("batch", 5), "float32"),), ())  # Keras' default type of an input

    def table_behind_floats(inputs: dict[str, Any]) -> dict[str, Any]:
        if inputs["ids"].min() < 0:
            raise ValueError("no such row")
        return table_of_two({"ids": inputs["ids"].astype(int)})

    assert set(Trial.drawn(table_behind_floats, floats, {}).samples[0].inputs["ids"].flat) == {0, 1}


class Heard:
    """A channel that keeps what a worker says of each item."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, Any]] = {}

    def event(self, **message: Any) -> None:
        if "item" in message:
            self.outcomes[message["item"]] = message


@pytest.mark.parametrize("check", [True, False])
def test_a_writer_that_errs_makes_no_artifact(check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker itself: one writer is wrong, one writes what does not open; the third is made, and made first."""
    small_model(8).save(tmp_path / "m.keras")
    right = float32.write_onnx

    def wrong(traced: Traced, path: Path, opset: Any) -> Any:
        result = right(traced, path, opset)
        with_other_bias(path, path, lambda bias: bias + np.float32(1))
        return result

    monkeypatch.setattr(float32, "write_onnx", wrong)
    monkeypatch.setattr(float32, "write_tflite", lambda _t, _s, path, **_: str(path.write_bytes(b"TFL3")))
    monkeypatch.setattr(float32, "_open", None)
    targets = [
        {"item": f, "format": f, "precision": "float32", "path": str(tmp_path / f"m.{f}")}
        for f in ("savedmodel", "tflite", "onnx")
    ]
    checkpoint = Checkpoint(tmp_path / "m.keras", SourceKind.KERAS, "m", "")
    monkeypatch.setattr(float32, "confirm", lambda _checkpoint: None)
    request = {"checkpoint": checkpoint.to_json(), "batch": None, "opset": None, "allow_flex": False}
    heard: Any = Heard()
    float32.write_float32(request | {"folder": str(tmp_path), "targets": targets, "check": check}, heard)
    made = {fmt for fmt, event in heard.outcomes.items() if "result" in event}
    assert made == ({"savedmodel"} if check else {"savedmodel", "tflite", "onnx"})
    assert {fmt for fmt in ("savedmodel", "tflite", "onnx") if (tmp_path / f"m.{fmt}").exists()} == made
    assert all(heard.outcomes[fmt]["result"]["checked"] is check for fmt in made)
    if check:
        assert "cannot be opened by LiteRT" in heard.outcomes["tflite"]["error"]["message"]
        assert "`scores` is off by" in heard.outcomes["onnx"]["error"]["message"]


@pytest.mark.parametrize("check", [True, False])
def test_a_quantizer_that_errs_makes_no_artifact(
    made: Made, check: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind of an int8 file of a tensor that is an output and goes on, which no runtime opens."""

    class Source:
        def __init__(self, path: Path, *_: Any) -> None:
            self.path = path

        def write(self, precision: Precision, path: Path, **_: Any) -> Signature:
            content = self.path.read_bytes()
            path.write_bytes(content if precision is Precision.FLOAT16 else b"TFL3")
            return made.traced.signature

    monkeypatch.setattr(reduced, "TfliteSource", Source)
    base = {"path": str(made.files[Format.TFLITE]), "signature": made.traced.signature.to_json()}
    targets = [
        {"item": p, "format": "tflite", "precision": p, "path": str(tmp_path / f"m.{p}.tflite"), "keep": []}
        for p in ("dynamic_int8", "float16")
    ]
    heard: Any = Heard()
    request = {"bases": {"tflite": base}, "targets": targets, "calibration": None, "io": "float", "contract": None}
    reduced.derive_in_worker(request | {"scratch": str(tmp_path), "check": check, "ranges": {}}, heard)
    assert heard.outcomes["float16"]["result"]["checked"] is check
    outcome = heard.outcomes["dynamic_int8"]
    assert ("error" in outcome) is check
    assert (tmp_path / "m.dynamic_int8.tflite").exists() is not check
    assert not list(tmp_path.glob(".part-*"))
    if check:
        assert "The tflite file that was made cannot be opened by LiteRT" in outcome["error"]["message"]
