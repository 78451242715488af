"""The models: those that are hard for float32, and random ones by their seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

Model = Any


def made(name: str) -> Model:
    """The model `hard/NAME` or `zoo/SEED`.

    Raises:
        ValueError: Keras itself cannot run what the seed drew.
    """
    kind, _, rest = name.partition("/")
    keras.utils.set_random_seed(0)
    return _drawn(rest) if kind == "zoo" else HARD[rest]()


def _drawn(seed: str) -> Model:
    from random_zoo.draw import draw
    from random_zoo.judge import reference

    drawn = draw(seed)
    values = [value for feed in drawn.feeds for value in reference(drawn.model, feed)]
    if not all(value.size and np.isfinite(value).all() and np.abs(value).max() <= 1e5 for value in values):
        raise ValueError("values that are empty, not finite or huge")
    return drawn.model


def long_sum() -> Model:
    """C2: a sum of 20 000 products, which runtimes add one after the other."""
    return keras.Sequential([keras.Input((20_000,), name="x"), layers.Dense(11), layers.Softmax()])


def equal_rows() -> Model:
    """C3: rows of one value are nothing but rounding errors behind the norm."""
    return keras.Sequential(
        [keras.Input((4, 22), name="x"), layers.LayerNormalization(epsilon=1e-6), layers.Flatten(), layers.Dense(1)]
    )


def small_mobilenet() -> Model:
    """C4: at 32x32 its last batch norms have the statistics of few values."""
    from exporter.models.warm import warm_batch_norms

    base = keras.applications.MobileNetV3Small(input_shape=(32, 32, 3), weights=None, include_top=False)
    model = keras.Model(base.input, layers.GlobalAveragePooling2D()(base.output))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith("gamma"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape).astype(np.float32))
    warm_batch_norms(model, rng.uniform(0, 255, (8, 32, 32, 3)).astype(np.float32))
    return model


def transformer() -> Model:
    """C5: two blocks on 24 x 22 values."""
    return _attention(24, 22, 32)


def long_attention() -> Model:
    """Attention over 128 steps."""
    return _attention(128, 22, 32)


def _attention(steps: int, features: int, width: int) -> Model:
    x = start = keras.Input((steps, features), name="x")
    x = layers.Dense(width)(x)
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, width // 4)(y, y)])
        y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(start, layers.Dense(10, activation="softmax")(x))


def mean_of(side: int, head: bool) -> Callable[[], Model]:
    """A mean over side x side values, alone or between a convolution and a dense layer."""

    def make() -> Model:
        x = start = keras.Input((side, side, 3), name="x")
        if head:
            x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        x = layers.GlobalAveragePooling2D()(x)
        return keras.Model(start, layers.Dense(5)(x) if head else x)

    return make


def long_convolution() -> Model:
    """A convolution of 9 216 terms."""
    x = start = keras.Input((8, 8, 1024), name="x")
    return keras.Model(start, layers.Conv2D(6, 3)(x))


def large_dense() -> Model:
    """A dense kernel of four million values."""
    x = start = keras.Input((4096,), name="x")
    return keras.Model(start, layers.Dense(10, activation="softmax")(layers.Dense(1024, activation="relu")(x)))


def recurrent() -> Model:
    """LSTM and GRU over 40 steps."""
    x = start = keras.Input((40, 8), name="x")
    x = layers.GRU(16)(layers.LSTM(24, return_sequences=True)(x))
    return keras.Model(start, layers.Dense(4)(x))


def jumps() -> Model:
    """An argmax, a rounding and a threshold beside a plain output: one flip is a jump."""
    x = start = keras.Input((12,), name="x")
    y = layers.Dense(16, activation="tanh")(x)
    best = ops.cast(ops.argmax(y, axis=-1, keepdims=True), "float32")
    steps = ops.round(4 * y)
    gate = ops.cast(y > 0.1, "float32") * y
    return keras.Model(
        start,
        [
            layers.Dense(3, name="plain")(y),
            layers.Dense(3, name="jumping")(ops.concatenate([best, steps, gate], axis=-1)),
        ],
    )


def argmax_map() -> Model:
    """A segmentation that ends in classes: of 65 536 pixels a sample some have two classes that are nearly alike."""
    x = start = keras.Input((256, 256, 3), name="x")
    x = layers.Conv2D(10, 3, padding="same")(layers.Conv2D(16, 3, padding="same", activation="relu")(x))
    return keras.Model(start, ops.argmax(x, axis=-1))


def ids() -> Model:
    """Whole numbers through an embedding."""
    x = start = keras.Input((30,), dtype="int32", name="ids")
    x = layers.GlobalAveragePooling1D()(layers.Conv1D(16, 3, activation="relu")(layers.Embedding(200, 16)(x)))
    return keras.Model(start, layers.Dense(4, activation="softmax")(x))


def one_hot() -> Model:
    """Whole numbers made to one-hot rows."""
    x = start = keras.Input((1,), dtype="int32", name="kind")
    x = layers.CategoryEncoding(12, output_mode="one_hot")(x)
    return keras.Model(start, layers.Dense(5)(layers.Dense(32, activation="relu")(x)))


def byte_images() -> Model:
    """Images of bytes, which nothing may move."""
    x = start = keras.Input((24, 24, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(ops.cast(x, "float32"))
    x = layers.Conv2D(16, 3, activation="relu")(layers.Conv2D(8, 3, strides=2, activation="relu")(x))
    return keras.Model(start, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


HARD: dict[str, Callable[[], Model]] = {
    "C2_long_sum": long_sum,
    "C3_equal_rows": equal_rows,
    "C4_small_mobilenet": small_mobilenet,
    "C5_transformer": transformer,
    "attention_128": long_attention,
    "mean_784": mean_of(28, True),
    "mean_12544": mean_of(112, True),
    "mean_12544_alone": mean_of(112, False),
    "convolution_9216": long_convolution,
    "dense_4096": large_dense,
    "recurrent": recurrent,
    "jumps": jumps,
    "argmax_map": argmax_map,
    "ids": ids,
    "one_hot": one_hot,
    "byte_images": byte_images,
}
