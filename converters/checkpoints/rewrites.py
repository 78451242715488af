"""Changes that a Keras model needs before edge formats can hold it, each change stated in a note.

Reduced-precision policies and Keras-quantized layers become float32, LoRA pairs are merged into their kernels,
`channels_first` convolutions run as channels-last ones between two transposes (which the converters then cancel).
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from converters.compat.keras import (
    CHANNEL_OPERATIONS,
    CONV,
    WRONG_IN_GRAPHS,
    all_layers,
    dequant_scale,
    own_variables,
    stored_weight,
)
from converters.errors import RefusedError

_REDUCED = ("float16", "bfloat16", "int8", "int4", "float8", "gptq", "awq")


def make_plain(model: Any) -> tuple[Any, tuple[str, ...]]:
    """The same model in float32 with no quantized or LoRA layer in it, and a sentence for each change.

    Raises:
        RefusedError: a quantization that has no float32 equivalent here (int4, float8, GPTQ, AWQ).
        MisfitError: its convolutions cannot be traced for edge formats with this Keras.
    """
    layers = all_layers(model)
    if any(getattr(layer, "groups", 1) > 1 and hasattr(layer, "kernel_size") for layer in layers):
        CONV.required()
    for kind, patch in WRONG_IN_GRAPHS.items():
        if any(type(layer).__name__ == kind for layer in layers):
            patch.required()
    notes: list[str] = []
    adapted = [layer for layer in layers if getattr(layer, "lora_enabled", False)]
    quantized = [layer for layer in layers if getattr(layer, "quantization_mode", None)]
    reduced = [layer for layer in layers if layer.compute_dtype in {"float16", "bfloat16"}]
    if quantized or reduced:
        model = _rebuilt_in_float32(model)
        if quantized:
            notes.append(f"{len(quantized)} Keras-quantized layer(s) were rebuilt in float32 from their integers.")
        else:
            notes.append(f"The {reduced[0].dtype_policy.name} policy was rebuilt as float32 with the same weights.")
    elif adapted:
        for layer in adapted:
            _merge_lora(layer)
    if adapted:
        notes.append(f"The LoRA pairs of {len(adapted)} layer(s) were merged into their kernels.")
    if any(getattr(layer, "data_format", None) == "channels_first" for layer in layers):
        for patch in CHANNEL_OPERATIONS:
            patch.required()
        notes.append("channels_first layers are computed channels-last; inputs and outputs keep their order.")
    return model, tuple(notes)


def _merge_lora(layer: Any) -> None:
    name = "embeddings" if hasattr(layer, "embeddings") else "kernel"
    merged = getattr(layer, name)  # the property adds the low-rank product
    stored_weight(layer, name).assign(merged)
    layer.lora_enabled = False


def _rebuilt_in_float32(model: Any) -> Any:
    import keras

    plain = keras.saving.deserialize_keras_object(_in_float32(keras.saving.serialize_keras_object(model)))
    pairs = zip(all_layers(plain), all_layers(model), strict=True)
    for new, old in pairs:
        variables = own_variables(new)
        if not variables:
            continue
        if getattr(old, "quantization_mode", None):
            _restore_quantized(new, old)
            continue
        for target, source in zip(variables, own_variables(old), strict=True):
            target.assign(keras.ops.cast(source.value, target.dtype))
    return plain


def _in_float32(node: Any, key: str = "") -> Any:
    """A serialized configuration with every reduced dtype policy replaced by float32; inputs keep what they take."""
    if key == "dtype":
        return "float32" if _is_reduced(node) else node
    if isinstance(node, dict) and node.get("class_name") == "InputLayer":
        return node
    if isinstance(node, dict):
        dropped = {"quantization_config", "lora_rank", "lora_alpha"}
        return {k: _in_float32(v, k) for k, v in node.items() if k not in dropped}
    if isinstance(node, list | tuple):
        return type(node)(_in_float32(v) for v in node)
    return node


def _is_reduced(dtype: Any) -> bool:
    """Whether a policy computes in less than float32. `uint8` alone is what a cast gives, and no policy."""
    if isinstance(dtype, dict):
        return any(word in str(dtype) for word in _REDUCED)
    return isinstance(dtype, str) and (dtype.endswith("float16") or "_from_" in dtype)


def _restore_quantized(new: Any, old: Any) -> None:
    """Copies an int8 layer's weights as floats: Keras stores `round(w * scale)` along the reduction axes."""
    import numpy as np

    mode = old.quantization_mode
    name = next((n for n in ("embeddings", "kernel") if hasattr(old, f"{n}_scale")), None)
    if mode != "int8" or name is None:
        raise RefusedError(
            f"Layer `{old.name}` ({type(old).__name__}) is quantized as {mode}, which cannot be restored to float32.",
            next_step="Export the checkpoint as it was before `model.quantize`.",
            step="load",
        )
    integers, scale = np.asarray(stored_weight(old, name)), np.asarray(getattr(old, f"{name}_scale"))
    scale = scale.reshape(-1, 1) if name == "embeddings" else np.asarray(dequant_scale(old, scale))
    floats = integers.astype(np.float32) / scale
    if getattr(old, "lora_enabled", False):
        factor = old.lora_alpha / old.lora_rank
        floats = floats + factor * np.matmul(np.asarray(old.lora_kernel_a), np.asarray(old.lora_kernel_b))
    target = stored_weight(new, name)
    target.assign(floats.reshape(target.shape))
    if getattr(old, "bias", None) is not None:
        new.bias.assign(np.asarray(old.bias, dtype=np.float32))


@contextlib.contextmanager
def channels_last_backend() -> Iterator[None]:
    """While open, Keras' channels_first convolutions run as channels-last ones between transposes.

    TensorFlow has no channels_first convolution on the CPU for training graphs, and TFLite has none at all.
    """
    with contextlib.ExitStack() as stack:
        for patch in CHANNEL_OPERATIONS:
            stack.enter_context(patch.replaced(_channels_last))
        yield


def _channels_last(operation: Callable[..., Any]) -> Callable[..., Any]:
    import keras
    import tensorflow as tf

    parameters = inspect.signature(operation)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        bound = parameters.bind(*args, **kwargs)
        bound.apply_defaults()
        data_format = bound.arguments["data_format"] or keras.config.image_data_format()
        if str(data_format).lower() != "channels_first":
            return operation(*args, **kwargs)
        x = bound.arguments["inputs"]
        rank = len(x.shape)
        bound.arguments.update(inputs=tf.transpose(x, (0, *range(2, rank), 1)), data_format="channels_last")
        return tf.transpose(operation(*bound.args, **bound.kwargs), (0, rank - 1, *range(1, rank - 1)))

    return wrapped
