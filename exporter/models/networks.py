"""The networks made of our own blocks. Each builder takes a `Plan` and returns an uncompiled model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.models.blocks import InceptionWidths, convolution, inception_block, residual_block, squeeze_excite

if TYPE_CHECKING:
    import keras

    from exporter.models.table import Plan


def digits_se_inception(plan: Plan) -> keras.Model:
    """A small classifier of 8x8 scans with all three blocks: two stages of inception, residual, squeeze-excite.

    Raw pixel values 0..16 go in; `labels` is a softmax over the classes.
    """
    from keras import Input, Model, layers

    image = Input(plan.input_shape, name="image")
    x = layers.Rescaling(1 / 16, name="rescale")(image)
    x = convolution(x, 32, 3, name="stem", batch_norm=True)
    for stage, width in enumerate((16, 24), start=1):
        x = inception_block(x, InceptionWidths.even(width), batch_norm=True, name=f"inception{stage}")
        x = residual_block(x, name=f"residual{stage}")
        x = squeeze_excite(x, int(plan.settings["reduction_ratio"]), name=f"se{stage}")
        if stage == 1:
            x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    labels = layers.Dense(plan.classes, activation="softmax", name="labels")(x)
    return Model(image, labels, name=plan.name)


def inception_module(plan: Plan) -> keras.Model:
    """One inception block on an image: (256, 256, 3) -> `features` (256, 256, 192) by default."""
    from keras import Input, Model

    image = Input(plan.input_shape, name="image")
    widths = InceptionWidths.even(int(plan.settings["width"]))
    features = inception_block(image, widths, axis=int(plan.settings["axis"]), name="features")
    return Model(image, features, name=plan.name)


def residual_module(plan: Plan) -> keras.Model:
    """One residual block on an image: (256, 256, 3) -> `features` of the same shape."""
    from keras import Input, Model

    image = Input(plan.input_shape, name="image")
    return Model(image, residual_block(image, name="features"), name=plan.name)


def se_inception_v3(plan: Plan) -> keras.Model:
    """InceptionV3's features under one squeeze-excite block, for labels that do not exclude each other.

    22 364 081 parameters with 17 classes and r = 16: InceptionV3 without top 21 802 784, squeeze-excite
    2 * 2048 * 128 + 128 + 2048, classifier 2048 * 17 + 17. The InceptionV3 model stays nested and the dense layers keep
    their order, so that weights files of the Keras tutorial's code fit.
    """
    from keras import Input, Model, layers
    from keras.applications import InceptionV3

    image = Input(plan.input_shape, name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    weights = "imagenet" if plan.pretrained else None
    body = InceptionV3(include_top=False, weights=weights, input_shape=plan.input_shape, name="inception_v3")
    x = squeeze_excite(body(x), int(plan.settings["reduction_ratio"]))
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(float(plan.settings["dropout"]), name="dropout")(x)
    labels = layers.Dense(plan.classes, activation="sigmoid", name="labels")(x)
    return Model(image, labels, name=plan.name)


# Szegedy et al. 2014, table 1: conv1, reduce3, conv3, reduce5, conv5, pool. None is a stride-2 max pooling.
_GOOGLENET_STAGES: tuple[tuple[str, tuple[int, int, int, int, int, int]] | None, ...] = (
    ("3a", (64, 96, 128, 16, 32, 32)),
    ("3b", (128, 128, 192, 32, 96, 64)),
    None,
    ("4a", (192, 96, 208, 16, 48, 64)),
    ("4b", (160, 112, 224, 24, 64, 64)),
    ("4c", (128, 128, 256, 24, 64, 64)),
    ("4d", (112, 144, 288, 32, 64, 64)),
    ("4e", (256, 160, 320, 32, 128, 128)),
    None,
    ("5a", (256, 160, 320, 32, 128, 128)),
    ("5b", (384, 192, 384, 48, 128, 128)),
)


def se_googlenet(plan: Plan) -> keras.Model:
    """GoogLeNet (table 1 of its paper) with squeeze-excite after every inception block (SENet's figure 2).

    Batch normalization takes the place of the two local response normalizations, and there are no auxiliary
    classifiers, as in Ioffe & Szegedy 2015, arXiv:1502.03167, and in the Inception network that SENet builds on.
    """
    from keras import Input, Model, layers

    image = Input(plan.input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(image)
    x = convolution(x, 64, 7, strides=2, batch_norm=True, name="conv1")
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    x = convolution(x, 64, 1, batch_norm=True, name="conv2_reduce")
    x = convolution(x, 192, 3, batch_norm=True, name="conv2")
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool2")(x)
    pools = iter(("pool3", "pool4"))
    for stage in _GOOGLENET_STAGES:
        if stage is None:
            x = layers.MaxPooling2D(3, strides=2, padding="same", name=next(pools))(x)
            continue
        block, (conv1, reduce3, conv3, reduce5, conv5, pool) = stage
        widths = InceptionWidths(reduce3, conv3, reduce5, conv5, pool, conv1)
        x = inception_block(x, widths, batch_norm=True, name=f"inception_{block}")
        x = squeeze_excite(x, int(plan.settings["reduction_ratio"]), name=f"se_{block}")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(float(plan.settings["dropout"]), name="dropout")(x)
    labels = layers.Dense(plan.classes, activation="softmax", name="labels")(x)
    return Model(image, labels, name=plan.name)
