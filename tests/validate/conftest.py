"""Tiny artifacts, made once a session in processes of their own: the test process loads no framework."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ONNX = """
import sys
import numpy as np
import onnx
from onnx import TensorProto, helper as h, numpy_helper as n

folder = sys.argv[1]
rng = np.random.default_rng(0)
weights = rng.normal(size=(256, 256)).astype(np.float32) / 16
x = rng.normal(size=(12, 256)).astype(np.float32)
y = np.maximum(x @ weights, 0) @ weights


def save(name, nodes, inputs, outputs, initializers=()):
    model = h.make_model(h.make_graph(nodes, "g", inputs, outputs, list(initializers)), ir_version=10,
                         opset_imports=[h.make_opsetid("", 17)])
    onnx.save(model, f"{folder}/{name}")


def dense(name, batch, gain=1.0):
    nodes = [h.make_node("MatMul", ["x", "w"], ["a"]), h.make_node("Relu", ["a"], ["b"]),
             h.make_node("MatMul", ["b", "v"], ["y"])]
    io = [h.make_tensor_value_info(k, TensorProto.FLOAT, [batch, 256]) for k in "xy"]
    save(name, nodes, io[:1], io[1:], [n.from_array(weights, "w"), n.from_array(weights * np.float32(gain), "v")])


dense("dense.float32.onnx", "batch")
dense("wrong.float32.onnx", "batch", gain=1.5)
dense("fixed.float32.onnx", 2)

body = h.make_graph([h.make_node("Identity", ["c"], ["d"]), h.make_node("Add", ["s", "one"], ["t"])], "body",
    [h.make_tensor_value_info("i", TensorProto.INT64, []), h.make_tensor_value_info("c", TensorProto.BOOL, []),
     h.make_tensor_value_info("s", TensorProto.FLOAT, ["batch", 4])],
    [h.make_tensor_value_info("d", TensorProto.BOOL, []),
     h.make_tensor_value_info("t", TensorProto.FLOAT, ["batch", 4])],
    [n.from_array(np.float32(1), "one")])
save("endless.onnx", [h.make_node("Loop", ["", "go", "x"], ["y"], body=body)],
     [h.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
     [h.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])], [n.from_array(np.bool_(True), "go")])

np.savez(f"{folder}/golden.npz", **{"input/x": x, "output/y": y})
"""

_TFLITE = """
import sys
import numpy as np
import tensorflow as tf

folder = sys.argv[1]
weights = tf.constant(np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32) / 16)


class Dense(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 256], tf.float32, name="x")])
    def serve(self, x):
        return {"y": tf.nn.relu(x @ weights) @ weights}


module = Dense()
tf.saved_model.save(module, f"{folder}/dense.float32.savedmodel", signatures={"serving_default": module.serve})
converter = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/dense.float32.savedmodel")
with open(f"{folder}/dense.float32.tflite", "wb") as file:
    file.write(converter.convert())
"""


def _make(script: str, folder: Path) -> Path:
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def onnx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dense`, `wrong` (the same with other weights), `fixed` (batch 2), `endless`, and `golden.npz` of `dense`."""
    return _make(_ONNX, tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="session")
def tensorflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dense` as SavedModel and TFLite, with the weights of the ONNX one."""
    return _make(_TFLITE, tmp_path_factory.mktemp("tensorflow"))


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of small models that the agreement tests use, built once a session."""
    folder = tmp_path_factory.mktemp("files")
    script = Path(__file__).parent / "agreement" / "make_models.py"
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, str(script), str(folder), "--honest"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder
