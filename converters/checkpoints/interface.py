"""Facts of a Keras model that its signature lacks: how it scales inputs, what its outputs went through.

Worker side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.checkpoints.ranges import is_identity, is_nested, reached
from converters.compat.keras import operation_of, source_of

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_CAFFE = (103.939, 116.779, 123.68)
# What `preprocess_input` of each family does (keras.applications.imagenet_utils, modes "tf", "torch" and "caffe").
_TF = {"scale": 1 / 127.5, "mean": (1.0,), "std": (1.0,), "colour_order": "RGB"}
_TORCH = {"scale": 1 / 255, **_IMAGENET, "colour_order": "RGB"}
_BGR = {"scale": 1.0, "mean": _CAFFE, "std": (1.0,), "colour_order": "BGR"}
_CONVENTIONS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("inception_v3", "inception_resnet_v2", "xception", "resnet50v2", "resnet101v2", "resnet152v2",
                     "mobilenet", "mobilenetv2", "nasnet"), _TF),
    "densenet": _TORCH,
    **dict.fromkeys(("resnet50", "resnet101", "resnet152", "vgg16", "vgg19"), _BGR),
}  # fmt: skip
_LAST = {"Softmax": "softmax", "Sigmoid": "sigmoid", "ReLU": "relu", "LogSoftmax": "log_softmax"}


def interface_facts(model: Any, names: tuple[tuple[str, ...], tuple[str, ...]]) -> dict[str, Any]:
    """`scaling` by input and `activations` by output, as JSON; what the model does not state is left out.

    Args:
        names: of the signature's inputs and outputs, in the model's order.
    """
    if model is None:
        return {"scaling": {}, "activations": {}}
    import keras

    inputs = zip(names[0], getattr(model, "inputs", None) or (), strict=False)
    outputs = zip(names[1], keras.tree.flatten(getattr(model, "outputs", None) or ()), strict=False)
    scaling = {name: _scaling(operation_of(tensor), model) for name, tensor in inputs}
    activations = {name: _activation(tensor) for name, tensor in outputs}
    return {
        "scaling": {name: value for name, value in scaling.items() if value},
        "activations": {name: value for name, value in activations.items() if value},
    }


def _scaling(start: Any, model: Any) -> dict[str, Any] | None:
    """`{layer, scale, offset}`, `{layer, mean, std}`, or `{convention, scale, mean, std, colour_order}`."""
    convention = _convention(model)
    for node, consumer in reached(start, model):
        scales = None if is_identity(consumer) else _scales(consumer, node)
        if scales is not None:
            return {"layer": consumer.name, **scales}
        convention = convention or _convention(consumer) if is_nested(consumer) else convention
    return convention


def _scales(consumer: Any, node: Any) -> dict[str, Any] | None:
    kind = type(consumer).__name__
    if kind == "Rescaling":
        return {"scale": _numbers(consumer.scale), "offset": _numbers(consumer.offset)}
    if kind == "Normalization" and getattr(consumer, "mean", None) is not None and not consumer.invert:
        return {"mean": _numbers(consumer.mean), "std": _numbers(np.sqrt(np.asarray(consumer.variance)))}
    if kind in {"TrueDivide", "Multiply"}:
        numbers = [a for a in node.arguments.args if isinstance(a, int | float) and a]
        if numbers:
            return {"scale": [1.0 / numbers[0] if kind == "TrueDivide" else float(numbers[0])], "offset": [0.0]}
    return None


def _numbers(value: Any) -> list[float]:
    return [float(number) for number in np.asarray(value).ravel()]


def _convention(model: Any) -> dict[str, Any] | None:
    name = str(getattr(model, "name", "")).lower()
    for family, values in _CONVENTIONS.items():
        if name == family or (name.startswith(family) and name[len(family) :][:1] in "_0123456789"):
            return {"convention": family, **values}
    return None


def _activation(tensor: Any) -> str | None:
    """Keras' name of the function that an output comes out of."""
    for _ in range(20):
        operation = operation_of(tensor)
        if not is_nested(operation):
            break
        tensor = source_of(tensor, operation)
    kind = type(operation).__name__
    if kind in _LAST:
        return _LAST[kind]
    function = getattr(operation, "activation", None)
    return getattr(function, "__name__", None)
