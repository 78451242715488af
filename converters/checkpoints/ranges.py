"""Ranges of the values that a Keras model expects (design: Default inputs). Worker side."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from converters.compat.keras import consuming_nodes, graph_of, operation_of

# keras.applications: the range that each `preprocess_input` leaves. Those that scale inside the model are found by
# their Rescaling layer. "torch": (x/255 - mean) / std; "caffe": x - mean, both over ImageNet's channels.
_CONVENTIONS = (
    (("inception_v3", "inception_resnet_v2", "xception", "resnet50v2", "resnet101v2", "resnet152v2", "mobilenet",
      "mobilenetv2", "nasnet"), (-1.0, 1.0)),
    (("densenet",), (-2.1, 2.6)),
    (("resnet50", "resnet101", "resnet152", "vgg16", "vgg19"), (-124.0, 151.0)),
)  # fmt: skip
_SHAPE_ONLY = {
    "Reshape",
    "Permute",
    "Flatten",
    "RepeatVector",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "GetItem",
    "ExpandDims",
    "Squeeze",
    "Cast",
    "Identity",
}
_RANGE_ONLY = {
    "Resizing",
    "CenterCrop",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "Cropping1D",
    "Cropping2D",
    "UpSampling2D",
    "AveragePooling2D",
    "MaxPooling2D",
    "Dropout",
    "GaussianNoise",
}
"""What keeps a range beside `_SHAPE_ONLY`, as the data augmentation that tutorials put before a Rescaling."""

_MAX_STEPS = 200

Origin = Literal["", "layer", "convention", "option", "data", "dtype", "assumed"]
"""Who tells a range: the model's layers, the family that its name is of, the user's option or data, the type of the
values, or nobody; empty in documents that do not say."""


@dataclass(frozen=True)
class Range:
    """Bounds of an input's values.

    Attributes:
        low: the minimum.
        high: the maximum, which integers may take and floats come up to.
        source: where the range comes from, in words.
        whole: the values are ids, so that anything between or beyond them is no input, whatever type holds them.
        origin: who tells it.
    """

    low: float
    high: float
    source: str
    whole: bool = False
    origin: Origin = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "low": self.low,
            "high": self.high,
            "source": self.source,
            "whole": self.whole,
            "origin": self.origin,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Range:
        whole = bool(document.get("whole", False))
        origin = document.get("origin", "")
        return cls(float(document["low"]), float(document["high"]), str(document["source"]), whole, origin)

    def __str__(self) -> str:
        """`0 to 16 (the model's Rescaling layer rescaling)`, or `0 to 1, assumed (...)`."""
        assumed = ", assumed" if self.origin == "assumed" else ""
        return f"{self.low:g} to {self.high:g}{assumed}" + (f" ({self.source})" if self.source else "")


def input_hints(model: Any) -> dict[str, Range]:
    """The range of each input, by InputLayer name, where the model tells it.

    Looked at, from the input on and into nested models: a first Rescaling or Normalization, a division or product
    with a number, the vocabulary of an Embedding or a lookup, and the names that keras.applications gives its models.
    """
    hints: dict[str, Range] = {}
    for tensor in getattr(model, "inputs", None) or ():
        operation = operation_of(tensor)
        hint = _follow(operation, model)
        if hint is not None:
            hints[operation.name] = _as_pixels(hint) if str(tensor.dtype) == "uint8" else hint
    return hints


def _as_pixels(limits: Range) -> Range:
    """The part of a range that eight bits can hold."""
    return replace(limits, low=max(0.0, limits.low), high=min(255.0, limits.high))


def _follow(start: Any, model: Any) -> Range | None:
    convention = _by_name(model)
    for node, consumer in reached(start, model, _SHAPE_ONLY | _RANGE_ONLY):
        hint = _range_from(consumer, node)
        if hint is not None:
            return hint
        convention = convention or _by_name(consumer) if is_nested(consumer) else convention
    return convention


def reached(start: Any, model: Any, passed: Collection[str] = _SHAPE_ONLY) -> Iterator[tuple[Any, Any]]:
    """The operations that an input comes to, nearest first, with their nodes: into nested models, and on behind those
    of the classes in `passed`; by default behind those that change shapes alone.
    """
    queue = deque([(start, model)])
    for _ in range(_MAX_STEPS):
        if not queue:
            return
        operation, owner = queue.popleft()
        for node, consumer in _consumers(operation, owner):
            yield node, consumer
            if is_nested(consumer):
                queue.extend((operation_of(inner), consumer) for inner in _entered(operation, node, consumer))
            elif type(consumer).__name__ in passed or is_identity(consumer):
                queue.append((consumer, owner))


def _entered(operation: Any, node: Any, nested: Any) -> list[Any]:
    """The inputs of a nested model that an operation is given to: all where the call does not tell."""
    import keras

    given = node.arguments.args[0] if node.arguments.args else None
    if isinstance(given, dict):
        pairs = [(given.get(operation_of(inner).name), inner) for inner in nested.inputs]
    else:
        pairs = list(zip(keras.tree.flatten(given), nested.inputs, strict=False))
    found = [
        inner for outer, inner in pairs if isinstance(outer, keras.KerasTensor) and operation_of(outer) is operation
    ]
    return found or list(nested.inputs)


def is_identity(operation: Any) -> bool:
    """A Rescaling that changes the type alone, as in a checkpoint that was made to take uint8."""
    scales = type(operation).__name__ == "Rescaling"
    return scales and bool(np.all(np.asarray(operation.scale) == 1) and np.all(np.asarray(operation.offset) == 0))


def is_nested(operation: Any) -> bool:
    """The operation is a model with a graph of its own."""
    import keras

    return bool(getattr(operation, "inputs", None)) and isinstance(graph_of(operation), keras.Function)


def _consumers(operation: Any, owner: Any) -> Iterator[tuple[Any, Any]]:
    """The operations of `owner` that take this one's output, with their nodes."""
    members = {id(op) for op in getattr(graph_of(owner), "operations", ())}
    for node in consuming_nodes(operation):
        if id(node.operation) in members:
            yield node, node.operation


