"""The known faults, each with where it goes. Worker side; see `catalogue`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converters.arrays import Array
from validate.compat.keras import operation_of
from validate.mutants.catalogue import (
    Mutation,
    Place,
    Survey,
    Undo,
    convolutions,
    kernels,
    kind_of,
    layer_named,
    leaves,
    middle,
    with_attribute,
    with_call,
    with_weight,
)


def _epsilon(model: Any, _survey: Survey) -> Place | None:
    norm = middle(
        [
            layer
            for layer in leaves(model)
            if hasattr(layer, "epsilon") and kind_of(layer).endswith("ization") and kind_of(layer) != "Normalization"
        ]
    )
    return None if norm is None else with_attribute(norm.name, "epsilon", lambda e: 1e-5 if e > 2e-5 else 1e-3)


def _bias(model: Any, survey: Survey) -> Place | None:
    """The largest bias: a unit behind a ReLU that never fires would hide the fault."""
    layer = middle([layer for layer in kernels(model) if getattr(layer, "use_bias", False)])
    if layer is None:
        return None

    def nudge(bias: Array) -> Array:
        k = int(np.argmax(bias))
        bias.flat[k] += 1e-3 * max(1.0, abs(float(bias.flat[k])))
        return bias

    return with_weight(layer.name, "bias", nudge)


def _channel_swap(model: Any, _survey: Survey) -> Place | None:
    """Two channels that are told apart: exchanging those that were drawn alike, as a stem has that copies a grey image
    to three colours, is no fault."""
    layer = middle([c for c in convolutions(model) if c.filters > 1 and unlike(np.asarray(c.kernel))])
    return None if layer is None else with_weight(layer.name, "kernel", lambda k: _exchange_channels(k, *unlike(k)))


def unlike(kernel: Array) -> tuple[int, ...]:
    """The output channel of the largest kernel, and the one whose kernel is most unlike it; empty where all are one."""
    loudest = _loudest(kernel, 1)[0]
    gaps = np.abs(kernel - kernel[..., [loudest]]).sum(axis=tuple(range(kernel.ndim - 1)))
    other = int(np.argmax(gaps))
    return (loudest, other) if gaps[other] > 0 else ()


def _loudest(kernel: Array, count: int) -> list[int]:
    """The output channels of the largest kernels."""
    sizes = np.abs(kernel).sum(axis=tuple(range(kernel.ndim - 1)))
    return [int(k) for k in np.argsort(sizes)[::-1][:count]]


def _exchange_channels(array: Array, a: int, b: int) -> Array:
    array[..., [a, b]] = array[..., [b, a]]
    return array


def _channel_zeroing(model: Any, _survey: Survey) -> Place | None:
    layer = middle(convolutions(model) or kernels(model))

    def zero(kernel: Array) -> Array:
        kernel[..., _loudest(kernel, 1)[0]] = 0
        return kernel

    return None if layer is None else with_weight(layer.name, "kernel", zero)


def _kernel_transposition(model: Any, _survey: Survey) -> Place | None:
    square = [c for c in convolutions(model) if c.kernel_size[0] == c.kernel_size[1] > 1]
    layer = middle(square)
    return None if layer is None else with_weight(layer.name, "kernel", lambda k: k.transpose(1, 0, 2, 3))


def _is(layer: Any, name: str) -> bool:
    return getattr(getattr(layer, "activation", None), "__name__", "") == name


def _relu6(model: Any, survey: Survey) -> Place | None:
    """Where the inputs drive a ReLU furthest: capped at 6, or where none gets there, that is what shows."""
    import keras

    plain = [layer for layer in leaves(model) if _is(layer, "relu") or _is_plain_relu(layer)]
    if not plain:
        return None
    layer = max(plain, key=lambda layer: survey.get(layer.name, (0.0, 0.0))[1])
    if _is(layer, "relu"):
        return with_attribute(layer.name, "activation", lambda _: keras.activations.relu6)
    return with_attribute(layer.name, "max_value", lambda _: 6.0)


def _is_plain_relu(layer: Any) -> bool:
    return kind_of(layer) == "ReLU" and layer.max_value is None


def _tanh_gelu(model: Any, _survey: Survey) -> Place | None:
    import keras

    layer = middle([layer for layer in leaves(model) if _is(layer, "gelu")])
    if layer is None:
        return None
    return with_attribute(layer.name, "activation", lambda _: lambda x: keras.activations.gelu(x, approximate=True))


def _padding(model: Any, _survey: Survey) -> Place | None:
    """All of the odd padding before instead of shared out, as other frameworks have it."""
    same = [c for c in convolutions(model) if c.padding == "same" and max(c.kernel_size) > 1 and max(c.strides) == 1]
    layer = middle(same)
    return None if layer is None else with_call(layer.name, _padding_before)


def _padding_before(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    import keras

    def call(inputs: Any, **kwargs: Any) -> Any:
        totals = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        before = [min(total, total // 2 + 1) for total in totals]
        shape = [(0, 0), *((b, total - b) for b, total in zip(before, totals, strict=True)), (0, 0)]
        layer.padding = "valid"
        try:
            return original(keras.ops.pad(inputs, shape), **kwargs)
        finally:
            layer.padding = "same"

    return call


def _float16(model: Any, _survey: Survey) -> Place | None:
    if not kernels(model):
        return None

    def apply(target: Any) -> Undo:
        originals = [(layer.kernel, np.array(layer.kernel.numpy())) for layer in kernels(target)]
        for variable, value in originals:
            variable.assign(value.astype(np.float16).astype(value.dtype))

        def undo() -> None:
            for variable, value in originals:
                variable.assign(value)

        return undo

    return Place(None, apply)


def _dropout(model: Any, _survey: Survey) -> Place | None:
    layer = middle([layer for layer in leaves(model) if "Dropout" in kind_of(layer) and getattr(layer, "rate", False)])
    return None if layer is None else with_call(layer.name, _dropping)


def _dropping(layer: Any, _original: Callable[..., Any]) -> Callable[..., Any]:
    """Drops at random without Keras' seed state, which no format could hold."""
    import tensorflow as tf

    def call(inputs: Any, *_: Any, **__: Any) -> Any:
        draw = tf.random.uniform(tf.shape(inputs), dtype="float32", seed=1)
        mask = tf.cast(draw >= float(layer.rate), inputs.dtype)
        return inputs * mask / (1.0 - float(layer.rate))

    return call


