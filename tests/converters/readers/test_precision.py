"""The precision of a file is what its tensors and operations say, whatever the file is called and whoever made it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converters.formats import Precision
from converters.readers.precision import known_precision, precision_of

MAKE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf
folder = sys.argv[1]
keras.utils.set_random_seed(0)
layers = keras.layers
model = keras.Sequential([
    keras.Input((8, 8, 3), name="image"), layers.Conv2D(16, 3, activation="relu"), layers.Flatten(), layers.Dense(64),
    layers.Dense(10, activation="softmax", name="labels"),
])
samples = np.random.default_rng(0).random((8, 1, 8, 8, 3)).astype("float32")

def small(converter):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]

def half(converter):
    small(converter)
    converter.target_spec.supported_types = [tf.float16]

def calibrated(converter):
    small(converter)
    converter.representative_dataset = lambda: ([sample] for sample in samples)

def codes(converter):
    calibrated(converter)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.int8, tf.uint8

def words(converter):
    calibrated(converter)
    kind = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.target_spec.supported_ops = [kind]

kinds = {"float32": lambda c: None, "dynamic_int8": small, "float16": half, "int8": calibrated, "codes": codes,
         "int16x8": words}
for name, settings in kinds.items():
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    settings(converter)
    open(f"{folder}/of-{name}.tflite", "wb").write(converter.convert())
"""


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of TFLiteConverter, whose names tell nothing that edgeport ever read."""
    folder = tmp_path_factory.mktemp("theirs")
    subprocess.run([sys.executable, "-c", MAKE, str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ["float32", "float16", "dynamic_int8", "int8", "int16x8"])
def test_files_of_tflite_converter(name: str, theirs: Path) -> None:
    assert precision_of(theirs / f"of-{name}.tflite") == name


def test_integer_ends_are_int8(theirs: Path) -> None:
    assert precision_of(theirs / "of-codes.tflite") == "int8"


def test_a_name_says_nothing(theirs: Path, tmp_path: Path) -> None:
    lying = tmp_path / "net.int8.tflite"
    lying.write_bytes((theirs / "of-float32.tflite").read_bytes())
    assert known_precision(lying) is Precision.FLOAT32
    silent = tmp_path / "net.float32.tflite"
    silent.write_bytes((theirs / "of-int8.tflite").read_bytes())
    assert known_precision(silent) is Precision.INT8


def test_what_cannot_be_read_has_no_precision(tmp_path: Path) -> None:
    damaged = tmp_path / "net.int8.onnx"
    damaged.write_bytes(b"\x08\x01 and no model")
    assert known_precision(damaged) is None
    assert known_precision(tmp_path / "net.int8.keras") is None


def onnx_file(path: Path, nodes: list[tuple[Any, ...]], weights: dict[str, Any], dtype: str = "FLOAT") -> Path:
    """`x` -> `y`; a node is (operation, inputs, outputs, attributes), `domain` among these."""
    from onnx import TensorProto, helper, numpy_helper, save

    made = [helper.make_node(kind, list(ins), list(outs), **settings) for kind, ins, outs, settings in nodes]
    ends = [[helper.make_tensor_value_info(name, TensorProto.DataType.Value(dtype), [1, 4])] for name in "xy"]
    stored = [value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
              for name, value in weights.items()]  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    save(helper.make_model(helper.make_graph(made, "g", *ends, stored), opset_imports=opsets), str(path))
    return path


def _onnx_cases() -> dict[str, tuple[str, list[tuple[Any, ...]], dict[str, Any], str]]:
    import numpy as np
    from onnx import TensorProto, helper

    w32, scale = np.ones((4, 4), "float32"), np.ones((), "float32")
    w8, zero8, zero16 = np.ones((4, 4), "int8"), np.zeros((), "uint8"), np.zeros((), "int16")
    four = helper.make_tensor("q", TensorProto.INT4, [4, 4], [1] * 16)
    matmul = ("MatMul", ("x", "w"), ("y",), {})
    dequantized = ("DequantizeLinear", ("q", "s"), ("w",), {})
    pair = [("QuantizeLinear", ("x", "s", "z"), ("a",), {}), ("DequantizeLinear", ("a", "s", "z"), ("b",), {})]
    quantized = [*pair, dequantized, ("MatMul", ("b", "w"), ("y",), {})]
    blocks = ("DequantizeLinear", ("q", "s"), ("w",), {"block_size": 2, "axis": 0})
    integer = [
        ("DynamicQuantizeLinear", ("x",), ("a", "s1", "z1"), {}),
        ("MatMulInteger", ("a", "q", "z1"), ("b",), {}),
        ("Cast", ("b",), ("y",), {"to": TensorProto.FLOAT}),
    ]
    packed = ("MatMulNBits", ("x", "q", "s"), ("y",), {"domain": "com.microsoft", "K": 4, "N": 4, "block_size": 16})
    in_half = [
        ("Cast", ("x",), ("a",), {"to": TensorProto.FLOAT16}),
        ("Relu", ("a",), ("b",), {}),
        ("Cast", ("b",), ("y",), {"to": TensorProto.FLOAT}),
    ]
    in_words = {"q": w8, "s": scale, "z": zero16}
    return {
        "float32": ("float32", [matmul], {"w": w32}, "FLOAT"),
        "no weights": ("float32", [("Relu", ("x",), ("y",), {})], {}, "FLOAT"),
        "bytes that are no weights": ("float32", [matmul], {"w": w32, "table": zero8}, "FLOAT"),
        "double": ("float64", [matmul], {"w": w32.astype("float64")}, "DOUBLE"),
        "float16 weights": ("float16", [matmul], {"w": w32.astype("float16")}, "FLOAT16"),
        "float16 between casts": ("float16", in_half, {}, "FLOAT"),
        "integer weights": ("dynamic_int8", [dequantized, matmul], {"q": w8, "s": scale}, "FLOAT"),
        "integer weights, mostly float": (
            "dynamic_int8",
            [dequantized, ("MatMul", ("x", "w"), ("h",), {}), ("MatMul", ("h", "big"), ("y",), {})],
            {"q": w8, "s": scale, "big": np.ones((4, 40), "float32")},
            "FLOAT",
        ),
        "cast weights": (
            "dynamic_int8",
            [("Cast", ("q",), ("c",), {"to": TensorProto.FLOAT}), ("Mul", ("c", "s"), ("w",), {}), matmul],
            {"q": w8, "s": scale},
            "FLOAT",
        ),
        "dynamic": ("dynamic_int8", integer, {"q": w8}, "FLOAT"),
        "static": ("int8", quantized, {"q": w8, "s": scale, "z": zero8}, "FLOAT"),
        "static words": ("int16x8", quantized, in_words, "FLOAT"),
        "QLinear": (
            "int8",
            [("QLinearMatMul", ("x", "s", "z", "q", "s", "z", "s", "z"), ("y",), {})],
            in_words,
            "FLOAT",
        ),
        "int4": ("dynamic_int4", [dequantized, matmul], {"q": four, "s": scale}, "FLOAT"),
        "int4 in blocks": (
            "dynamic_int4_b32",
            [blocks, matmul],
            {"q": four, "s": np.ones((2, 4), "float32")},
            "FLOAT",
        ),
        "packed": ("dynamic_int4_b32", [packed], {"q": zero8, "s": scale}, "FLOAT"),
    }


def test_onnx_files_by_their_operations(tmp_path: Path) -> None:
    for k, (case, (word, nodes, weights, dtype)) in enumerate(_onnx_cases().items()):
        assert precision_of(onnx_file(tmp_path / f"{k}.onnx", nodes, weights, dtype)) == word, case
