"""What a model assigns while it runs: seeds of masks that are thrown away go, numbers that answers depend on stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.loading import load, loaded_model
from converters.errors import UnsupportedError
from converters.tracing import Traced, trace
from converters.weightless_graph import assigned_variables
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite

ROWS = 3
SERIES, FRAMES = (5, 3), (3, 6, 6, 2)


def recurrent_layers() -> dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]]:
    from keras import layers as kl

    drop: dict[str, Any] = {"dropout": 0.2, "recurrent_dropout": 0.1}
    return {
        "lstm": (SERIES, kl.LSTM(4, **drop, return_sequences=True)),
        "gru": (SERIES, kl.GRU(4, **drop)),
        "gru_before": (SERIES, kl.GRU(4, **drop, reset_after=False)),
        "simple": (SERIES, kl.SimpleRNN(4, **drop)),
        "both": (SERIES, kl.Bidirectional(kl.LSTM(4, **drop))),
        "cells": (SERIES, kl.RNN([kl.LSTMCell(3, dropout=0.1), kl.GRUCell(2, recurrent_dropout=0.1)])),
        "unrolled": (SERIES, kl.LSTM(4, **drop, unroll=True)),
        "frames": (FRAMES, kl.ConvLSTM2D(2, 3, **drop, padding="same")),
        "each": ((4, 5, 3), kl.TimeDistributed(kl.GRU(2, **drop))),
        "lines": ((4, 6, 2), kl.ConvLSTM1D(2, 3, **drop)),
    }


@pytest.fixture(scope="module")
def dropped() -> tuple[Traced, Traced, dict[str, Any], dict[str, Any]]:
    """One model with every kind of recurrent layer; its trace, that of one row, inputs and Keras' own answers."""
    import keras

    keras.utils.set_random_seed(1)
    inputs = {name: keras.Input(shape, name=f"{name}_x") for name, (shape, _) in recurrent_layers().items()}
    outputs = {name: layer(inputs[name]) for name, (_, layer) in recurrent_layers().items()}
    model = keras.Model(list(inputs.values()), outputs)
    generator = np.random.default_rng(0)
    feeds = {x.name: generator.normal(size=(ROWS, *x.shape[1:])).astype(np.float32) for x in model.inputs}
    expected = {name: np.asarray(value) for name, value in model(list(feeds.values()), training=False).items()}
    loaded = loaded_model(model)
    return trace(loaded), trace(loaded, 1), feeds, expected


def check(outputs: dict[str, Any], expected: dict[str, Any]) -> None:
    assert outputs.keys() == expected.keys()
    for name, value in expected.items():
        assert outputs[name].shape == value.shape, name
        assert np.abs(outputs[name] - value).max() < 1e-6, name


def test_masks_that_are_thrown_away_leave_nothing_in_a_file(dropped: Any, tmp_path: Path) -> None:
    import onnxruntime
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    traced, single, feeds, expected = dropped
    assert not traced.updated
    assert not assigned_variables(traced.concrete)

    write_saved_model(traced, tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    check({name: value.numpy() for name, value in serve(**feeds).items()}, expected)

    write_onnx(traced, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    check(dict(zip(names, session.run(names, feeds), strict=True)), expected)

    write_saved_model(single, tmp_path / "single")
    write_tflite(single, lambda: tmp_path / "single", tmp_path / "m.tflite")
    runner = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")
    rows = [runner(**{name: value[k : k + 1] for name, value in feeds.items()}) for k in range(ROWS)]
    check({name: np.concatenate([row[name] for row in rows]) for name in expected}, expected)


@pytest.fixture(scope="module")
def random() -> Traced:
    import keras

    class Always(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        """Monte Carlo dropout: its answers differ from call to call, on purpose."""

        def __init__(self) -> None:
            super().__init__(name="always")
            self.drop = keras.layers.Dropout(0.5)

        def call(self, x: Any) -> Any:
            return self.drop(x, training=True) + keras.random.normal((4,))  # a seed that no layer owns

    return trace(loaded_model(keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(4), Always()])))


@pytest.mark.parametrize("write", [write_onnx, lambda traced, path: write_tflite(traced, lambda: path, path)])
def test_random_answers_are_refused_by_layer(random: Traced, write: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"`always`.*random numbers that change from call to call"):
        write(random, tmp_path / "m")


def test_a_saved_model_goes_on_drawing(random: Traced, tmp_path: Path) -> None:
    import tensorflow as tf

    write_saved_model(random, tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    first, second = (next(iter(serve(x=np.ones((1, 4), np.float32)).values())).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0.01


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    import keras
    from keras import layers as kl

    keras.utils.set_random_seed(2)
    inputs = keras.Input(SERIES, name="x")
    drop = kl.Bidirectional(kl.GRU(3, dropout=0.2, recurrent_dropout=0.1))(kl.Masking()(inputs))
    model = keras.Model(inputs, kl.Dense(2, name="y")(drop))
    folder = tmp_path_factory.mktemp("exported") / "keras"
    model.export(folder, verbose=False)
    return folder, model


def test_an_exported_saved_model_loses_them_too(exported: tuple[Path, Any], tmp_path: Path) -> None:
    """Keras' own export holds the seeds in functions that call each other."""
    import onnxruntime
    import tensorflow as tf

    folder, model = exported
    traced = trace(load(Checkpoint(folder, SourceKind.SAVEDMODEL, "m", "")))
    assert not assigned_variables(traced.concrete)
    x = np.random.default_rng(0).normal(size=(ROWS, *SERIES)).astype(np.float32)
    expected = {traced.signature.output_names[0]: np.asarray(model(x))}

    write_saved_model(traced, tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    (keyword,) = serve.structured_input_signature[1]
    check({name: value.numpy() for name, value in serve(**{keyword: x}).items()}, expected)
    write_onnx(traced, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    check(dict(zip(expected, session.run(None, {session.get_inputs()[0].name: x}), strict=True)), expected)


def test_a_restored_state_that_answers_depend_on_stays(tmp_path: Path) -> None:
    import tensorflow as tf

    from converters.checkpoints.idle_assignments import without_idle_assignments

    class Counter(tf.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.total = tf.Variable(tf.zeros((3,)))

        @tf.function(input_signature=[tf.TensorSpec((3,), tf.float32, name="x")])  # type: ignore[untyped-decorator,unused-ignore]
        def serve(self, x: Any) -> Any:
            self.total.assign_add(x)
            return {"y": self.total + 0.0}

    counter = Counter()
    tf.saved_model.save(counter, str(tmp_path / "saved"), signatures={"serving_default": counter.serve})
    restored = tf.saved_model.load(str(tmp_path / "saved"))
    concrete = restored.signatures["serving_default"]
    assert assigned_variables(concrete)
    assert without_idle_assignments(concrete) is concrete
