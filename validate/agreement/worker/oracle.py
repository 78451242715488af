"""The oracle: the checkpoint in float64, so that float32's own rounding error can be seen. Worker side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from converters.errors import MisfitError, words_of
from validate.agreement.worker.grouped_convolutions import tensorflow_kernels
from validate.compat.keras import all_layers

_FLOATS = {"float16", "bfloat16", "float32", "mixed_float16", "mixed_bfloat16"}


class NoOracleError(Exception):
    """The model cannot be had in float64; its text says why."""


@contextmanager
def float64_default() -> Iterator[None]:
    """Keras' default float type, for layers and constants that state none, is float64 within the block, and grouped
    convolutions are computed as `grouped` says."""
    import keras

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with tensorflow_kernels():
            yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def float64_clone(model: Any) -> Any:
    """The same model with every float in float64 and the same weights. Call and trace it within `float64_default`.

    The whole configuration is rebuilt rather than cloned layer by layer, so that nested models, wrappers and layers
    called twice come out as they were.

    Raises:
        NoOracleError: a layer cannot be rebuilt, or fixes its own element type.
    """
    try:
        clone = type(model).from_config(_in_float64(model.get_config()))
        _copy_weights(model, clone)
    except (NoOracleError, MisfitError):
        raise
    except Exception as cause:  # whatever a user's layer may raise from its configuration
        raise NoOracleError(f"it cannot be rebuilt in float64 ({type(cause).__name__}: {words_of(cause)})") from cause
    for layer in all_layers(clone):
        policy = getattr(layer, "compute_dtype", None)
        if policy in _FLOATS:
            raise NoOracleError(f"its layer {layer.name} computes in {policy} whatever is asked for")
    return clone


def _in_float64(config: Any, key: str | None = None) -> Any:
    """The configuration with every float type replaced, those of policies and of symbolic tensors too."""
    if isinstance(config, dict):
        if config.get("class_name") in {"DTypePolicy", "FloatDTypePolicy"}:
            name = config.get("config", {}).get("name")
            return "float64" if name in _FLOATS else config
        return {k: _in_float64(v, k) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_in_float64(item) for item in config)
    return "float64" if key == "dtype" and config in _FLOATS else config


def _copy_weights(source: Any, target: Any) -> None:
    pairs = list(zip(source.weights, target.weights, strict=False))
    if len(source.weights) != len(target.weights) or any(tuple(a.shape) != tuple(b.shape) for a, b in pairs):
        raise NoOracleError("its weights do not come out in the same order when it is rebuilt")
    for old, new in pairs:
        new.assign(old.numpy())
    for layer in all_layers(target):
        if hasattr(layer, "finalize_state"):  # Normalization keeps what it derives from its weights
            layer.finalize_state()
