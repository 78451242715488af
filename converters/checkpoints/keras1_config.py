"""Layers as Keras 1 wrote them, under the names of Keras 2. No framework is used.

Source: the argument names of Keras 1.2's layers and the conversions of Keras 2's `keras/legacy/interfaces.py`. The
weights are in `keras1_weights`. What is not here is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.errors import RefusedError

_COMMON = {
    "bias": "use_bias", "p": "rate", "border_mode": "padding", "dim_ordering": "data_format", "nb_filter": "filters",
    "subsample": "strides", "subsample_length": "strides", "atrous_rate": "dilation_rate", "pool_length": "pool_size",
    "stride": "strides",
}  # fmt: skip
_RECURRENT = {
    "output_dim": "units",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
}
_LAYERS: Mapping[str, tuple[str, dict[str, str]]] = {
    # Keras 1             Keras 2      and what is renamed in it alone
    "Dense":              ("Dense", {"output_dim": "units"}),
    "TimeDistributedDense": ("Dense", {"output_dim": "units"}),
    "Convolution1D":      ("Conv1D", {"filter_length": "kernel_size"}),
    "AtrousConvolution1D": ("Conv1D", {"filter_length": "kernel_size"}),
    "Convolution2D":      ("Conv2D", {}),
    "AtrousConvolution2D": ("Conv2D", {}),
    "SeparableConvolution2D": ("SeparableConv2D", {}),
    "LSTM":               ("LSTM", _RECURRENT),
    "GRU":                ("GRU", _RECURRENT),
    "SimpleRNN":          ("SimpleRNN", _RECURRENT),
    "UpSampling1D":       ("UpSampling1D", {"length": "size"}),
    "GaussianNoise":      ("GaussianNoise", {"sigma": "stddev"}),
    "Rescaling":          ("Rescaling", {}),  # not of Keras 1: --replace puts it in
    **{name: (name, {}) for name in (
        "Activation", "AveragePooling1D", "AveragePooling2D", "BatchNormalization", "Bidirectional", "Cropping1D",
        "Cropping2D", "Dropout", "ELU", "Embedding", "Flatten", "GaussianDropout", "GlobalAveragePooling1D",
        "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "InputLayer", "LeakyReLU", "Masking",
        "MaxPooling1D", "MaxPooling2D", "Model", "Permute", "PReLU", "RepeatVector", "Reshape", "Sequential",
        "SpatialDropout1D", "SpatialDropout2D", "TimeDistributed", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
    )},
}  # fmt: skip
CONVOLUTIONS = frozenset(name for name in _LAYERS if name.endswith(("Convolution1D", "Convolution2D")))
_MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate"}
_GONE = frozenset({
    "nb_row", "nb_col", "input_length", "mode", "input_dtype", "activity_regularizer", "consume_less", "weights",
    "init", "inner_init", "forget_bias_init", "gamma_init", "beta_init", "depthwise_init", "pointwise_init",
    *(f"{which}_{what}" for what in ("regularizer", "constraint")  # of training alone; the weights are in the file
      for which in ("W", "U", "b", "gamma", "beta", "depthwise", "pointwise")),
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
        raise _refuse(
            source, f"the layer `{config.get('name')}` ({name})", _scaling(config) if name == "Lambda" else ""
        )
    renamed, new_names = _LAYERS[name]
    if config.get("dim_ordering") == "th":
        raise _refuse(source, f"the Theano ordering of the layer `{config.get('name')}`")
    if name == "BatchNormalization" and config.get("mode"):
        raise _refuse(source, f"mode {config['mode']} of the layer `{config.get('name')}` (BatchNormalization)")
    dropped_keys = _GONE | ({"dropout"} if name == "Embedding" else {"input_dim"})
    names = _COMMON | new_names
    keras2_config = {names.get(key, key): entry for key, entry in config.items() if key not in dropped_keys}
    if "nb_row" in config:
        keras2_config["kernel_size"] = [config["nb_row"], config.get("nb_col", config["nb_row"])]
    if "data_format" in keras2_config:
        keras2_config["data_format"] = "channels_last"
    if name.startswith("ZeroPadding"):
        keras2_config["padding"] = _padding(config.get("padding"))
    if name == "GRU":
        keras2_config["reset_after"] = False  # the other form came with Keras 2.1
    return value | {"class_name": renamed, "config": keras2_config}


def _padding(padding: Any) -> Any:
    """ZeroPadding's padding: also `{top_pad, bottom_pad, left_pad, right_pad}` (1D: two of them), and four numbers."""
    if isinstance(padding, Mapping):
        ends = [padding.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
        return [ends[:2], ends[2:]] if {"top_pad", "bottom_pad"} & padding.keys() else ends[2:]
    return [padding[:2], padding[2:]] if isinstance(padding, list) and len(padding) == 4 else padding


def _merge(config: dict[str, Any], source: Path) -> dict[str, Any]:
    mode = config.get("mode")
    if mode not in _MERGES or "layers" in config:  # with layers it is the head of a Sequential that joins models
        raise _refuse(source, f"the layer `{config.get('name')}` (Merge, {mode})")
    settings = {"name": config.get("name")} | ({"axis": config.get("concat_axis", -1)} if mode == "concat" else {})
    return {"class_name": _MERGES[mode], "config": settings}


def _scaling(config: Mapping[str, Any]) -> str:
    layer = config.get("name") or "LAYER"
    return f"If it only scales, say so: --replace {layer}=rescaling:SCALE[,OFFSET] (x / 255 is rescaling:1/255). Or: "


def _refuse(source: Path, subject: str, first: str = "") -> RefusedError:
    return RefusedError(
        f"{source} was saved by Keras 1, and {subject} cannot be read.",
        file=source,
        step="scan",
        next_step=f"{first}Load it in Keras 2 and save it again as .h5 (Keras 2.2 reads files of Keras 1).",
    )
