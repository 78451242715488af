"""The reference held against itself: a wrong graph is found, named, and judged against what Keras gives eagerly."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints import loading
from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.loading import loaded_model
from converters.isolation import Message
from validate.agreement.worker import reference_runs
from validate.agreement.worker.doubts import Doubt, find_doubt
from validate.agreement.worker.taps.function import TappedFunction


class Silent:
    """A channel that nobody listens to."""

    def event(self, **_event: Any) -> None: ...


@pytest.fixture(autouse=True)
def any_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow runs in this process already, and its threads are what they are."""
    monkeypatch.setattr("validate.runtimes.keras.prepare_tensorflow", lambda _options: None)


def steps_of_images() -> Any:
    """TimeDistributed over steps that are not known, which Keras' own graph gets wrong."""
    import keras
    from keras import layers

    frame, x = keras.Input((8, 8, 2)), keras.Input((None, 8, 8, 2), name="x")
    sub = keras.Model(frame, layers.Flatten()(layers.Conv2D(3, 7)(frame)))
    return keras.Model(x, layers.GRU(3)(layers.TimeDistributed(sub, name="each_step")(x)))


def judged(model: Any, folder: Path, **more: Any) -> Message:
    """What the worker tells of a reference."""
    path = folder / "model.keras"
    model.save(path)
    request = {
        "work": str(folder), "path": str(path), "checkpoint": None, "threads": 1, "opening": LoadOptions().to_json(),
        "samples": 4, "seed": 0, "inputs": None, "input_range": None, "shapes": {}, "cache": None, "precisions": [],
    }  # fmt: skip
    return reference_runs.run_reference({**request, **more}, Silent())  # type: ignore[arg-type]


def test_keras_own_graph_is_found_wrong_and_its_layer_named(tmp_path: Path) -> None:
    document = judged(steps_of_images(), tmp_path, shapes={"x": (4, 5, 8, 8, 2)})
    (doubt,) = document["doubts"]
    assert "from the layer each_step (TimeDistributed) on" in doubt


def test_a_wrong_graph_is_judged_against_eager_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "faithful_backend", contextlib.nullcontext)
    model = steps_of_images()
    document = judged(model, tmp_path, shapes={"x": (4, 5, 8, 8, 2)})
    (doubt,) = document["doubts"]
    assert "from the layer each_step (TimeDistributed) on" in doubt
    inputs = np.load(tmp_path / "inputs" / "in.0.npy")[:4]
    for folder in ("reference", "oracle"):
        values = np.load(tmp_path / folder / "out.0.npy")[:4]
        np.testing.assert_allclose(values, model(inputs).numpy(), rtol=1e-4, atol=1e-6)
    assert np.load(tmp_path / "oracle" / "noise_out.0.npy").max() < 1e-4


def test_a_sound_model_is_not_doubted(tmp_path: Path) -> None:
    import keras
    from keras import layers

    x = keras.Input((9, 4), name="x")
    y = layers.Concatenate()([layers.Bidirectional(layers.LSTM(3))(x), layers.GlobalMaxPooling1D()(x)])
    y = layers.BatchNormalization()(layers.Dense(5, activation="relu")(y))
    assert judged(keras.Model(x, layers.Dense(3, activation="softmax")(y)), tmp_path)["doubts"] == []


def doubted(layer: Any, folder: Path) -> Doubt | None:
    """A model with this layer in its midst, without an oracle."""
    import keras

    x = keras.Input((6,), name="x")
    first, last = keras.layers.Dense(4, name="first"), keras.layers.Dense(2, name="last")
    loaded = loaded_model(keras.Model(x, last(layer(first(x)))))
    inputs = {"x": np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)}
    (folder / "reference").mkdir()
    (values,) = TappedFunction(loaded.function, loaded.signature).run(inputs)[0].values()
    np.save(folder / "reference" / "out.0.npy", values)
    return find_doubt(loaded, inputs, folder, folder / "oracle")


@pytest.mark.parametrize(("by", "wrong"), [(1.0, False), (1.02, True)])
def test_another_layer_that_is_wrong_in_graphs_is_found(by: float, wrong: bool, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    class Scaled(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x if tf.executing_eagerly() else x * by

    doubt = doubted(Scaled(name="scaled"), tmp_path)
    assert (doubt is not None) == wrong
    if doubt is not None:
        assert doubt.graph_is_wrong
        assert "from the layer scaled (Scaled) on" in doubt.note


def test_samples_that_depend_on_their_batch_are_told(tmp_path: Path) -> None:
    import keras

    class Centred(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x - keras.ops.mean(x, axis=0, keepdims=True)

    doubt = doubted(Centred(), tmp_path)
    assert doubt is not None
    assert not doubt.graph_is_wrong
    assert "depends on the other samples" in doubt.note
