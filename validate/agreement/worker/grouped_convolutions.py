"""Grouped convolutions of the oracle, by kernels that TensorFlow has. Worker side.

Keras has XLA compile every grouped convolution on a CPU, in float64 to plain loops: 8 s for four images of 12 x 12 x
192 through a depthwise 7 x 7 kernel, as ConvNeXt has them, where TensorFlow's own kernel takes 3 ms. Both add the same
products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from validate.compat.keras import GROUPED_CONV


@contextmanager
def tensorflow_kernels() -> Iterator[None]:
    """Grouped convolutions of float64 tensors that are called or traced in the block are computed without XLA."""
    with GROUPED_CONV.replaced(_without_xla):
        yield


def _without_xla(original: Callable[..., Any]) -> Callable[..., Any]:
    import keras
    from keras import ops

    def conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:
        form = str(data_format or keras.config.image_data_format()).lower()
        channels = inputs.shape[-1 if form == "channels_last" else 1]
        if inputs.dtype != "float64" or channels in {None, kernel.shape[-2]}:
            return original(inputs, kernel, strides, padding, data_format, dilation_rate)
        kernel = ops.convert_to_tensor(kernel)
        rank = len(kernel.shape) - 2
        how = {
            "strides": _each(strides, rank),
            "padding": padding,
            "dilation_rate": _each(dilation_rate, rank),
            "data_format": "channels_last",
        }
        if form == "channels_last":
            return _grouped(inputs, kernel, how)
        return ops.moveaxis(_grouped(ops.moveaxis(inputs, 1, -1), kernel, how), -1, 1)

    return conv


def _each(value: int | tuple[int, ...] | list[int], rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _grouped(inputs: Any, kernel: Any, how: dict[str, Any]) -> Any:
    """A group of one channel is a depthwise convolution; larger groups are convolved one by one.

    TensorFlow's depthwise kernel takes one or two dimensions and equal strides alone.
    """
    from keras import ops

    *sizes, in_channels, out_channels = kernel.shape
    groups = inputs.shape[-1] // in_channels
    if in_channels == 1 and len(sizes) <= 2 and len(set(how["strides"])) == 1:
        return ops.depthwise_conv(inputs, ops.reshape(kernel, (*sizes, groups, out_channels // groups)), **how)
    parts = zip(ops.split(inputs, groups, -1), ops.split(kernel, groups, -1), strict=True)
    return ops.concatenate([ops.conv(part, weights, **how) for part, weights in parts], -1)
