"""Prints as JSON what the worker-side parts make of small Keras models; see `test_worker_parts.py`."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np

from converters.checkpoints.loading import loaded_model
from converters.checkpoints.ranges import input_hints
from validate.agreement.worker.oracle import NoOracleError, float64_clone, float64_default
from validate.agreement.worker.taps.function import TappedFunction

layers = keras.layers


def hint(build: Any, dtype: str = "float32", shape: tuple[int, ...] = (8, 8, 3)) -> list[float] | None:
    image = keras.Input(shape, name="image", dtype=dtype)
    found = input_hints(keras.Model(image, build(image))).get("image")
    return None if found is None else [found.low, found.high]


def nested(x: Any) -> Any:
    inner = keras.Input((8, 8, 3))
    return keras.Model(inner, layers.Rescaling(1 / 16)(inner))(layers.Reshape((8, 8, 3))(x))


def sequential(*before: Any) -> list[float] | None:
    """As users stack their layers: the model keeps its graph inside."""
    (found,) = input_hints(keras.Sequential([keras.Input((8, 8, 3)), *before, layers.Conv2D(2, 3)])).values()
    return [found.low, found.high]


def named(name: str) -> Any:
    inner = keras.Input((8, 8, 3))
    return keras.Model(inner, layers.Conv2D(2, 3)(inner), name=name)


def normalization(x: Any) -> Any:
    return layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 4.0, 4.0])(x)


def hints() -> dict[str, Any]:
    return {
        "rescaling": hint(layers.Rescaling(1 / 255)),
        "signed": hint(layers.Rescaling(1 / 127.5, -1)),
        "divided": hint(lambda x: x / 16.0),
        "nested": hint(nested),
        "sequential": sequential(layers.Rescaling(1 / 16)),
        "sequential inside": sequential(keras.Sequential([layers.Rescaling(1 / 16), layers.ReLU()])),
        "nested sequential": hint(keras.Sequential([layers.Rescaling(1 / 16), layers.ReLU()])),
        "normalization": hint(normalization),
        "inception": hint(named("inception_v3")),
        "embedding": hint(lambda x: layers.Embedding(37, 2)(layers.Flatten()(x)), "int32", (4, 2)),
        "embedding of floats": hint(lambda x: layers.Embedding(37, 2)(layers.Flatten()(x)), "float32", (4, 2)),
        "tutorial": sequential(layers.Resizing(6, 6), layers.RandomFlip(), layers.Rescaling(1 / 255)),
        "cropped": hint(lambda x: layers.Rescaling(1 / 255)(layers.RandomZoom(0.1)(layers.CenterCrop(4, 4)(x)))),
        "nothing": hint(layers.Conv2D(2, 3)),
        "late": hint(lambda x: layers.Rescaling(9.0)(layers.Conv2D(2, 3)(x))),
    }


@keras.saving.register_keras_serializable("test")
class Stubborn(layers.Layer):
    def call(self, x: Any) -> Any:
        return keras.ops.cast(x, "float32") * 2


@keras.saving.register_keras_serializable("test")
class Forgetful(layers.Layer):
    """Its configuration does not say what it was built with."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(units)

    def build(self, shape: Any) -> None:
        self.dense.build(shape)

    def get_config(self) -> dict[str, Any]:
        return {}

    def call(self, x: Any) -> Any:
        return self.dense(x)


def oracle_of(build: Any, shape: tuple[int, ...] = (6, 6, 3)) -> dict[str, Any]:
    keras.utils.set_random_seed(1)
    image = keras.Input(shape, name="image")
    model = keras.Model(image, build(image))
    x = np.random.default_rng(0).standard_normal((3, *shape))
    try:
        with float64_default():
            loaded = loaded_model(float64_clone(model))
            exact = TappedFunction(loaded.function, loaded.signature)
    except NoOracleError as cause:
        return {"error": str(cause)}
    plain = TappedFunction(loaded_model(model).function, loaded_model(model).signature)
    name = loaded.signature.output_names[0]
    outputs, logits = exact.run({"image": x})
    near, near_logits = plain.run({"image": x.astype("float32")})
    return {
        "narrowing": exact.narrowing,
        "dtype": outputs[name].dtype.name,
        "kinds": exact.kinds,
        "gap": float(np.abs(outputs[name] - near[name]).max()),
        "same": bool((outputs[name] == near[name]).all()),
        "logit_gap": float(np.abs(logits[name] - near_logits[name]).max()) if logits else None,
        "default": keras.config.floatx(),
    }


def shared(x: Any) -> Any:
    """A nested model called twice, and a normalization that derives state from its weights."""
    inner = keras.Input((6, 6, 3))
    body = keras.Model(inner, layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(inner))))
    return layers.Dense(4, activation="softmax")(layers.Flatten()(body(body(normalization(x)))))


def oracles() -> dict[str, Any]:
    return {
        "shared": oracle_of(shared),
        "softmax_layer": oracle_of(lambda x: layers.Softmax()(layers.Flatten()(x))),
        "other_axis": oracle_of(lambda x: layers.Softmax(axis=1)(x)),
        "no_map": oracle_of(lambda x: layers.Dense(3, activation="tanh")(x)),
        "recurrent": oracle_of(lambda x: layers.Dense(2, activation="sigmoid")(layers.GRU(4)(x)), (5, 3)),
        "attention": oracle_of(lambda x: layers.MultiHeadAttention(2, 4)(x, x), (5, 8)),
        "stubborn": oracle_of(lambda x: Stubborn()(x)),
        "bits": oracle_of(lambda x: keras.ops.view(x, "int32")[..., :1]),
        "resized": oracle_of(lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x)),
        "forgetful": oracle_of(lambda x: Forgetful(3)(x)),
    }


print("RESULT" + json.dumps({"hints": hints(), "oracles": oracles()}))