def _range_from(consumer: Any, node: Any) -> Range | None:
    kind = type(consumer).__name__
    if is_identity(consumer):
        return None
    if kind == "Rescaling":
        return _rescaled(consumer.scale, consumer.offset, f"the model's Rescaling layer {consumer.name}")
    if kind in {"TrueDivide", "Multiply"}:
        numbers = [a for a in node.arguments.args if isinstance(a, int | float) and a]
        if numbers:
            scale = 1.0 / numbers[0] if kind == "TrueDivide" else float(numbers[0])
            return _rescaled(scale, 0.0, f"the model's first operation, {consumer.name}")
    if kind == "Normalization" and getattr(consumer, "mean", None) is not None:
        mean, deviation = np.asarray(consumer.mean), np.sqrt(np.asarray(consumer.variance))
        low, high = float((mean - 2 * deviation).min()), float((mean + 2 * deviation).max())
        told = f"two deviations around the mean of {consumer.name}"
        return Range(low, high, told, origin="layer") if low < high else None
    for attribute in ("input_dim", "num_tokens"):
        size = getattr(consumer, attribute, None)
        if isinstance(size, int) and kind in {"Embedding", "CategoryEncoding", "ReversibleEmbedding", "TokenEmbedding"}:
            return _vocabulary(0, size - 1, consumer)
    if kind == "IntegerLookup":
        words = [int(word) for word in consumer.get_vocabulary(include_special_tokens=False)]
        return _vocabulary(min(words), max(words), consumer) if words else None
    return None


def _vocabulary(low: int, high: int, consumer: Any) -> Range:
    return Range(low, high, f"the vocabulary of {consumer.name}", whole=True, origin="layer")


def _rescaled(scale: Any, offset: Any, source: str) -> Range | None:
    """The range that a Rescaling brings to 0..1, or to -a..a where its offset is -a."""
    factor, shift = float(np.max(np.abs(scale))), float(np.min(offset))
    if factor == 0:
        return None
    return Range(0.0, (1.0 if shift >= 0 else -2.0 * shift) / factor, source, origin="layer")


def _by_name(model: Any) -> Range | None:
    """The convention of a keras.applications model, by its name (`mobilenetv2_1.00_224` and the like)."""
    name = str(getattr(model, "name", "")).lower()
    for families, (low, high) in _CONVENTIONS:
        for family in families:
            if name == family or (name.startswith(family) and name[len(family) :][:1] in "_0123456789"):
                return Range(low, high, f"the convention of {family} in keras.applications", origin="convention")
    return None
