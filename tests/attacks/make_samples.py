"""Writes small real models of every kind, and what the real libraries say of them, into a folder.

Run in a process of its own (`python make_samples.py FOLDER`): it is the one that loads TensorFlow.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.update(KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")

import keras
import numpy as np
import onnx
import tensorflow as tf
from keras import layers
from onnx import TensorProto, helper, numpy_helper


def image_model() -> keras.Model:
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, activation="relu", name="stem")(x)
    x = layers.BatchNormalization()(x)
    inner = keras.Sequential([keras.Input((14, 14, 8)), layers.Conv2D(8, 3, padding="same")], name="inner")
    x = layers.Add(name="sum")([x, inner(x)])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(x)
    model = keras.Model(image, layers.Dense(4, activation="softmax", name="labels")(x), name="picture")
    model.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 3)),
        loss=keras.losses.sparse_categorical_crossentropy,
        metrics=["accuracy", keras.metrics.AUC()],
    )
    return model


def text_model() -> keras.Model:
    words = keras.Input((None,), name="words", dtype="string")
    x = layers.StringLookup(vocabulary=["a", "b"])(words)
    x = layers.Embedding(9, 4)(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    x = layers.GRU(3, return_sequences=True)(x)
    x = layers.TimeDistributed(layers.Dense(3, activation="gelu", kernel_regularizer="l2"))(x)
    x = keras.ops.mean(x, axis=1) + 1.0
    return keras.Model({"words": words}, {"a": layers.Dense(2)(x), "b": {"c": layers.Dense(1)(x)}})


def mixed_model() -> keras.Model:
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Normalization(mean=0.0, variance=1.0),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, activation=keras.activations.relu, kernel_initializer=keras.initializers.HeNormal()),
            layers.LeakyReLU(),
            layers.Activation(keras.ops.silu),
            layers.Flatten(),
            layers.Dense(3, activation=keras.ops.softmax, kernel_constraint="max_norm"),
        ]
    )
    keras.config.set_dtype_policy("float32")
    return model


def quantized_model() -> keras.Model:
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8), layers.Dense(3)])
    model.quantize("int8")
    return model


def pair_model() -> keras.Model:
    a, b = keras.Input((4,), name="x"), keras.Input((4,), name="y", dtype="int32")
    outputs = [layers.Add(name="plus")([a, keras.ops.cast(b, "float32")]), layers.Concatenate(name="both")([a, a])]
    return keras.Model([a, b], outputs)


class Halve(layers.Layer):
    def call(self, x: Any) -> Any:
        return x / 2


def rich_onnx() -> onnx.ModelProto:
    """A subgraph in an If, a local function, a custom domain, and a Constant."""
    one = numpy_helper.from_array(np.ones((2, 3), np.float32), "one")
    branch = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["sum"])],
        "then",
        [],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)],
        [one],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["negative"])],
        "else",
        [],
        [helper.make_tensor_value_info("negative", TensorProto.FLOAT, None)],
    )
    function = helper.make_function(
        "local", "Twice", ["v"], ["w"], [helper.make_node("Add", ["v", "v"], ["w"])], [helper.make_opsetid("", 18)]
    )
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True])),
        helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=other),
        helper.make_node("Twice", ["chosen"], ["twice"], domain="local"),
        helper.make_node("Strange", ["twice"], ["y"], domain="com.example"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "time", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", None, 3])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=9)


def onnx_facts(path: Path) -> dict[str, Any]:
    model = onnx.load(str(path))
    ops: Counter[str] = Counter()

    def count(nodes: Any) -> None:
        for node in nodes:
            ops[f"{node.domain}::{node.op_type}" if node.domain else node.op_type] += 1
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    count(attribute.g.node)

    count(model.graph.node)
    for function in model.functions:
        count(function.node)
    stored = {i.name: [list(i.dims), numpy_helper.to_array(i).nbytes] for i in model.graph.initializer}
    return {
        "ops": ops,
        "initializers": stored,
        "inputs": [i.name for i in model.graph.input],
        "outputs": [o.name for o in model.graph.output],
        "opset": model.opset_import[0].version,
    }


def tflite_facts(path: Path) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner("serving_default")

    def side(details: dict[str, Any]) -> dict[str, Any]:
        return {k: [d["shape_signature"].tolist(), np.dtype(d["dtype"]).name] for k, d in details.items()}

    ops = Counter(op["op_name"] for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE")
    return {"inputs": side(runner.get_input_details()), "outputs": side(runner.get_output_details()), "ops": ops}


def saved_model_facts(folder: Path) -> dict[str, Any]:
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = proto.meta_graphs[0].graph_def
    ops = Counter(node.op for node in graph.node)
    for function in graph.library.function:
        ops.update(node.op for node in function.node_def)
    return {"ops": ops, "tags": list(proto.meta_graphs[0].meta_info_def.tags)}


def schema_facts() -> dict[str, Any]:
    from ai_edge_litert import schema_py_generated as schema

    def table(kind: type) -> dict[str, int]:
        return {k: v for k, v in vars(kind).items() if isinstance(v, int) and not k.startswith("_")}

    return {
        "operators": table(schema.BuiltinOperator),
        "types": table(schema.TensorType),
        "onnx_types": {str(v): k for k, v in onnx.TensorProto.DataType.items()},
        "tf_types": {
            str(d.as_datatype_enum): d.name
            for d in map(
                tf.dtypes.as_dtype,
                (
                    "float32",
                    "float64",
                    "int32",
                    "uint8",
                    "int16",
                    "int8",
                    "string",
                    "int64",
                    "bool",
                    "bfloat16",
                    "uint16",
                    "float16",
                    "resource",
                    "variant",
                    "uint32",
                    "uint64",
                    "int4",
                    "uint4",
                ),
            )
        },
    }


def write_int8(saved_model: Path, path: Path) -> None:
    """Full integer, calibrated on noise: for its structure, not for its answers."""
    images = np.random.default_rng(0).uniform(0, 255, (4, 1, 16, 16, 3)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    path.write_bytes(converter.convert())


def main(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    facts: dict[str, Any] = {"schema": schema_facts(), "models": {}}
    models = {
        "picture": image_model(),
        "text": text_model(),
        "mixed": mixed_model(),
        "quantized": quantized_model(),
        "pair": pair_model(),
    }
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
        facts["models"][name] = {"parameters": model.count_params()}
    picture = models["picture"]
    picture.save(folder / "picture.h5")
    picture.save_weights(folder / "picture.weights.h5")
    keras.Sequential([keras.Input((3,)), Halve(), layers.Dense(2)]).save(folder / "custom.keras")
    keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x / 2, name="half")]).save(folder / "lambda.keras")
    keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x / 2, name="half")]).save(folder / "lambda.h5")
    picture.export(folder / "picture.savedmodel", verbose=False)
    facts["savedmodel"] = saved_model_facts(folder / "picture.savedmodel")
    facts["tflite"] = {}
    for name, optimizations, types in (("float32", [], []), ("float16", [tf.lite.Optimize.DEFAULT], [tf.float16])):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "picture.savedmodel"))
        converter.optimizations, converter.target_spec.supported_types = optimizations, types
        path = folder / f"picture.{name}.tflite"
        path.write_bytes(converter.convert())
        facts["tflite"][name] = tflite_facts(path)
    write_int8(folder / "picture.savedmodel", folder / "picture.int8.tflite")
    picture.export(folder / "picture.onnx", format="onnx", verbose=False)
    onnx.save(rich_onnx(), str(folder / "rich.onnx"))
    facts["onnx"] = {name: onnx_facts(folder / f"{name}.onnx") for name in ("picture", "rich")}
    onnx.save(
        onnx.load(str(folder / "picture.onnx")),
        str(folder / "external.onnx"),
        save_as_external_data=True,
        location="external.onnx.data",
        size_threshold=0,
    )
    for name in ("MobileNetV3Small", "EfficientNetB0", "ResNet50V2", "DenseNet121", "ConvNeXtTiny", "InceptionV3"):
        model = getattr(keras.applications, name)(weights=None)
        config = keras.saving.serialize_keras_object(model)
        (folder / f"{name}.json").write_text(json.dumps(config))
        facts["models"][name] = {"parameters": model.count_params()}
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
