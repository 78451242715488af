"""TFLite files whose kernels were written in afterwards compute what the model computes, or the other road is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.tracing import trace
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite import write as tflite_target
from converters.writers.tflite.write import write_tflite

Layers = Callable[[Any, Any], Any]


def _rescaled(offset: float, padding: str) -> Layers:
    def build(keras: Any, x: Any) -> Any:
        x = keras.layers.Rescaling(1 / 127.5, offset)(x)
        return keras.layers.Conv2D(6, 3, padding=padding)(x)

    return build


def _normalized_twice(keras: Any, x: Any) -> Any:
    x = keras.layers.Conv2D(7, 3)(x)
    for _ in range(2):
        x = keras.layers.BatchNormalization()(x)
    return keras.layers.Activation("relu")(x)


def _square(keras: Any, x: Any) -> Any:
    """Kernels whose axes cannot be told by their sizes."""
    x = keras.layers.Conv2D(3, 3, padding="same")(x)
    x = keras.layers.DepthwiseConv2D(3)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    for _ in range(2):
        x = keras.layers.Dense(3, activation="tanh")(x)
    return x


def _dense(keras: Any, x: Any) -> Any:
    x = keras.layers.Dense(5, use_bias=False)(keras.layers.Flatten()(x))
    x = keras.layers.BatchNormalization(scale=False)(x)
    return keras.layers.Dense(2)(keras.layers.ReLU()(x) * 0.5)


def _linear(keras: Any, x: Any) -> Any:
    """The converter puts the first bias through the second kernel."""
    return keras.layers.Dense(2)(keras.layers.Dense(5)(keras.layers.Flatten()(x)))


def _shifted_dense(keras: Any, x: Any) -> Any:
    return keras.layers.Dense(2)(keras.layers.Flatten()(x) - 1.0)


def _branches(keras: Any, x: Any) -> Any:
    """A convolution whose result is scaled on one way and not on the other."""
    x = keras.layers.Conv2D(4, 3)(x)
    return keras.layers.Concatenate()([x * 2.0, keras.layers.ReLU()(x)])


def _depthwise_multiplied(keras: Any, x: Any) -> Any:
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    return keras.layers.BatchNormalization()(x)


def _learned_slopes(keras: Any, x: Any) -> Any:
    return keras.layers.PReLU()(keras.layers.Conv2D(4, 3)(x))


def _outer_sum(keras: Any, x: Any) -> Any:
    """What is added to a matrix product here widens it: no bias can say that."""
    x = keras.layers.Dense(4)(keras.layers.Flatten()(x))
    return x + np.arange(12, dtype=np.float32).reshape(1, 3, 4)


def _twice(keras: Any, x: Any) -> Any:
    layer = keras.layers.Conv2D(3, 3, padding="same")
    return layer(layer(x))


WEIGHTLESS = {
    "rescaled": _rescaled(0.0, "valid"),
    "shifted, padded": _rescaled(-1.0, "same"),
    "normalized": _normalized_twice,
    "square": _square,
    "dense": _dense,
    "branches": _branches,
    "depthwise": _depthwise_multiplied,
}
OTHER_ROAD = {
    "shifted": _rescaled(-1.0, "valid"),
    "shifted dense": _shifted_dense,
    "slopes": _learned_slopes,
    "twice": _twice,
    "outer sum": _outer_sum,
    "linear": _linear,
}


@pytest.mark.parametrize("name", [*WEIGHTLESS, *OTHER_ROAD])
def test_the_file_computes_what_the_model_computes(name: str, tmp_path: Path) -> None:
    model = _model((WEIGHTLESS | OTHER_ROAD)[name])
    assert _written(model, tmp_path) == ("weightless" if name in WEIGHTLESS else "saved-model")
    batch = np.random.default_rng(1).uniform(0, 255, (3, 9, 9, 3)).astype(np.float32)
    expected = np.asarray(model(batch, training=False))
    assert np.abs(_outputs(tmp_path / "m.tflite", batch) - expected).max() <= 5e-6 * np.abs(expected).max()


def test_equal_kernels_are_both_there(tmp_path: Path) -> None:
    def twins(keras: Any, x: Any) -> Any:
        layers = [keras.layers.Conv2D(3, 3, padding="same") for _ in range(2)]
        x = layers[1](layers[0](x))
        layers[1].set_weights(layers[0].get_weights())
        return x

    model = _model(twins, settle=False)
    assert _written(model, tmp_path) == "weightless"
    batch = np.random.default_rng(1).uniform(0, 1, (2, 9, 9, 3)).astype(np.float32)
    assert np.allclose(_outputs(tmp_path / "m.tflite", batch), np.asarray(model(batch)), atol=1e-5)


@pytest.mark.parametrize("harm", ["a mark that was computed with", "a constant from nowhere", "a mark that is gone"])
def test_what_cannot_be_accounted_for_takes_the_other_road(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converter may one day fold more than it does: its file is then not used."""
    from tensorflow.lite.python import schema_py_generated as schema

    convert = tflite_target._converted

    def harmed(folder: Path, allow_flex: bool) -> bytearray:
        content = convert(folder, allow_flex)
        if (folder / "variables").exists():
            return content
        model = schema.Model.GetRootAs(content, 0)
        buffers = [model.Buffers(k) for k in range(model.BuffersLength())]
        constants = [b.DataAsNumpy().view(np.float32) for b in buffers if b.DataLength() % 4 == 0 and b.DataLength()]
        marked = max(constants, key=lambda c: c.size)
        biases = next(c for c in constants if c.size == 4 and c.any())
        if harm == "a mark that was computed with":
            marked *= np.float32(1.5)
        elif harm == "a constant from nowhere":
            biases += marked[0]
        else:
            marked[-1] = 7
        return content

    monkeypatch.setattr(tflite_target, "_converted", harmed)
    model = _model(lambda keras, x: keras.layers.Conv2D(4, 3)(x))
    assert _written(model, tmp_path) == "saved-model"
    batch = np.ones((1, 9, 9, 3), np.float32)
    assert np.allclose(_outputs(tmp_path / "m.tflite", batch), np.asarray(model(batch)), atol=1e-5)


@pytest.mark.parametrize("where", ["converters.tracing.weightless", "converters.writers.tflite.write.converted"])
def test_what_fails_on_this_road_is_in_the_log_and_the_other_is_taken(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> object:
        raise RuntimeError("a graph like no other")

    monkeypatch.setattr(where, failing)
    assert _written(_model(_linear), tmp_path) == "saved-model"
    assert "a graph like no other" in capfd.readouterr().err


def _model(layers: Layers, *, settle: bool = True) -> Any:
    """A small model; batch norms and biases get numbers that show where they are lost."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((9, 9, 3), name="image")
    model = keras.Model(inputs, keras.layers.Identity(name="out")(layers(keras, inputs)))
    generator = np.random.default_rng(2)
    for variable in model.variables if settle else ():
        if len(variable.shape) == 1:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


def _written(model: Any, folder: Path) -> str:
    traced = trace(loaded_model(model))

    def saved() -> Path:
        write_saved_model(traced, folder / "saved")
        return folder / "saved"

    return write_tflite(traced, saved, folder / "m.tflite")


def _outputs(path: Path, batch: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    (output,) = Interpreter(str(path)).get_signature_runner("serving_default")(image=batch).values()
    return output
