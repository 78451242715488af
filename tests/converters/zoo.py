"""Small models, one for each thing that real checkpoints do and that converters trip over. Imported in workers only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers as kl


def _functional(inputs: Any, outputs: Any) -> Any:
    return keras.Model(inputs, outputs)


def convolutional() -> Any:
    x = inp = keras.Input((16, 16, 3), name="image")
    x = kl.Rescaling(1 / 255)(x)
    x = kl.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = kl.BatchNormalization()(x)
    x = kl.ReLU(6.0)(x)
    x = kl.MaxPooling2D()(x)
    x = kl.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)
    x = kl.GlobalAveragePooling2D()(x)
    return _functional(inp, kl.Dense(5, activation="softmax", name="labels")(x))


def sequential() -> Any:
    return keras.Sequential(
        [keras.Input((12, 12, 1)), kl.Conv2D(4, 3, activation="relu"), kl.Flatten(), kl.Dense(3, activation="softmax")]
    )


def separable() -> Any:
    x = inp = keras.Input((16, 16, 3), name="image")
    x = kl.SeparableConv2D(8, 3, padding="same")(x)
    x = kl.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = kl.BatchNormalization()(x)
    x = kl.Activation("hard_swish")(x)
    return _functional(inp, kl.Dense(4)(kl.GlobalMaxPooling2D()(x)))


def hard_swish_convolution() -> Any:
    """A scalar is added right after a convolution."""
    x = inp = keras.Input((12, 12, 3), name="image")
    x = kl.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(x)
    x = kl.Multiply()([x, kl.Activation("hard_sigmoid")(x)])
    x = kl.Conv2D(6, 1, use_bias=False)(x)
    return _functional(inp, kl.ReLU(6.0, name="features")(kl.Rescaling(1.0, offset=3.0)(x)))


def transposed() -> Any:
    x = inp = keras.Input((8, 8, 2), name="image")
    x = kl.Conv2DTranspose(6, 3, strides=2, padding="same")(x)
    x = kl.BatchNormalization()(x)
    x = kl.LeakyReLU()(x)
    return _functional(inp, kl.UpSampling2D(interpolation="bilinear")(x))


def one_dimensional() -> Any:
    x = inp = keras.Input((20, 3), name="series")
    x = kl.Conv1D(8, 5, padding="causal", activation="relu", dilation_rate=2)(x)
    x = kl.AveragePooling1D(2)(x)
    return _functional(inp, kl.Dense(2)(kl.Flatten()(x)))


def grouped() -> Any:
    x = inp = keras.Input((8, 8, 4), name="image")
    x = kl.Conv2D(8, 3, groups=2, padding="same")(x)
    return _functional(inp, kl.Dense(3)(kl.GlobalAveragePooling2D()(x)))


def gelu_attention() -> Any:
    x = inp = keras.Input((10, 8), name="tokens")
    x = kl.MultiHeadAttention(2, 4)(x, x)
    x = kl.LayerNormalization()(x)
    x = kl.Dense(16, activation="gelu")(x)
    x = kl.GlobalAveragePooling1D()(x)
    return _functional(inp, kl.Dense(3, activation="softmax", name="labels")(x))


def embedding() -> Any:
    inp = keras.Input((12,), dtype="int32", name="ids")
    x = kl.Embedding(50, 8)(inp)
    return _functional(inp, kl.Dense(2, activation="sigmoid")(kl.GlobalAveragePooling1D()(x)))


def two_inputs_dict_outputs() -> Any:
    a, b = keras.Input((6,), name="zeta"), keras.Input((4,), name="alpha")
    x = kl.Concatenate()([kl.Dense(5, activation="relu")(a), kl.Dense(5)(b)])
    return keras.Model([a, b], {"score": kl.Dense(1)(x), "kind": kl.Dense(3, activation="softmax")(x)})


def list_outputs() -> Any:
    x = inp = keras.Input((6,), name="features")
    return _functional(inp, [kl.Dense(3, name="zz")(x), kl.Dense(2, name="aa")(x)])


def dict_inputs() -> Any:
    a, b = keras.Input((3,), name="b_in"), keras.Input((3,), name="a_in")
    return keras.Model({"x": a, "y": b}, kl.Add(name="total")([a, kl.Dense(3)(b)]))


def boolean_input() -> Any:
    flags, x = keras.Input((5,), dtype="bool", name="flags"), keras.Input((5,), name="x")
    y = kl.Multiply()([x, kl.Rescaling(1.0)(flags)])
    return keras.Model([flags, x], kl.Dense(2, name="out")(y))


def unknown_spatial() -> Any:
    x = inp = keras.Input((None, None, 3), name="image")
    x = kl.Conv2D(6, 3, padding="same", activation="relu")(x)
    return _functional(inp, kl.Dense(4, name="labels")(kl.GlobalAveragePooling2D()(x)))


def normalization() -> Any:
    import numpy as np

    layer = kl.Normalization(mean=np.array([1.0, 2.0, 3.0]), variance=np.array([4.0, 5.0, 6.0]))
    x = inp = keras.Input((8, 8, 3), name="image")
    x = kl.Conv2D(4, 3)(layer(x))
    return _functional(inp, kl.GlobalAveragePooling2D(name="features")(x))


def squeeze_excite() -> Any:
    x = inp = keras.Input((8, 8, 16), name="image")
    s = kl.GlobalAveragePooling2D()(x)
    s = kl.Reshape((1, 1, 16))(s)
    s = kl.Dense(4, activation="relu")(s)
    s = kl.Dense(16, activation="sigmoid")(s)
    return _functional(inp, kl.Multiply(name="scaled")([x, s]))


def shared_layer() -> Any:
    a, b = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    dense = kl.Dense(4, activation="relu")
    return keras.Model([a, b], kl.Subtract(name="difference")([dense(a), dense(b)]))


def augmented() -> Any:
    x = inp = keras.Input((8, 8, 3), name="image")
    x = kl.RandomFlip()(x)
    x = kl.RandomRotation(0.1)(x)
    x = kl.GaussianNoise(0.3)(x)
    x = kl.Dropout(0.5)(x)
    return _functional(inp, kl.Dense(3, name="labels")(kl.Flatten()(x)))


def lstm() -> Any:
    x = inp = keras.Input((7, 4), name="series")
    return _functional(inp, kl.Dense(2, name="labels")(kl.LSTM(6)(x)))


def gru_bidirectional() -> Any:
    x = inp = keras.Input((7, 4), name="series")
    return _functional(inp, kl.Dense(2, name="labels")(kl.Bidirectional(kl.GRU(5))(x)))


def channels_first() -> Any:
    x = inp = keras.Input((3, 12, 12), name="image")
    x = kl.Conv2D(6, 3, data_format="channels_first", padding="same")(x)
    x = kl.BatchNormalization(axis=1)(x)
    x = kl.ReLU()(x)
    x = kl.MaxPooling2D(data_format="channels_first")(x)
    x = kl.Conv2D(4, 3, strides=2, padding="same", data_format="channels_first")(x)
    return _functional(inp, kl.Dense(3, name="labels")(kl.GlobalAveragePooling2D(data_format="channels_first")(x)))


def mixed_bfloat16() -> Any:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return convolutional()
    finally:
        keras.config.set_dtype_policy("float32")


def mixed_float16() -> Any:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return convolutional()
    finally:
        keras.config.set_dtype_policy("float32")


def quantized_int8() -> Any:
    x = inp = keras.Input((10,), name="features")
    x = kl.Dense(16, activation="relu")(x)
    model = _functional(inp, kl.Dense(4, name="labels")(x))
    model.quantize("int8")
    return model


def lora() -> Any:
    x = inp = keras.Input((10,), name="features")
    x = kl.Dense(16, activation="relu", name="adapted")(x)
    model = _functional(inp, kl.Dense(4, name="labels")(x))
    layer = model.get_layer("adapted")
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(keras.random.normal(layer.lora_kernel_b.shape, seed=3))
    return model


def nested() -> Any:
    inner_in = keras.Input((8, 8, 3))
    inner = keras.Model(inner_in, kl.Conv2D(4, 3, activation="relu")(inner_in), name="backbone")
    x = inp = keras.Input((8, 8, 3), name="image")
    return _functional(inp, kl.Dense(2, name="labels")(kl.Flatten()(inner(x))))


def passed_through() -> Any:
    """An output that is the input and is called like it, and one that is given out twice."""
    x = inp = keras.Input((4,), name="x")
    dense = kl.Dense(2)(x)
    return keras.Model(inp, {"copy": kl.Identity()(x), "dense": dense, "again": dense, "x": x})


def time_distributed() -> Any:
    x = inp = keras.Input((6, 8, 8, 2), name="frames")
    frame = keras.Sequential([keras.Input((8, 8, 2)), kl.Conv2D(3, 3, strides=2), kl.ReLU(), kl.Flatten()])
    x = kl.TimeDistributed(kl.Dense(4))(kl.TimeDistributed(frame)(x))
    return _functional(inp, kl.Dense(2)(kl.GlobalAveragePooling1D()(x)))


def odd_names() -> Any:
    x = inp = keras.Input((4,), name="my-input")
    return _functional(inp, [kl.Dense(2, name="a-b")(x), kl.Dense(2, name="c.d")(x)])


ZOO: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (
        convolutional,
        sequential,
        separable,
        hard_swish_convolution,
        transposed,
        one_dimensional,
        grouped,
        gelu_attention,
        embedding,
        two_inputs_dict_outputs,
        list_outputs,
        dict_inputs,
        boolean_input,
        unknown_spatial,
        normalization,
        squeeze_excite,
        shared_layer,
        augmented,
        lstm,
        gru_bidirectional,
        channels_first,
        mixed_bfloat16,
        mixed_float16,
        quantized_int8,
        lora,
        nested,
        passed_through,
        time_distributed,
        odd_names,
    )
}


def build(name: str) -> Any:
    """The model with weights that are not at rest: batch norms and biases have values of their own."""
    import numpy as np

    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    model = ZOO[name]()
    generator = np.random.default_rng(11)
    for weight in model.weights:
        if any(word in weight.path for word in ("seed", "int8", "scale")) or "int" in str(weight.dtype):
            continue
        if any(word in weight.path for word in ("gamma", "variance", "beta", "moving_mean", "bias")):
            weight.assign(generator.uniform(0.3, 1.2, weight.shape))
    return model
