"""The inputs and outputs of a Keras config, as far as they can be told without building the model.

Inputs stand in the config. The shape of an output does only where another layer consumes that tensor; for the layers
that models commonly end in it follows from the layer's settings. Where it does not, nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from converters.signature import BATCH, TensorSpec, unique_names
from exporter.inspection.layer_shapes import Dims, as_dims, output_shape
from exporter.inspection.precision import policy_name

Config = dict[str, Any]
_COMPUTE = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_MAX_NESTING = 32


@dataclass
class ConfigSignature:
    """The signature that a config tells; empty lists where it does not, with a note."""

    inputs: list[TensorSpec] = field(default_factory=list)
    outputs: list[TensorSpec] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Port:
    """An input or output: its layer and, where known, its shape and dtype."""

    name: str
    shape: Dims | None
    dtype: str


def signature_of(config: Config) -> ConfigSignature:
    """The signature of a model's config (a `.keras` file's or an `.h5` file's). Never raises on odd configs."""
    result = ConfigSignature()
    try:
        inputs, outputs = _model(config, 0)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):  # a shape of config that Keras never wrote
        inputs, outputs = [], []
    if inputs and all(port.shape is not None for port in inputs):
        result.inputs = _specs(inputs)
    else:
        result.notes.append("The file does not state its inputs: the model is built when it is first called.")
    if outputs and all(port.shape is not None for port in outputs):
        result.outputs = _specs(outputs, [port.name for port in inputs])
    elif outputs:
        names = ", ".join(unique_names(port.name for port in outputs))
        result.notes.append(f"The outputs are {names}; their shapes are not stated in the file.")
    return result


def _specs(ports: list[_Port], taken: Iterable[str] = ()) -> list[TensorSpec]:
    names = unique_names((port.name for port in ports), taken)
    return [
        TensorSpec(name, tuple(_dimension(name, i, d) for i, d in enumerate(port.shape or ())), port.dtype)
        for name, port in zip(names, ports, strict=True)
    ]


def _dimension(name: str, index: int, dim: int | None) -> int | str:
    if dim is not None:
        return dim
    return BATCH if index == 0 else f"{name}_dim{index}"


def _model(item: Config, depth: int) -> tuple[list[_Port], list[_Port]]:
    if depth > _MAX_NESTING:
        return [], []
    config = item["config"]
    if isinstance(config, list):  # Sequential models of Keras 1 are a bare list of layers
        return _sequential({"layers": config}, depth)
    if "input_layers" in config:
        return _functional(config, depth)
    return _sequential(config, depth) if "layers" in config else ([], [])


def _sequential(config: Config, depth: int) -> tuple[list[_Port], list[_Port]]:
    layers = [layer for layer in config["layers"] if isinstance(layer, dict)]
    inputs = _sequential_inputs(layers, depth)
    shape = inputs[0].shape if inputs else as_dims(config.get("build_input_shape"))
    name, dtype = "", "float32"
    for layer in layers:
        settings = layer["config"]
        if layer["class_name"] == "InputLayer":
            continue
        stated = (layer.get("build_config") or {}).get("input_shape")
        shape = as_dims(stated) or shape
        name, dtype = settings.get("name", layer["class_name"]), _compute_dtype(settings)
        shape = _through(layer, [shape], depth)
    return inputs, [_Port(name, shape, dtype)] if name else []


def _sequential_inputs(layers: list[Config], depth: int) -> list[_Port]:
    if not layers:
        return []
    first, settings = layers[0], layers[0]["config"]
    if first["class_name"] == "InputLayer":
        return [_input(settings)]
    if "layers" in settings:
        return _model(first, depth + 1)[0]
    shape = as_dims(settings.get("batch_input_shape"))
    return [_Port(f"{settings['name']}_input", shape, policy_name(settings.get("dtype")) or "float32")] if shape else []


def _input(settings: Config) -> _Port:
    shape = settings.get("batch_shape", settings.get("batch_input_shape"))
    return _Port(settings["name"], as_dims(shape), policy_name(settings.get("dtype")) or "float32")


def _functional(config: Config, depth: int) -> tuple[list[_Port], list[_Port]]:
    layers = {layer.get("name") or layer["config"]["name"]: layer for layer in config["layers"]}
    consumed = _consumed(config["layers"])
    inputs = [_input(layers[place[0]]["config"]) for _, place in _places(config["input_layers"], "")]
    outputs = []
    for key, (name, node, index) in _places(config["output_layers"], ""):
        layer = layers[name]
        shape = consumed.get((name, node, index))
        if layer["class_name"] == "InputLayer":
            shape = _input(layer["config"]).shape
        elif shape is None and index == 0:
            shape = _through(layer, _inbound(layer, node), depth)
        outputs.append(_Port(key or name, shape, _compute_dtype(layer["config"])))
    return inputs, outputs


def _through(layer: Config, shapes: list[Dims | None], depth: int) -> Dims | None:
    """The shape behind a layer or a nested model."""
    if "layers" in layer["config"] or "input_layers" in layer["config"]:
        outputs = _model(layer, depth + 1)[1]
        return outputs[0].shape if len(outputs) == 1 else None
    known_shapes = [shape for shape in shapes if shape is not None]
    return (
        output_shape(layer["class_name"], layer["config"], known_shapes)
        if known_shapes and len(known_shapes) == len(shapes)
        else None
    )


def _places(item: Any, key: str) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """The (dict key, (layer, node, tensor)) of a nested structure of tensors; the key is empty outside dicts."""
    if isinstance(item, dict):
        for name, below in item.items():
            yield from _places(below, f"{key}.{name}" if key else name)
    elif len(item) == 3 and isinstance(item[0], str) and isinstance(item[1], int):
        yield key, (item[0], item[1], item[2])
    else:
        for below in item:
            yield from _places(below, key)


def _tensors(item: Any) -> Iterator[Config]:
    """The tensors that a layer is called on (Keras 3 writes each with its shape), in order."""
    if isinstance(item, dict):
        if item.get("class_name") == "__keras_tensor__":
            yield item["config"]
            return
        for below in item.values():
            yield from _tensors(below)
    elif isinstance(item, list):
        for below in item:
            yield from _tensors(below)


def _consumed(layers: list[Config]) -> dict[tuple[str, int, int], Dims | None]:
    return {
        tuple(tensor["keras_history"]): as_dims(tensor["shape"])
        for layer in layers
        for tensor in _tensors(layer.get("inbound_nodes"))
    }


def _inbound(layer: Config, node: int) -> list[Dims | None]:
    nodes = layer.get("inbound_nodes") or []
    return [as_dims(tensor["shape"]) for tensor in _tensors(nodes[node])] if node < len(nodes) else []


def _compute_dtype(settings: Config) -> str:
    name = policy_name(settings.get("dtype")).rpartition("_from_")[2]  # a quantized layer computes in its source dtype
    name = _COMPUTE.get(name, name)
    return name if name in _FLOATS else "float32"
