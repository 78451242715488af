"""Layers as Keras 1 wrote them, under the names of Keras 2. No framework is used.

Source: the argument names of Keras 1.2's layers and the conversions of Keras 2's `keras/legacy/interfaces.py`. Only
layers whose weights Keras 2 kept in the same shape and order are here: the others are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.errors import RefusedError

_COMMON = {
    "W_regularizer": "kernel_regularizer", "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint", "b_constraint": "bias_constraint", "bias": "use_bias", "p": "rate",
    "border_mode": "padding", "dim_ordering": "data_format", "nb_filter": "filters", "subsample": "strides",
}  # fmt: skip
_LAYERS: Mapping[str, tuple[str, dict[str, str]]] = {
    # Keras 1          Keras 2      and what is renamed in it alone
    "Dense": ("Dense", {"output_dim": "units"}),
    "Convolution2D": ("Conv2D", {}),
    **{name: (name, {}) for name in (
        "Activation", "Dropout", "Flatten", "Reshape", "Permute", "RepeatVector", "InputLayer", "MaxPooling2D",
        "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "ZeroPadding2D", "UpSampling2D",
        "BatchNormalization", "LeakyReLU", "ELU", "GaussianNoise", "SpatialDropout2D", "Sequential", "Model",
    )},
}  # fmt: skip
_MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate"}
_GONE = frozenset({
    "nb_row", "nb_col", "input_dim", "input_length", "mode", "input_dtype", "activity_regularizer", "output_shape",
    "output_shape_type", "output_mask", "output_mask_type", "arguments", "mode_type", "dot_axes", "concat_axis",
    "node_indices", "tensor_indices", "init", "gamma_init", "beta_init",  # the weights are in the file
})  # fmt: skip


def from_keras1(value: dict[str, Any], source: Path) -> dict[str, Any]:
    """One layer of Keras 1 as Keras 2 would have written it; a model's own config is left alone.

    Raises:
        RefusedError: a layer that is not in the table, or a setting that Keras 2 stored otherwise.
    """
    name, config = value["class_name"], value["config"]
    if not isinstance(config, dict) or name in {"Sequential", "Model"}:
        return value
    if name == "Merge":
        return value | _merge(config, source)
    if name not in _LAYERS:
        raise _refuse(source, f"the layer `{config.get('name')}` ({name})")
    renamed, own = _LAYERS[name]
    if config.get("dim_ordering") == "th":
        raise _refuse(source, f"the Theano ordering of the layer `{config.get('name')}`")
    if name == "BatchNormalization" and config.get("mode"):
        raise _refuse(source, f"mode {config['mode']} of the layer `{config.get('name')}` (BatchNormalization)")
    names = _COMMON | own
    made = {names.get(key, key): entry for key, entry in config.items() if key not in _GONE}
    if "nb_row" in config:
        made["kernel_size"] = [config["nb_row"], config.get("nb_col", config["nb_row"])]
    if "data_format" in made:
        made["data_format"] = "channels_last"
    return value | {"class_name": renamed, "config": made}


def _merge(config: dict[str, Any], source: Path) -> dict[str, Any]:
    mode = config.get("mode")
    if mode not in _MERGES or "layers" in config:  # with layers it is the head of a Sequential that joins models
        raise _refuse(source, f"the layer `{config.get('name')}` (Merge, {mode})")
    settings = {"name": config.get("name")} | ({"axis": config.get("concat_axis", -1)} if mode == "concat" else {})
    return {"class_name": _MERGES[mode], "config": settings}


def _refuse(source: Path, what: str) -> RefusedError:
    return RefusedError(
        f"{source} was saved by Keras 1, and {what} cannot be read.", file=source, step="scan",
        next_step="Load it in Keras 2 and save it again as .h5 (Keras 2.2 reads files of Keras 1).",
    )
