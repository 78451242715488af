"""Layers whose Python asks a tensor for its value, as KerasHub's RWKV-7 does with the length of its input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.arrays import Array
from converters.checkpoints.loading import loaded_model
from converters.errors import RefusedError
from converters.tracing import trace

Code = Callable[[Any], Any]


def _batch(rows: int, length: int) -> Array:
    return np.random.default_rng(length).normal(0, 2, (rows, length, 4)).astype(np.float32)


def _over_a_length(x: Any) -> Any:
    from keras import ops

    state = ops.zeros_like(x[:, 0])
    for step in range(ops.shape(x)[1]):
        state = ops.tanh(state + x[:, step])
    return x * state[:, None]


def _into_an_array(x: Any) -> Any:
    import tensorflow as tf
    from keras import ops

    steps = ops.shape(x)[1]
    states, state = tf.TensorArray("float32", size=steps), ops.zeros_like(x[:, 0])
    for step in range(steps):
        state = ops.tanh(0.5 * state + x[:, step])
        states = states.write(step, state)
    return ops.transpose(states.stack(), (1, 0, 2))


def _to_whole_blocks(x: Any) -> Any:
    from keras import ops

    missing = (4 - ops.shape(x)[1] % 4) % 4
    if missing > 0:
        x = ops.pad(x, [[0, 0], [0, missing], [0, 0]])
    return x


def _until_it_is_small(x: Any) -> Any:
    from keras import ops

    while ops.max(ops.abs(x)) > 1:
        x = x * 0.5
    return x


def _into_a_list(x: Any) -> Any:
    from keras import ops

    rows = []
    for step in range(ops.shape(x)[1]):
        rows.append(x[:, step] * step)
    return ops.stack(rows, 1)


def _from_a_number(x: Any) -> Any:
    from keras import ops

    return x + int(ops.max(x))


def _model(code: Code, length: int | None = None, width: int = 4) -> Any:
    """The code in a layer within a layer: Keras' own code lies between."""
    import keras

    class Inner(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return code(x)

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], None, shape[2])

    class Outer(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="outer")
            self.dense, self.inner = keras.layers.Dense(width), Inner(name="inner")

        def call(self, x: Any) -> Any:
            return self.inner(self.dense(x))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], None, width)

    inputs = keras.Input((length, 4), name="x")
    return keras.Model(inputs, Outer()(inputs))


@pytest.mark.parametrize("code", [_over_a_length, _into_an_array, _to_whole_blocks, _until_it_is_small])
def test_loops_and_branches_over_tensors_are_the_graph_s(code: Code) -> None:
    import tensorflow as tf

    model = _model(code)
    concrete = trace(loaded_model(model)).concrete
    for rows, length in ((2, 5), (3, 8)):
        batch = _batch(rows, length)
        (found,) = concrete(tf.constant(batch)).values()
        np.testing.assert_allclose(found, model(batch), rtol=1e-5, atol=1e-6)
    assert all("call" not in vars(layer) for layer in model.layers)  # the model is as it was


def test_every_format_holds_such_a_loop(tmp_path: Path) -> None:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    from converters.writers.onnx.write import write_onnx
    from converters.writers.savedmodel import write_saved_model
    from converters.writers.tflite.write import write_tflite

    model, batch = _model(_into_an_array), _batch(1, 6)
    loaded = loaded_model(model)
    write_onnx(trace(loaded), tmp_path / "m.onnx")
    single = trace(loaded, 1)
    write_saved_model(single, tmp_path / "sm")
    write_tflite(single, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    runner = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")
    for found in (session.run(None, {"x": batch})[0], next(iter(runner(x=batch).values()))):
        np.testing.assert_allclose(found, model(batch), rtol=1e-5, atol=1e-6)


def test_what_no_graph_holds_is_refused_by_its_layer_and_a_way_that_works() -> None:
    """A list has no length in a loop that is unrolled by nobody; at a fixed size Python unrolls it."""
    import keras

    with pytest.raises(RefusedError, match=r"cannot be traced into a graph at the layer `inner`") as refused:
        trace(loaded_model(_model(_into_a_list)))
    assert "save a model of fixed sizes around it" in refused.value.next_step
    x = keras.Input((6, 4), name="x")
    around = keras.Model(x, _model(_into_a_list)(x))
    batch = _batch(2, 6)
    (found,) = trace(loaded_model(around)).concrete(batch).values()
    np.testing.assert_allclose(found, around(batch), rtol=1e-6)


def test_a_number_that_python_reads_is_refused_for_what_it_is() -> None:
    with pytest.raises(RefusedError, match=r"at the layer `inner` \(TypeError: int\(\)") as refused:
        trace(loaded_model(_model(_from_a_number, length=5)))
    assert "save a model" not in refused.value.next_step
