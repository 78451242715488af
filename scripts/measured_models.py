"""Models that `edgeport build` does not know, for scripts/measure_agreement.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = 5


def build(given: str, path: Path) -> None:
    """Writes a model that `edgeport build` does not know: one of keras.applications, a small trained one, or
    `long_mean:H,W,C`, whose last mean runs over H x W values."""
    import keras

    from exporter.models.warm import seeded_images, warm_batch_norms

    keras.utils.set_random_seed(0)
    name, _, sizes = given.partition(":")
    if name == "trained_digits":
        _trained_digits().save(path)
        return
    height, width, channels = map(int, sizes.split(","))
    shape = (height, width, channels)
    model = _long_mean(shape) if name == "long_mean" else _application(name, shape)
    warm_batch_norms(model, seeded_images(shape, (0.0, 255.0), 0))
    model.save(path)


def _application(name: str, shape: tuple[int, int, int]) -> Any:
    import keras

    return getattr(keras.applications, name)(weights=None, input_shape=shape)


def _long_mean(shape: tuple[int, int, int]) -> Any:
    import keras
    from keras import layers

    image = keras.Input(shape, name="image")
    x = layers.Rescaling(1 / 255)(image)
    for width in (8, 12, 16):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same")(x)))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="labels")(x))


def _trained_digits() -> Any:
    """A plain convolutional network with a GELU, a depthwise convolution and a layer norm, fitted to the digits."""
    import keras
    from keras import layers

    data = np.load(Path(__file__).parents[1] / "examples" / "digits.npz")
    images, labels = data["image"], data["labels"]
    model = keras.Sequential(
        [
            layers.Input(images.shape[1:], name="image"),
            layers.Rescaling(1 / 16),
            layers.Conv2D(24, 3, padding="same", activation="gelu"),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(48, 3, strides=2),
            layers.LayerNormalization(),
            layers.Flatten(),
            layers.Dense(64, activation="silu"),
            layers.Dense(10, activation="softmax", name="labels"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images.astype("float32"), labels, epochs=EPOCHS, verbose=0)
    return model
