"""Reduced precisions of what is not a plain network: the file opens and computes what the float32 file does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.formats import Precision
from converters.tracing import trace
from converters.writers.onnx.precisions import OnnxSource
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.buffers import buffers_apart
from converters.writers.tflite.precisions import TfliteSource
from converters.writers.tflite.write import write_tflite

RNG = np.random.default_rng(0)


def test_float16_of_operations_that_stay_in_float32(tmp_path: Path) -> None:
    """Several that read one value, of which each wants it cast back, and one that ONNX has for float32 alone."""
    import keras
    import onnxruntime
    from keras import ops

    x = keras.Input((8, 3), name="x")
    y = keras.layers.Dense(3)(x)
    several = [keras.layers.Activation("sparsemax")(y), ops.top_k(y, 2)[0], ops.maximum(y, 0.1), ops.cumsum(y, axis=1)]
    model = keras.Model(x, [*several, ops.logsumexp(y, axis=1)])
    write_onnx(trace(loaded_model(model)), tmp_path / "m.onnx")
    OnnxSource(tmp_path / "m.onnx", tmp_path, {}).write(Precision.FLOAT16, tmp_path / "half.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "half.onnx"), providers=["CPUExecutionProvider"])
    value = RNG.standard_normal((2, 8, 3)).astype(np.float32)
    for found, expected in zip(session.run(None, {"x": value}), model(value, training=False), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.parametrize("precision", [Precision.FLOAT16, Precision.DYNAMIC_INT8, Precision.INT8])
def test_constants_that_two_loops_share(precision: Precision, tmp_path: Path) -> None:
    import keras
    from ai_edge_litert.interpreter import Interpreter

    cells: list[Any] = [keras.layers.LSTMCell(2), keras.layers.GRUCell(3), keras.layers.SimpleRNNCell(2)]
    x = keras.Input((6, 4), name="x")
    y = keras.layers.RNN(cells)(x * np.float32([0, 0.3, 0.7, 1]))
    y = keras.layers.ReLU(6.0, 0.1, 0.3)(keras.layers.Dense(6, activation="silu")(y))
    model = keras.Model(x, keras.layers.Dense(2, activation="sigmoid")(y))
    traced = trace(loaded_model(model), 1)
    write_saved_model(traced, tmp_path / "sm")
    write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    value = RNG.uniform(-1, 1, (16, 6, 4)).astype(np.float32)
    assert buffers_apart(str(tmp_path / "m.tflite")) is not None
    source = TfliteSource(tmp_path / "m.tflite", traced.signature, {"x": value})
    source.write(precision, tmp_path / "reduced.tflite")
    runner = Interpreter(str(tmp_path / "reduced.tflite")).get_signature_runner()
    found = np.concatenate([next(iter(runner(x=row[None]).values())) for row in value])
    expected = model(value, training=False).numpy()
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("precision", [Precision.FLOAT16, Precision.INT8])
def test_older_readers_find_every_operation_by_its_code(precision: Precision, tmp_path: Path) -> None:
    """schema.fbs: a code below 127 stands in both fields; a reader of the old one takes 0 for ADD."""
    import keras
    from ai_edge_litert import schema_py_generated as schema

    model = keras.Sequential([keras.Input((4, 4, 1), name="x"), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    traced = trace(loaded_model(model))
    write_saved_model(traced, tmp_path / "sm")
    write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    value = RNG.uniform(-1, 1, (8, 4, 4, 1)).astype(np.float32)
    TfliteSource(tmp_path / "m.tflite", traced.signature, {"x": value}).write(precision, tmp_path / "reduced.tflite")
    file = schema.Model.GetRootAs((tmp_path / "reduced.tflite").read_bytes(), 0)
    codes = [file.OperatorCodes(k) for k in range(file.OperatorCodesLength())]
    assert {schema.BuiltinOperator.DEQUANTIZE} <= {code.BuiltinCode() for code in codes}
    assert [code.DeprecatedBuiltinCode() for code in codes] == [code.BuiltinCode() for code in codes]
