"""Faults that converters really make, each applied to a Keras model in memory and taken back. Worker side.

Every fault is an entry of `MUTATIONS`: a name, a sentence, and a function that finds a place in the model. The layer is
chosen by `survey` (what each layer's output reached on the inputs), so that the fault lies where the inputs go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from validate.compat.keras import all_layers

HEALTHY = "no fault"
"""The name of the model that was not broken: its files must pass."""

Undo = Callable[[], None]
Survey = Mapping[str, tuple[float, float]]
"""By layer name, the minimum and the maximum that its output took on the inputs."""


@dataclass(frozen=True)
class Place:
    """Where a fault goes.

    Attributes:
        layer: the Keras name of the broken layer; None where no single one is.
        apply: breaks a model, this one or its float64 clone, and returns what takes that back.
    """

    layer: str | None
    apply: Callable[[Any], Undo]


@dataclass(frozen=True)
class Mutation:
    """One known fault.

    Attributes:
        what: the fault, in words.
        find: the place in a model; None where it has none.
    """

    name: str
    what: str
    find: Callable[[Any, Survey], Place | None]


@contextmanager
def broken(model: Any, place: Place) -> Iterator[None]:
    """The model has the fault within the block."""
    undo = place.apply(model)
    try:
        yield
    finally:
        undo()


def leaves(model: Any) -> list[Any]:
    """The layers that compute, nested models opened, in the model's own order."""
    import keras

    graphs = keras.Function | keras.Sequential
    return [layer for layer in all_layers(model, include_self=False) if not isinstance(layer, graphs)]


def layer_named(model: Any, name: str) -> Any:
    return next(layer for layer in leaves(model) if layer.name == name)


def kind_of(layer: Any) -> str:
    return type(layer).__name__


def middle(layers: list[Any]) -> Any:
    """Neither the first nor the last where there are more: a fault deep inside is the harder one."""
    return layers[len(layers) // 2] if layers else None


def with_attribute(name: str, attribute: str, value: Callable[[Any], Any]) -> Place:
    """A layer's attribute replaced by what `value` makes of it."""

    def apply(model: Any) -> Undo:
        layer = layer_named(model, name)
        original = getattr(layer, attribute)
        setattr(layer, attribute, value(original))
        return lambda: setattr(layer, attribute, original)

    return Place(name, apply)


def with_weight(name: str, weight: str, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Place:
    """A layer's weight replaced by what `change` makes of it."""

    def apply(model: Any) -> Undo:
        variable = getattr(layer_named(model, name), weight)
        original = np.array(variable.numpy())
        variable.assign(change(original.copy()).astype(original.dtype))
        return lambda: variable.assign(original)

    return Place(name, apply)


def with_call(name: str, call: Callable[[Any, Callable[..., Any]], Callable[..., Any]]) -> Place:
    """A layer's `call` replaced by what `call` makes of the layer and the original."""

    def apply(model: Any) -> Undo:
        layer = layer_named(model, name)
        layer.call = call(layer, layer.call)

        def undo() -> None:
            del layer.call

        return undo

    return Place(name, apply)


def kernels(model: Any) -> list[Any]:
    """Convolutions and dense layers with a kernel of their own."""
    kinds = {"Conv1D", "Conv2D", "Conv3D", "Dense", "DepthwiseConv2D", "Conv2DTranspose"}
    return [layer for layer in leaves(model) if kind_of(layer) in kinds and hasattr(layer, "kernel")]


def convolutions(model: Any) -> list[Any]:
    return [layer for layer in kernels(model) if kind_of(layer) == "Conv2D"]
