"""Layers that TensorFlow's graphs compute otherwise than Keras does: the traced function gives what Keras gives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.checkpoints.rewrites import make_plain
from converters.compat.keras import PAD, TIME_DISTRIBUTED
from converters.errors import MisfitError
from converters.tracing import trace


def _per_frame() -> Any:
    import keras

    return _sequential((8, 8, 2), keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D())


def _sequential(shape: Any, *layers: Any) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape), *layers])


def _with_operations() -> Any:
    import keras

    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3)(inputs) / 3.0 + inputs[:, :1])


def _meeting_rows() -> Any:
    import keras

    class Centred(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        """Takes the mean of all rows of a step: no two steps may be joined."""

        def call(self, x: Any) -> Any:
            return x - keras.ops.mean(x, axis=0, keepdims=True)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return Centred()


Layers = Callable[[Any], list[Any]]
MODELS: dict[str, tuple[Any, Any, Layers]] = {
    # the model's input, one sample's sizes, the layers
    "dense": ((None, 4), (3, 4), lambda kl: [kl.TimeDistributed(kl.Dense(3))]),
    "known steps": ((3, 4), (3, 4), lambda kl: [kl.TimeDistributed(kl.Dense(3))]),
    "frames": ((None, 8, 8, 2), (4, 8, 8, 2), lambda kl: [kl.TimeDistributed(_per_frame()), kl.GRU(3)]),
    "nested": ((None, None, 4), (3, 2, 4), lambda kl: [kl.TimeDistributed(kl.TimeDistributed(kl.Dense(2)))]),
    "masked": ((None, 4), (3, 4), lambda kl: [kl.Masking(), kl.TimeDistributed(kl.Dense(2)), kl.GRU(3)]),
    "recurrent": ((None, 3, 4), (2, 3, 4), lambda kl: [kl.TimeDistributed(kl.LSTM(2))]),
    "operations": ((None, 4), (3, 4), lambda kl: [kl.TimeDistributed(_with_operations())]),
    "meeting rows": ((None, 4), (3, 4), lambda kl: [kl.TimeDistributed(_meeting_rows())]),
    "meeting, known": ((3, 4), (3, 4), lambda kl: [kl.TimeDistributed(_meeting_rows())]),
    "volumes": ((6, 8, 8, 2),) * 2 + (lambda kl: [kl.ZeroPadding3D(1), kl.Conv3D(2, 3, padding="same")],),
    "strided": ((6, 8, 8, 2),) * 2 + (lambda kl: [kl.ZeroPadding3D(1), kl.Conv3D(2, 3, 2, "same")],),
    "open volumes": ((None,) * 3 + (2,), (6, 8, 8, 2), lambda kl: [kl.ZeroPadding3D(1), kl.Conv3D(2, 3, 1, "same")]),
    "upsampled": ((None, None, 3), (5, 7, 3), lambda kl: [
        kl.UpSampling2D(2, interpolation="bilinear"), kl.Conv2D(2, 3)
    ]),
    "cubic": ((None, 6, 3), (5, 6, 3), lambda kl: [kl.UpSampling2D((2, 3), interpolation="bicubic")]),
    "upsampled first": ((3, None, None), (3, 5, 7), lambda kl: [
        kl.UpSampling2D(2, interpolation="bilinear", data_format="channels_first")
    ]),
}  # fmt: skip


@functools.cache
def _built(name: str) -> Any:
    import keras

    keras.utils.set_random_seed(3)
    shape, _, layers = MODELS[name]
    return _sequential(shape, *layers(keras.layers))


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_gives_what_keras_gives(name: str) -> None:
    import tensorflow as tf

    model = _built(name)
    traced = trace(loaded_model(model))
    (output,) = traced.signature.output_names
    for rows in (1, 5):  # neither is the number of steps
        x = np.random.default_rng(rows).normal(size=(rows, *MODELS[name][1])).astype("f")
        wanted = np.asarray(model(x))
        found = traced.concrete(tf.constant(x))[output].numpy()
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("name", ["frames", "volumes", "upsampled"])
def test_the_files_give_it_too(name: str, tmp_path: Path) -> None:
    import onnxruntime
    import tensorflow as tf

    from converters.writers.onnx.write import write_onnx
    from converters.writers.savedmodel import write_saved_model

    model = _built(name)
    traced = trace(loaded_model(model))
    write_saved_model(traced, tmp_path / "m")
    write_onnx(traced, tmp_path / "m.onnx", None)
    x = np.random.default_rng(2).normal(size=(5, *MODELS[name][1])).astype("f")
    wanted = np.asarray(model(x))
    (input_name,), (output,) = traced.signature.input_names, traced.signature.output_names
    served = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"]
    np.testing.assert_allclose(served(**{input_name: tf.constant(x)})[output], wanted, atol=5e-6)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run([output], {input_name: x})[0], wanted, atol=1e-5)


def test_a_step_of_many_is_one_call() -> None:
    """Twenty frames are one convolution with one kernel."""
    import keras

    model = _sequential((20, 8, 8, 2), keras.layers.TimeDistributed(keras.layers.Conv2D(2, 3)))
    operations = [node.op for node in trace(loaded_model(model)).concrete.graph.as_graph_def().node]
    assert operations.count("Conv2D") == 1


@pytest.mark.parametrize(("name", "patch"), [("dense", TIME_DISTRIBUTED), ("volumes", PAD)])
def test_a_keras_that_cannot_be_mended_is_refused(name: str, patch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _built(name)
    monkeypatch.setattr(type(patch), "fits", lambda self: self is not patch)
    with pytest.raises(MisfitError, match="is not as edgeport knows it"):
        make_plain(model)
