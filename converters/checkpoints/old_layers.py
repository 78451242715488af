"""What older files say of layers in a way that Keras 3 does not read, said in its way. No framework is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

RECURRENT = frozenset(
    {
        "LSTM",
        "GRU",
        "SimpleRNN",
        "RNN",
        "ConvLSTM1D",
        "ConvLSTM2D",
        "ConvLSTM3D",
        "Bidirectional",
        "CuDNNLSTM",
        "CuDNNGRU",
    }
)
"""Layers that older files give their initial states as further inputs."""
_LEGACY_MODULES = (None, "keras._legacy.layers", "keras.layers", "keras.src.legacy.layers", "tf_keras.layers")
_COMMON = ("name", "trainable", "dtype", "batch_input_shape")


def without_legacy_layers(config: dict[str, Any]) -> dict[str, Any]:
    """The config with layers of Keras' legacy module as those that do the same in inference.

    ThresholdedReLU is a ReLU with a threshold; RandomHeight and RandomWidth pass everything on.
    """
    result: dict[str, Any] = _walked(config)
    return result


def _walked(value: Any) -> Any:
    if isinstance(value, list):
        return [_walked(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    value = {key: _walked(entry) for key, entry in value.items()}
    settings = value.get("config")
    if not isinstance(settings, dict) or value.get("module") not in _LEGACY_MODULES:
        return value
    kind, settings = value.get("class_name"), dict(settings)
    if kind == "ThresholdedReLU":
        theta = settings.pop("theta", 1.0)
        return _layer(value, "ReLU", settings | {"threshold": theta})
    if kind in {"RandomHeight", "RandomWidth"}:
        return _layer(value, "Identity", {key: settings[key] for key in _COMMON if key in settings})
    if kind == "AlphaDropout":
        return _layer(value, kind, settings)
    return value


def _layer(value: dict[str, Any], kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    placed = {"module": "keras.layers", "registered_name": None} if "module" in value else {}
    return value | {"class_name": kind, "config": settings} | placed


def without_slashes(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The config with names that Keras 3 takes, and the new name of each that had a slash."""
    names = dict.fromkeys(_names(config))
    renamed: dict[str, str] = {}
    for name in names:
        if "/" in name:
            renamed[name] = _free(name.replace("/", "_"), {*names, *renamed.values()})
    result: dict[str, Any] = _renamed(config, renamed) if renamed else config
    return result, renamed


def _free(name: str, taken: set[str]) -> str:
    number, candidate = 0, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _names(value: Any) -> Iterator[str]:
    """The names of layers and models."""
    if isinstance(value, list):
        for entry in value:
            yield from _names(entry)
    elif isinstance(value, dict):
        settings = value.get("config")
        if isinstance(value.get("class_name"), str) and isinstance(settings, dict):
            name = settings.get("name")
            yield from (name,) if isinstance(name, str) else ()
        for entry in value.values():
            yield from _names(entry)


def _renamed(value: Any, names: Mapping[str, str], key: str = "") -> Any:
    """The value with new names, where it names a layer or the place of a tensor: `["layer", 0, 0]`."""
    if isinstance(value, dict):
        return {name: _renamed(entry, names, name) for name, entry in value.items()}
    if isinstance(value, str):
        return names.get(value, value) if key == "name" else value
    if not isinstance(value, list):
        return value
    if len(value) > 2 and isinstance(value[0], str) and all(isinstance(place, int) for place in value[1:3]):
        return [names.get(value[0], value[0]), *(_renamed(entry, names) for entry in value[1:])]
    return [_renamed(entry, names) for entry in value]


def with_states(value: dict[str, Any]) -> dict[str, Any]:
    """A recurrent layer whose calls give the initial states by their argument: Keras 2 gave them as further inputs."""
    nodes = value.get("inbound_nodes")
    if value.get("class_name") not in RECURRENT or not isinstance(nodes, list):
        return value
    return value | {"inbound_nodes": [_stateful_call(node) for node in nodes]}


def _stateful_call(node: Any) -> Any:
    """`[["x", 0, 0, {}], ["h", 0, 0, {}]]` -> x, with h for its initial state."""
    if not isinstance(node, list) or not node or not all(isinstance(place, list) and len(place) > 2 for place in node):
        return node
    given = node[0][3] if len(node[0]) > 3 and isinstance(node[0][3], dict) else {}
    arguments = {key: entry for key, entry in given.items() if key not in {"initial_state", "constants"}}
    if len(node) == 1 and not given.get("initial_state"):
        return [[*node[0][:3], arguments]]
    states = node[1:] or given["initial_state"]
    states = states if isinstance(states[0], list) else [states]
    tensors = [_tensor(place) for place in states]
    return {"args": [_tensor(node[0])], "kwargs": arguments | {"initial_state": tensors}}


def _tensor(place: list[Any]) -> dict[str, Any]:
    """A tensor as Keras 3 writes it; its shape is that of the layer that gives it."""
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None], "dtype": "float32", "keras_history": place[:3]},
    }
