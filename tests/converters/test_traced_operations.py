"""What is traced otherwise than Keras does computes the same in every format: upsampling, and volumes in groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.formats import Format
from converters.tracing import trace
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite

ROWS, OPEN = 3, 6


def _sequence(shape: Sequence[int | None], *layers: Any) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape), *layers])


def _decoder(kl: Any) -> Any:
    image = kl.Reshape((7, 7, 4))
    return _sequence((196,), image, kl.UpSampling2D(), kl.UpSampling2D((2, 3)), kl.Conv2D(3, 3, padding="same"))


def _repeated(repeats: Any, axis: int) -> Any:
    import keras

    inputs = keras.Input((4, 3))
    return keras.Model(inputs, keras.ops.repeat(inputs, repeats, axis))


def _joined(kl: Any) -> Any:
    import keras

    inputs = keras.Input((None, None, 2))
    fine = kl.Conv2D(2, 3, padding="same")(inputs)
    coarse = kl.UpSampling2D()(kl.Conv2D(2, 3, strides=2, padding="same")(fine))
    return keras.Model(inputs, kl.Conv2D(1, 3, padding="same")(kl.Concatenate()([fine, coarse])))


def _quantiles(shape: Sequence[int | None], axes: Sequence[Any]) -> Any:
    """By every method, along these axes; a fraction alone and several, whose axis comes first."""
    import keras
    from keras import ops

    inputs = keras.Input(shape)
    found = [ops.expand_dims(ops.median(inputs, axes[0]), 0), ops.quantile(inputs, [0.1, 0.55], axes[0])]
    for method in ("lower", "higher", "nearest", "midpoint"):
        found.append(ops.quantile(inputs, [0.3, 0.62], axes[0], method=method))
    first = ops.moveaxis(ops.concatenate(found, 0), 0, -1)
    others = [ops.quantile(inputs, 0.3, axis, keepdims=True) for axis in axes]
    return keras.Model(inputs, sum((ops.sum(y) for y in others), ops.sin(first)))


def _products(_: Any) -> Any:
    import keras
    from keras import ops

    inputs = keras.Input((3, 5, 4))
    numbers = np.random.default_rng(1)
    ways = [((4, 6), 1), ((5, 4, 6), 2), ((3, 6, 5), [[1, 2], [0, 2]]), ((6, 5), [[-2], [1]])]
    found = [ops.tensordot(inputs, numbers.normal(size=shape).astype("float32"), axes) for shape, axes in ways]
    return keras.Model(inputs, keras.layers.Concatenate()([keras.layers.Flatten()(y) for y in found]))


MODELS: dict[str, Callable[[Any], Any]] = {
    "decoder": _decoder,
    "one layer": lambda kl: _sequence((16, 16, 3), kl.UpSampling2D(), kl.Conv2D(1, 3, padding="same")),
    "one dimension": lambda kl: _sequence((8, 3), kl.UpSampling1D(3), kl.Conv1D(2, 3)),
    "three dimensions": lambda kl: _sequence((3, 4, 4, 2), kl.UpSampling3D((2, 1, 3)), kl.Conv3D(2, 2)),
    "channels first": lambda kl: _sequence((2, 4, 4), kl.UpSampling2D((2, 3), data_format="channels_first")),
    "open height": lambda kl: _sequence((None, 4, 3), kl.UpSampling2D(), kl.Conv2D(2, 3, padding="same")),
    "open sizes": lambda kl: _sequence((None, None, 3), kl.UpSampling2D((2, 3)), kl.Conv2D(2, 3, padding="same")),
    "open length": lambda kl: _sequence((None, 3), kl.UpSampling1D(2)),
    "joined": _joined,
    "groups": lambda kl: _sequence((5, 6, 6, 4), kl.Conv3D(6, 2, strides=2, groups=2, padding="same"), kl.ReLU()),
    "dilated groups": lambda kl: _sequence((5, 5, 5, 4), kl.Conv3D(4, 2, groups=4, dilation_rate=2)),
    "groups of open sizes": lambda kl: _sequence((None, None, 6, 4), kl.Conv3D(4, 2, groups=2)),
    "last axis": lambda _: _repeated(2, -1),
    "quantiles": lambda _: _quantiles((3, 5, 2), [1, 2, (1, 2), (3, 1)]),
    "quantiles of open sizes": lambda _: _quantiles((None, 5, 2), [2, (2, 3)]),
    "products": _products,
    "frames": lambda kl: _sequence(
        (100,), kl.MelSpectrogram(32, 8, num_mel_bins=6, sampling_rate=800), kl.Conv1D(3, 2)
    ),
    "a crop that crops nothing": lambda kl: _sequence((9, 8, 2), kl.RandomCrop(4, 5), kl.Conv2D(2, 2)),
    "a crop of open sizes": lambda kl: _sequence((None, None, 2), kl.RandomCrop(4, 5), kl.GlobalMaxPooling2D()),
    "windows of a single value": lambda kl: _sequence((1, 4, 3), kl.AdaptiveMaxPooling2D(2)),
    "each its own number": lambda _: _repeated([1, 0, 2, 1], 1),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_the_same_in_every_format(name: str, tmp_path: Path) -> None:
    import keras
    import onnxruntime
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    keras.utils.set_random_seed(0)
    model = MODELS[name](keras.layers)
    traced = trace(loaded_model(model))
    ((given,), (told,)) = traced.signature.inputs, traced.signature.outputs
    shape = (ROWS, *(size if isinstance(size, int) else OPEN for size in given.shape[1:]))
    batch = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    expected = np.asarray(model(batch, training=False))
    (answer,) = traced.concrete(tf.constant(batch)).values()
    known = [(size, actual) for size, actual in zip(told.shape, expected.shape, strict=True) if isinstance(size, int)]
    assert all(size == actual for size, actual in known)
    write_onnx(traced.composed_for(Format.ONNX), tmp_path / "m.onnx")
    traced = traced.composed_for(Format.TFLITE)
    write_saved_model(traced, tmp_path / "sm")
    write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    runner = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for value in (answer, *runner(**{given.name: batch}).values(), *session.run(None, {given.name: batch})):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(expected).max()))
    (details,) = runner.get_output_details().values()
    assert list(details["shape_signature"]) == [size if isinstance(size, int) else -1 for size in told.shape]