def _scaling(factor: float | None) -> Callable[[Any, Survey], Place | None]:
    def find(model: Any, _survey: Survey) -> Place | None:
        layer = next((layer for layer in leaves(model) if kind_of(layer) == "Rescaling"), None)
        if layer is None:
            return None
        return with_attribute(layer.name, "scale", lambda s: 1.0 if factor is None else np.multiply(s, factor).tolist())

    return find


def _outputs(model: Any, _survey: Survey) -> Place | None:
    """Two whole outputs of one shape where there are, else two classes of the head."""
    heads = [operation_of(tensor).name for tensor in model.outputs]
    by_kind: dict[tuple[Any, ...], list[str]] = {}
    for tensor, head in zip(model.outputs, heads, strict=True):
        by_kind.setdefault(tuple(tensor.shape), []).append(head)
    pair = next((names for names in by_kind.values() if len(set(names)) > 1), None)
    kernel_names = {layer.name for layer in kernels(model)}
    if pair and set(pair[:2]) <= kernel_names:
        return Place(None, lambda target: _exchange_layers(layer_named(target, pair[0]), layer_named(target, pair[1])))
    if heads[0] in kernel_names and model.outputs[0].shape[-1] > 1:
        return Place(heads[0], lambda target: _exchange_classes(layer_named(target, heads[0])))
    return None


def _exchange_layers(first: Any, second: Any) -> Undo:
    calls = first.call, second.call
    first.call, second.call = calls[1], calls[0]

    def undo() -> None:
        del first.call, second.call

    return undo


def _exchange_classes(layer: Any) -> Undo:
    originals = [np.array(w.numpy()) for w in layer.weights]
    for variable, value in zip(layer.weights, originals, strict=True):
        variable.assign(_exchange_channels(value.copy(), 0, 1))

    def undo() -> None:
        for variable, value in zip(layer.weights, originals, strict=True):
            variable.assign(value)

    return undo


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("epsilon", "another epsilon in one normalization", _epsilon),
    Mutation("bias", "one bias off by a thousandth", _bias),
    Mutation("swapped-channels", "two channels of a convolution exchanged", _channel_swap),
    Mutation("relu6", "ReLU6 instead of ReLU", _relu6),
    Mutation("tanh-gelu", "the tanh form of GELU instead of the exact one", _tanh_gelu),
    Mutation("padding", "a convolution padded on the other side", _padding),
    Mutation("transposed-kernel", "height and width of a kernel exchanged", _kernel_transposition),
    Mutation("float16-weights", "weights rounded to float16 without a word", _float16),
    Mutation("dropout", "dropout left on", _dropout),
    Mutation("scaling-missing", "no scaling of the inputs", _scaling(None)),
    Mutation("scaling-doubled", "scaling of the inputs done twice as strongly", _scaling(2.0)),
    Mutation("outputs-exchanged", "two outputs exchanged", _outputs),
    Mutation("zeroed-channel", "one channel of a convolution gives nothing", _channel_zeroing),
)
