"""What layers of one's own do that Keras' do not: they keep tensors beside weights, and call layers in a branch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.arrays import Array
from converters.checkpoints.loading import loaded_model
from converters.tracing import trace
from converters.weightless_graph import reached_variables
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite import check
from converters.writers.tflite.weights import missing_kernels
from converters.writers.tflite.write import WEIGHTLESS, write_tflite


def _numbers(*shape: int) -> Array:
    return np.random.default_rng(4).normal(0, 1, shape).astype(np.float32)


def _kept() -> Any:
    """Tensors of more than 128 numbers, which TensorFlow captures and does not write into the graph."""
    import keras
    from keras import layers, ops

    class Kept(layers.Layer):
        def build(self, shape: Any) -> None:
            self.matrix = ops.convert_to_tensor(_numbers(shape[-1], 40))
            self.vector = ops.convert_to_tensor(_numbers(200))
            self.places = ops.convert_to_tensor((np.arange(200) % 40 - 1).reshape(20, 10))

        def call(self, x: Any) -> Any:
            taken = ops.take(ops.matmul(x, self.matrix), self.places, axis=-1)
            return ops.reshape(taken, (-1, 200)) + self.vector

    inputs = keras.Input((6,), name="x")
    return keras.Model(inputs, layers.Dense(3)(Kept()(layers.Dense(8)(inputs))))


def _branches() -> Any:
    """Weighted layers in branches, in one of a branch, and in a choice among three. Each batch goes another way."""
    import keras
    from keras import layers, ops

    class Branch(layers.Layer):
        def __init__(self, inner: Any, limit: float = 0.0) -> None:
            super().__init__()
            self.inner, self.limit = inner, limit

        def call(self, x: Any) -> Any:
            return ops.cond(ops.sum(x) > self.limit, lambda: self.inner(x), lambda: 2 * self.inner(x))

    class Choice(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = [layers.Dense(2) for _ in range(3)]

        def call(self, x: Any) -> Any:
            # beyond both ends of the branches, and between them
            return ops.switch(ops.cast(ops.mean(x) * 9, "int32"), [lambda x, i=i: i(x) for i in self.inner], x)

    inputs = keras.Input((6, 6, 3), name="x")
    kinds = (layers.Conv2D(4, 3), layers.DepthwiseConv2D(3), layers.Conv2DTranspose(2, 3), layers.Dense(2))
    outputs = [Branch(layer)(inputs) for layer in kinds]
    outputs.append(Choice()(inputs))
    line = layers.Reshape((6, 18))(inputs)
    outputs += [Branch(layers.Conv1D(4, 3))(line), Branch(Branch(layers.LayerNormalization(), 1.0))(line)]
    return keras.Model(inputs, outputs)


MODELS: dict[str, Callable[[], Any]] = {"kept": _kept, "branches": _branches}


@pytest.mark.parametrize("name", MODELS)
def test_its_onnx_file_answers_as_keras_does(name: str, tmp_path: Path) -> None:
    import keras
    import onnxruntime

    model = MODELS[name]()
    write_onnx(trace(loaded_model(model)), tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for batch in _batches(model):
        for found, expected in zip(session.run(None, {"x": batch}), keras.tree.flatten(model(batch)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_its_tflite_file_answers_as_keras_does(name: str, tmp_path: Path) -> None:
    import keras
    from ai_edge_litert.interpreter import Interpreter

    model = MODELS[name]()
    traced = trace(loaded_model(model))
    write_saved_model(traced, tmp_path / "sm")
    write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    runner = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")
    for batch in _batches(model):
        expected = dict(zip(traced.signature.output_names, keras.tree.flatten(model(batch)), strict=True))
        for output, found in runner(x=batch).items():
            np.testing.assert_allclose(found, expected[output], rtol=1e-5, atol=1e-5)


def _batches(model: Any) -> list[Array]:
    positive = np.abs(_numbers(2, *model.input_shape[1:]))
    return [positive, -positive, positive / 6]


def test_its_tflite_file_answers_as_keras_does_where_a_vector_is_kept(tmp_path: Path) -> None:
    """And is made without its weights: a kept vector is a constant that is known."""
    import keras
    from ai_edge_litert.interpreter import Interpreter
    from keras import layers, ops

    class Kept(layers.Layer):
        def build(self, _shape: Any) -> None:
            self.vector = ops.convert_to_tensor(_numbers(200))

        def call(self, x: Any) -> Any:
            return x + self.vector

    inputs = keras.Input((6,), name="x")
    model = keras.Model(inputs, layers.Dense(3)(ops.sin(Kept()(layers.Dense(200)(inputs)))))

    def no_saved_model() -> Path:
        raise AssertionError("no SavedModel is needed")

    assert write_tflite(trace(loaded_model(model)), no_saved_model, tmp_path / "m.tflite") == WEIGHTLESS
    batch = _numbers(2, 6)
    (found,) = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")(x=batch).values()
    np.testing.assert_allclose(found, model(batch), rtol=1e-5, atol=1e-5)


def test_a_kernel_is_found_whose_axes_the_converter_orders_anew_and_scales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads before widths in the layer, behind them in the einsum, and a norm's scale in front of it."""
    import keras
    from keras import layers

    inputs = keras.Input((5, 8), name="x")
    x = layers.Dense(8)(layers.RMSNormalization()(inputs))
    kernel = layers.EinsumDense("btd,ndh->btnh", output_shape=(None, 4, 3))
    model = keras.Model(inputs, kernel(layers.Rescaling(3.0)(layers.RMSNormalization()(x))))
    for variable in model.variables:
        variable.assign(_numbers(*variable.shape))
    traced = trace(loaded_model(model))
    write_saved_model(traced, tmp_path / "sm")
    monkeypatch.setattr(check, "_answers_alike", lambda *_: False)
    write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    kernels = {n: v.numpy() for n, v in reached_variables(traced.concrete).items() if len(v.shape) == 3}
    assert [value.shape for value in kernels.values()] == [(4, 8, 3)]
    assert missing_kernels((tmp_path / "m.tflite").read_bytes(), kernels) == []
    other = {name: value[:, ::-1] for name, value in kernels.items()}
    assert missing_kernels((tmp_path / "m.tflite").read_bytes(), other) == list(kernels)
