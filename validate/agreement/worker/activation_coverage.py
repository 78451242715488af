"""Coverage of the breakpoints of a model's activations by the inputs: a wrong cap shows only beyond. Worker side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from validate.agreement.worker.layer_recording import Record

_BREAKPOINTS: dict[str, tuple[float, ...]] = {
    "relu": (0.0,),
    "leaky_relu": (0.0,),
    "relu6": (0.0, 6.0),
    "hard_sigmoid": (-3.0, 3.0),
    "hard_silu": (-3.0, 3.0),
    "hard_swish": (-3.0, 3.0),
    "hard_tanh": (-1.0, 1.0),
}
"""By activation, its breakpoints, on its input."""

_OUTPUT_BREAKPOINTS: dict[str, tuple[float, ...]] = {
    "relu": (0.0,),
    "leaky_relu": (0.0,),
    "relu6": (0.0, 6.0),
    "hard_sigmoid": (0.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
}
"""The same on its output, for layers that give nothing else away."""


@dataclass(frozen=True)
class Watch:
    """A tensor whose minimum and maximum tell whether an activation was exercised.

    Attributes:
        name: the layer's.
        breakpoints: the activation's, on this tensor.
        saturates: the tensor is the activation's output, which stops at the breakpoint instead of going beyond.
    """

    name: str
    tensor: Any
    breakpoints: tuple[float, ...]
    saturates: bool

    def unexercised(self, low: float, high: float) -> bool:
        if self.saturates:
            cap = self.breakpoints[-1] if len(self.breakpoints) > 1 else None
            return low > self.breakpoints[0] or high <= self.breakpoints[0] or (cap is not None and high < cap)
        return any(not low < point < high for point in self.breakpoints)


def watches(records: Sequence[Record]) -> list[Watch]:
    """The tensors to watch, of the layers whose activations have breakpoints."""
    result = []
    for record in records:
        watch = _watch(record)
        if watch is not None:
            result.append(watch)
    return result


def _watch(record: Record) -> Watch | None:
    operation, kind = record.operation, record.kind
    inputs = tuple(t for t in record.inputs if t.dtype.is_floating)
    if kind == "ReLU":
        cap = operation.max_value
        breakpoints = (float(operation.threshold), *(() if cap is None else (float(cap),)))
        return Watch(record.name, inputs[0], breakpoints, False)
    if kind == "LeakyReLU":
        return Watch(record.name, inputs[0], (0.0,), False)
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    if kind == "Activation" and name in _BREAKPOINTS and inputs:
        return Watch(record.name, inputs[0], _BREAKPOINTS[name], False)
    if name in _OUTPUT_BREAKPOINTS:
        return Watch(record.name, record.tensor, _OUTPUT_BREAKPOINTS[name], True)
    return None


class Extremes:
    """Minima and maxima of watched tensors over all the batches that were run."""

    def __init__(self, watched: Sequence[Watch]) -> None:
        self._watched = tuple(watched)
        self._ranges: dict[str, tuple[float, float]] = {}

    def tensors(self, graph: Any) -> list[Any]:
        """Two further fetches of the graph: all minima and all maxima."""
        import tensorflow as tf

        if not self._watched:
            return []
        with graph.as_default():
            flat = [watch.tensor for watch in self._watched]
            return [tf.stack([tf.cast(find(t), "float64") for t in flat]) for find in (tf.reduce_min, tf.reduce_max)]

    def take(self, lows: Any, highs: Any) -> None:
        for watch, low, high in zip(self._watched, lows, highs, strict=True):
            before = self._ranges.get(watch.name, (float("inf"), float("-inf")))
            self._ranges[watch.name] = (min(before[0], float(low)), max(before[1], float(high)))

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        return self._ranges

    def unexercised(self) -> list[str]:
        """Layers with a breakpoint that no input crossed."""
        return [w.name for w in self._watched if w.name in self._ranges and w.unexercised(*self._ranges[w.name])]
