"""The classics of keras.applications behind our signature: `image` with raw pixels 0..255 -> `labels`, a softmax.

The preprocessing that each application's `preprocess_input` would do stands in the model as leading Rescaling layers;
MobileNetV3 and the EfficientNets bring their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor

    from exporter.models.table import Plan

# ImageNet's mean and standard deviation per channel, of pixels scaled to 0..1 (keras.applications' mode "torch").
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def _signed(x: KerasTensor) -> KerasTensor:
    """0..255 -> -1..1, keras.applications' mode "tf"."""
    from keras import layers

    return layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(x)


def _standardized(x: KerasTensor) -> KerasTensor:
    """0..255 -> 0..1, then less ImageNet's mean over its deviation where there are three channels."""
    from keras import layers

    x = layers.Rescaling(1 / 255, name="rescale")(x)
    if x.shape[-1] != len(_MEAN):
        return x
    scale = [1 / deviation for deviation in _DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    return layers.Rescaling(scale, offset=offset, name="standardize")(x)


def _own(x: KerasTensor) -> KerasTensor:
    """The application preprocesses by itself."""
    return x


_APPLICATIONS: dict[str, tuple[str, Callable[[KerasTensor], KerasTensor]]] = {
    "inception_v3": ("InceptionV3", _signed),
    "resnet50_v2": ("ResNet50V2", _signed),
    "densenet121": ("DenseNet121", _standardized),
    "xception": ("Xception", _signed),
    "mobilenet_v2": ("MobileNetV2", _signed),
    "mobilenet_v3_small": ("MobileNetV3Small", _own),
    "efficientnet_b0": ("EfficientNetB0", _own),
    "efficientnet_v2_b0": ("EfficientNetV2B0", _own),
}


def classic(plan: Plan) -> keras.Model:
    """The application of that name, flat (not nested), with any class count.

    With ImageNet weights and other than the 1000 classes, only the body is pretrained: the classifier is new.
    """
    import keras

    name, preprocess = _APPLICATIONS[plan.name]
    image = keras.Input(plan.input_shape, name="image")
    options: dict[str, Any] = {key: value for key, value in plan.settings.items() if key != "warm"}
    options.update(input_tensor=preprocess(image), input_shape=plan.input_shape)
    application = getattr(keras.applications, name)
    if plan.pretrained and plan.classes != plan.architecture.classes:
        body = application(include_top=False, pooling="avg", weights="imagenet", **options)
        labels = keras.layers.Dense(plan.classes, activation="softmax", name="labels")(body.output)
        return keras.Model(image, labels, name=plan.name)
    body = application(weights="imagenet" if plan.pretrained else None, classes=plan.classes, **options)
    body.layers[-1].name = "labels"  # `predictions` in most; an output is named after its layer
    return keras.Model(image, body.output, name=plan.name)
