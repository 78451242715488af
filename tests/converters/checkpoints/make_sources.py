"""Writes real files of the kinds that edgeport no longer writes itself, each with what it should give.

Run in a process of its own: python make_sources.py FOLDER. Keras 2 files are written by hand in its layout (HDF5
attributes and groups, `layer_names` and `weight_names`), graphs by TensorFlow's own version 1 interfaces. Beside each
lies `<name>.npz` with inputs `x` and outputs `y`, computed here in NumPy or by the very graph that is saved.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")

import h5py
import numpy as np
import tensorflow as tf

RANDOM = np.random.default_rng(3)
KERNEL, BIAS = RANDOM.normal(size=(6, 3)).astype("f"), RANDOM.normal(size=3).astype("f")
X = RANDOM.uniform(0, 255, (4, 6)).astype("f")


def keep(folder: Path, name: str, x: Any, y: Any) -> None:
    np.savez(folder / f"{name}.npz", x=x, y=np.asarray(y))


def h5(path: Path, config: dict[str, Any] | None, weights: dict[str, dict[str, Any]], version: str = "2.4.0") -> None:
    """An `.h5` as Keras 2 laid it out; without a config, as its `save_weights` did."""
    with h5py.File(path, "w") as file:
        group = file
        if config is not None:
            file.attrs.update(model_config=json.dumps(config), keras_version=version, backend="tensorflow")
            optimizer = {"class_name": "Adam", "config": {"lr": 0.001, "decay": 0.0, "name": "Adam"}}
            file.attrs["training_config"] = json.dumps({"loss": "mse", "optimizer_config": optimizer})
            slots = file.create_group("optimizer_weights")
            slots.attrs["weight_names"] = [b"Adam/iter:0"]
            slots.create_dataset("Adam/iter:0", data=np.int64(3))
            group = file.create_group("model_weights")
        group.attrs.update(layer_names=[name.encode() for name in weights], keras_version=version, backend="tensorflow")
        for layer, values in weights.items():
            own = group.create_group(layer)
            own.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in values]
            for name, value in values.items():
                own.create_dataset(f"{layer}/{name}:0", data=value)


def layer(kind: str, name: str, inbound: Any = None, **config: Any) -> dict[str, Any]:
    made = {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32"} | config}
    return made if inbound is None else made | {"name": name, "inbound_nodes": inbound}


def dense(name: str, inbound: Any = None, **config: Any) -> dict[str, Any]:
    zeros = {"class_name": "Zeros", "config": {"dtype": "float32"}}  # TensorFlow 2.0 to 2.3 wrote the dtype
    return layer("Dense", name, inbound, **({"units": 3, "use_bias": True, "bias_initializer": zeros} | config))


def keras2(folder: Path) -> None:
    flat = {"scale": {}, "labels": {"kernel": KERNEL, "bias": BIAS}}
    # Keras 2.2: a bare Sequential whose first layer carries the input's shape
    first = dense("labels", activation="hard_sigmoid", batch_input_shape=[None, 6])
    h5(folder / "sequential.h5", {"class_name": "Sequential", "config": [first]}, {"labels": flat["labels"]}, "2.1.6")
    keep(folder, "sequential", X / 255, np.clip(0.2 * (X / 255 @ KERNEL + BIAS) + 0.5, 0, 1))
    # TensorFlow 2.4: functions of TensorFlow called on layers
    start = layer("InputLayer", "x", [], batch_input_shape=[None, 6], sparse=False, ragged=False)
    by, less = {"y": 127.5, "name": None}, {"y": 1.0, "name": None}
    divided = layer("TFOpLambda", "tf.math.truediv", [["x", 0, 0, by]], function="math.truediv")
    shifted = layer("TFOpLambda", "tf.math.subtract", [["tf.math.truediv", 0, 0, less]], function="math.subtract")
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["labels", 0, 0]]}
    layers = [start, divided, shifted, dense("labels", [[["tf.math.subtract", 0, 0, {}]]], activation="linear")]
    functional = {"class_name": "Functional", "config": {"name": "model", "layers": layers} | ends}
    h5(folder / "functional.h5", functional, {"labels": flat["labels"]})
    keep(folder, "functional", X, (X / 127.5 - 1) @ KERNEL + BIAS)
    bad = json.loads(json.dumps(functional).replace("math.truediv", "image.resize"))
    h5(folder / "unknown_function.h5", bad, {"labels": flat["labels"]})
    lambda_layer = layer(
        "Lambda",
        "scale",
        function=["4wEAAAA=", None, None],
        function_type="lambda",
        arguments={},
        batch_input_shape=[None, 6],
    )
    scaled = {"class_name": "Sequential", "config": {"name": "s", "layers": [lambda_layer, dense("labels")]}}
    h5(folder / "lambda.h5", scaled, {"labels": flat["labels"]})
    keep(folder, "lambda", X, X / 255 @ KERNEL + BIAS)
    conv = {
        "name": "conv",
        "nb_filter": 3,
        "nb_row": 2,
        "nb_col": 3,
        "border_mode": "valid",
        "subsample": [1, 1],
        "dim_ordering": "tf",
        "init": "glorot_uniform",
        "activation": "linear",
        "bias": True,
        "W_regularizer": None,
        "b_regularizer": None,
        "activity_regularizer": None,
        "W_constraint": None,
        "b_constraint": None,
        "batch_input_shape": [None, 2, 3, 1],
        "input_dtype": "float32",
        "trainable": True,
    }
    rest = [
        {"class_name": "Dropout", "config": {"name": "drop", "p": 0.5, "trainable": True}},
        {"class_name": "Flatten", "config": {"name": "flat", "trainable": True}},
        {
            "class_name": "Dense",
            "config": {
                "name": "labels",
                "output_dim": 3,
                "init": "uniform",
                "bias": True,
                "activation": "linear",
                "input_dim": 3,
                "W_regularizer": None,
                "trainable": True,
            },
        },
    ]
    first_keras = {"class_name": "Sequential", "config": [{"class_name": "Convolution2D", "config": conv}, *rest]}
    square = KERNEL[:3]
    kernels = {"conv": {"W": KERNEL.reshape(2, 3, 1, 3), "b": BIAS}, "labels": {"W": square, "b": BIAS}}
    h5(folder / "keras1.h5", first_keras, kernels, "1.2.2")
    keep(folder, "keras1", X.reshape(4, 2, 3, 1), (X @ KERNEL + BIAS) @ square + BIAS)
    strange = json.loads(json.dumps(first_keras).replace("Convolution2D", "ConvLSTM2D"))
    h5(folder / "keras1_unknown.h5", strange, kernels, "1.2.2")
    h5(folder / "bare.weights.h5", None, {"labels": flat["labels"]})
    keep(folder, "bare", X, X @ KERNEL + BIAS)


def saved_models(folder: Path) -> None:
    class Scale(tf.Module):
        def __init__(self) -> None:
            self.kernel = tf.Variable(KERNEL)

        @tf.function(input_signature=[tf.TensorSpec((None, 6), tf.float32, name="x")])
        def double(self, x: Any) -> Any:
            return {"y": 2 * x @ self.kernel}

        @tf.function(input_signature=[tf.TensorSpec((None, 6), tf.float32, name="x")])
        def triple(self, x: Any) -> Any:
            return {"y": 3 * x @ self.kernel}

    module = Scale()
    tf.saved_model.save(module, str(folder / "module"), signatures=module.double)
    keep(folder, "module", X, 2 * X @ KERNEL)
    tf.saved_model.save(module, str(folder / "several"), signatures={"double": module.double, "triple": module.triple})
    keep(folder, "several", X, 3 * X @ KERNEL)
    default = {"serving_default": module.double, "triple": module.triple}
    tf.saved_model.save(module, str(folder / "default"), signatures=default)
    keep(folder, "default", X, 2 * X @ KERNEL)

    class Trained(Scale):  # a slot variable of an optimizer that no TensorFlow 2 restores
        def __init__(self) -> None:
            super().__init__()
            self.optimizer = tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)
            with tf.init_scope():
                self.optimizer._create_slots([self.kernel])

    trained = Trained()
    tf.saved_model.save(trained, str(folder / "slots"), signatures=trained.double)
    keep(folder, "slots", X, 2 * X @ KERNEL)


def graphs(folder: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 6), name="x")
        kernel = v1.get_variable("dense/kernel", initializer=KERNEL, use_resource=False)
        bias = v1.get_variable("dense/bias", initializer=BIAS, use_resource=False)
        y = tf.nn.softmax(tf.nn.bias_add(tf.matmul(x / 255.0, kernel), bias), name="probabilities")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder / "version1"), {"image": x}, {"labels": y})
        v1.train.Saver().save(session, str(folder / "names"), write_meta_graph=False)
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["probabilities"])
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
        (folder / "not_frozen.pb").write_bytes(graph.as_graph_def().SerializeToString())
        for name in ("version1", "frozen"):
            keep(folder, name, X, session.run(y, {x: X}))
    keep(folder, "names", X, X @ KERNEL + BIAS)
    with tf.Graph().as_default(), v1.Session() as session:  # two signatures with a loop each
        kernel, signatures = v1.get_variable("kernel", initializer=KERNEL, use_resource=False), {}
        for name, factor in (("serving_default", 2.0), ("other", 3.0)):
            x = v1.placeholder(tf.float32, (None, 6), name=f"x_{name}")
            y = tf.map_fn(lambda row, by=factor: tf.linalg.matvec(kernel, row * by, transpose_a=True), x)
            signatures[name] = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder / "loops"))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, None, name="x")
        tf.io.write_file("/tmp/written", tf.io.read_file("/etc/hostname"), name="write")
        tf.identity(x, name="y")
        (folder / "hostile.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with tf.Graph().as_default() as graph:
        tf.nn.relu(v1.placeholder(tf.float32, None, name="x"), name="y")
        (folder / "shapeless.pb").write_bytes(graph.as_graph_def().SerializeToString())
    keep(folder, "shapeless", X - 100, np.maximum(X - 100, 0))


def keras3(folder: Path) -> None:
    """Checkpoints of today's Keras in TensorFlow's layout, files that need the user's code, and one with a Lambda."""
    sys.path.insert(0, str(folder))
    (folder / "shop.py").write_text(SHOP)
    import keras
    import shop

    model = shop.plain()
    model.get_layer("labels").set_weights([KERNEL, BIAS])
    tf.train.Checkpoint(net=model).write(str(folder / "today"))
    keep(folder, "today", X, X @ KERNEL + BIAS)
    custom = keras.Sequential([keras.Input((6,)), shop.Halve(name="half"), keras.layers.Dense(3, "softmax", name="y")])
    custom.save(folder / "custom.keras")
    custom.save(folder / "custom.h5")
    keep(folder, "custom", X, custom(X))
    with zipfile.ZipFile(folder / "custom.keras") as before, zipfile.ZipFile(folder / "unknown.keras", "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, data.replace(b"Halve", b"Quarter") if name == "config.json" else data)
    scaling = keras.layers.Lambda(lambda x: x / 255, name="scale")
    scaled = keras.Sequential([keras.Input((6,)), scaling, keras.layers.Dense(3, name="labels")])
    scaled.save(folder / "code.keras")
    keep(folder, "code", X, scaled(X))


SHOP = """\
import keras


@keras.saving.register_keras_serializable("shop")
class Halve(keras.layers.Layer):
    def call(self, x):
        return x * 0.5


def plain():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="labels")])


def broken():
    raise RuntimeError("no such thing")


def number():
    return 7
"""


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for write in (keras2, saved_models, graphs, keras3):
        write(target)
