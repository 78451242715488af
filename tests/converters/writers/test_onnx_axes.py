"""Axes that tf2onnx or ONNX Runtime mistake where a transpose, a bias or a slice is not the usual one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import loaded_model
from converters.formats import Format
from converters.signature import Signature, TensorSpec
from converters.tracing import trace
from converters.writers.onnx.write import write_onnx

Array = np.ndarray[Any, Any]


def drawn(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def check(function: Callable[[Any], Any], shape: tuple[int, ...], folder: Path, *, is_open: bool = False) -> None:
    """Holds the file of a function against it, on a batch of two."""
    sizes = [f"size{k}" for k in range(len(shape))] if is_open else shape
    signature = Signature((TensorSpec("x", ("batch", *sizes), "float32"),), (TensorSpec("y", ("batch",), "float32"),))
    check_loaded(Loaded(None, signature, lambda inputs: [function(inputs[0])], ()), drawn(2, *shape), folder)


def check_loaded(loaded: Loaded, feed: Array, folder: Path) -> None:
    import onnxruntime
    import tensorflow as tf

    write_onnx(trace(loaded).composed_for(Format.ONNX), folder / "m.onnx")
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: feed})
    truth = np.asarray(loaded.function([tf.constant(feed)])[0])
    assert found.shape == truth.shape
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5 * np.abs(truth).max())


def check_model(model: Any, shape: tuple[int, ...], folder: Path) -> None:
    generator = np.random.default_rng(1)
    for variable in model.variables:
        variable.assign(generator.normal(size=variable.shape))
    check_loaded(loaded_model(model), drawn(2, *shape), folder)


SLICES: dict[str, Callable[[Any], Any]] = {
    "behind steps": lambda x: x[:, ::2, -1, ::-1, ...],
    "behind a new axis": lambda x: x[:, None, :, :, ..., :1],
    "before a new axis": lambda x: x[:, -1, :, 0, ..., None],
    "behind steps and a new axis": lambda x: x[:, ::2, 1:, :, None, ...],
    "of two axes": lambda x: x[:, None, ..., ::2],
}


@pytest.mark.parametrize("is_open", [False, True], ids=["known", "open"])
@pytest.mark.parametrize("name", SLICES)
def test_an_ellipsis(name: str, is_open: bool, tmp_path: Path) -> None:
    check(SLICES[name], (4, 5, 3), tmp_path, is_open=is_open)


ROWS = np.arange(1, 5, dtype=np.float32)


def convolved(x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.conv2d(x, drawn(1, 1, 3, 4), 1, "SAME")


SUMS: dict[str, Callable[[Any], Any]] = {
    "columns": lambda x: convolved(x) + ROWS[:, None],
    "rows": lambda x: convolved(x) + ROWS[:, None, None],
    "channels": lambda x: convolved(x) + ROWS,
    "one number": lambda x: convolved(x) + ROWS[1:2],
}


@pytest.mark.parametrize("name", SUMS)
def test_what_is_added_behind_a_convolution_of_as_many_channels(name: str, tmp_path: Path) -> None:
    """tf2onnx would take any of these for the convolution's bias."""
    check(SUMS[name], (4, 4, 3), tmp_path)


def test_a_bias_along_the_rows_behind_a_convolution(tmp_path: Path) -> None:
    """Keras adds a vector so, which tf2onnx would make the convolution's own."""
    from keras import layers, models, ops

    inputs = layers.Input((4, 5, 3))
    outputs = ops.add(layers.Conv2D(2, 1, use_bias=False)(inputs), ROWS[:, None, None])
    outputs = ops.add(layers.Conv2DTranspose(3, 1, use_bias=False)(outputs), ROWS[:, None, None])
    check_model(models.Model(inputs, outputs), (4, 5, 3), tmp_path)


@pytest.mark.parametrize(
    ("name", "shape"), [("heads", (5, 4)), ("grouped heads", (2, 2)), ("einsum", (3, 4, 6)), ("batch", (3, 4, 2))]
)
def test_a_bias_along_the_second_axis(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Of weights with more axes than one, which are bound after the translation, or of what the graph computes."""
    from keras import layers, models, ops

    inputs = layers.Input(shape)
    if name == "heads":
        outputs = layers.MultiHeadAttention(2, 1)(inputs, layers.AveragePooling1D(2)(inputs))
    elif name == "grouped heads":
        outputs = layers.GroupQueryAttention(1, 4, 2)(inputs, inputs)
    elif name == "einsum":
        outputs = layers.EinsumDense("abcd,de->abce", output_shape=(3, 4, 2), bias_axes="bc")(inputs)
        outputs = layers.EinsumDense("abcd,de->abce", output_shape=(3, 4, 1), bias_axes="be")(outputs)
    else:
        outputs = ops.add(inputs, ops.mean(inputs, (0, 2, 3), keepdims=True)[0])
    check_model(models.Model(inputs, outputs), shape, tmp_path)


@pytest.mark.parametrize("size", [(9, 6), (None, None)], ids=str)
@pytest.mark.parametrize("kind", ["resizing", "upsampling", "permuted"])
def test_a_bilinear_resize_of_another_order_of_channels(
    kind: str, size: tuple[int | None, ...], tmp_path: Path
) -> None:
    """ONNX Runtime moves the transpose before it past the resize, and has no kernel for the axes that come out."""
    from keras import layers, models

    inputs = layers.Input((*size, 3))
    x = layers.Conv2D(2, 1, activation="tanh")(inputs)
    if kind == "resizing":
        outputs = layers.Resizing(5, 4, data_format="channels_first", crop_to_aspect_ratio=True)(x)
    elif kind == "upsampling":
        outputs = layers.UpSampling2D((2, 3), data_format="channels_first", interpolation="bilinear")(x)
    else:
        outputs = layers.UpSampling2D(2, interpolation="bilinear")(layers.Permute((3, 1, 2))(x))
    outputs = layers.MaxPooling2D(2)(outputs)
    check_model(models.Model(inputs, outputs), (9, 6, 3), tmp_path)
