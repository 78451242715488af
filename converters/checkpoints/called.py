"""Models whose saved shape is that of a first call: its batch was an accident, and is opened again.

A Sequential without an Input is built by its first call, and its file then holds that call's batch as if someone had
wanted it. No framework is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_AUTOMATIC = re.compile(r"input_layer(_\d+)?|input_\d+")
"""Names that Keras 3 and Keras 2 give an Input that nobody named."""
_BATCH_KEYS = ("batch_shape", "batch_input_shape")


@dataclass
class Opened:
    """A config whose Sequentials take any batch, and the size of batch that the outermost one had (None: any)."""

    config: dict[str, Any]
    batch: int | None = None

    @property
    def notes(self) -> list[str]:
        if self.batch is None:
            return []
        return [
            f"The file holds a batch of {self.batch}, as a first call on {self.batch} rows leaves it: the artifacts "
            f"take any (--batch {self.batch} fixes it)."
        ]


def with_open_batch(config: dict[str, Any]) -> Opened:
    """The config in which no Sequential has its batch from a call.

    An Input that has a name of its own, or a shape with a batch in the first layer's own arguments, is the user's
    word and stays; so do stateful layers, whose state has a row for each of the batch. (Keras 3 writes an unnamed
    `Input(batch_shape=...)` of a Sequential just as a call does: it is opened too, and the note says how to fix it.)
    """
    opened, batch = _opened(config), _called_with(config)
    return Opened(opened, batch)


def _opened(value: Any) -> Any:
    if isinstance(value, list):
        return [_opened(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    batch = _called_with(value)
    if batch is not None:
        value = _with_any_batch(value, batch)
    return {key: _opened(entry) for key, entry in value.items()}


def _called_with(value: dict[str, Any]) -> int | None:
    """The batch that a Sequential was first called on; None where it has none, or the user gave it."""
    settings = value.get("config")
    layers = settings.get("layers") if isinstance(settings, dict) else None
    if value.get("class_name") != "Sequential" or not isinstance(layers, list) or len(layers) < 2:
        return None
    start, first = (_settings(layer) for layer in layers[:2])
    shape = next((start[key] for key in _BATCH_KEYS if isinstance(start.get(key), list)), None)
    if not shape or not isinstance(shape[0], int) or layers[0].get("class_name") != "InputLayer":
        return None
    name = str(start.get("name"))
    automatic = name == f"{first.get('name')}_input" or (_AUTOMATIC.fullmatch(name) and "batch_shape" in start)
    given = isinstance(first.get("batch_input_shape"), list) or _is_stateful(layers)
    return shape[0] if automatic and not given else None


def _settings(layer: Any) -> dict[str, Any]:
    settings = layer.get("config") if isinstance(layer, dict) else None
    return settings if isinstance(settings, dict) else {}


def _is_stateful(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_stateful(entry) for entry in value)
    if not isinstance(value, dict):
        return False
    return value.get("stateful") is True or any(_is_stateful(entry) for entry in value.values())


def _with_any_batch(value: Any, batch: int, key: str = "") -> Any:
    """The value with None for the batch in each shape that something was built with."""
    if isinstance(value, dict):
        return {name: _with_any_batch(entry, batch, _kind(name, key)) for name, entry in value.items()}
    if not isinstance(value, list):
        return value
    is_shape = key == "shape" and all(size is None or isinstance(size, int) for size in value)
    if is_shape and value[:1] == [batch]:
        return [None, *value[1:]]
    return [_with_any_batch(entry, batch, key) for entry in value]


def _kind(name: str, around: str) -> str:
    """`shape` for what holds the shapes of a build: alone, in a list, or by argument."""
    if name in {*_BATCH_KEYS, "build_input_shape", "shapes_dict"} or (name == "input_shape" and around == "build"):
        return "shape"
    return "build" if name == "build_config" else around if around == "shape" else ""
