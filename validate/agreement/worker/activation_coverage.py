"""Which bends of a model's activations did the inputs cross? A wrong cap shows only beyond it. Worker side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from validate.agreement.worker.layer_recording import Record

_KNEES: dict[str, tuple[float, ...]] = {
    "relu": (0.0,),
    "leaky_relu": (0.0,),
    "relu6": (0.0, 6.0),
    "hard_sigmoid": (-3.0, 3.0),
    "hard_silu": (-3.0, 3.0),
    "hard_swish": (-3.0, 3.0),
    "hard_tanh": (-1.0, 1.0),
}
"""By activation, where it bends, on its input."""

_OUTPUT_KNEES: dict[str, tuple[float, ...]] = {
    "relu": (0.0,),
    "leaky_relu": (0.0,),
    "relu6": (0.0, 6.0),
    "hard_sigmoid": (0.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
}
"""The same on its output, for layers that give nothing else away."""


@dataclass(frozen=True)
class Watch:
    """A tensor whose least and greatest value tell whether an activation was exercised.

    Attributes:
        name: the layer's.
        knees: where the activation bends, on this tensor.
        saturates: the tensor is the activation's output, which stops at the knee instead of going beyond.
    """

    name: str
    tensor: Any
    knees: tuple[float, ...]
    saturates: bool

    def unexercised(self, low: float, high: float) -> bool:
        if self.saturates:
            beyond = self.knees[-1] if len(self.knees) > 1 else None
            return low > self.knees[0] or high <= self.knees[0] or (beyond is not None and high < beyond)
        return any(not low < knee < high for knee in self.knees)


def watches(records: Sequence[Record]) -> list[Watch]:
    """What to watch of the layers whose activations bend."""
    found = []
    for record in records:
        watch = _watch(record)
        if watch is not None:
            found.append(watch)
    return found


def _watch(record: Record) -> Watch | None:
    operation, kind = record.operation, record.kind
    own = tuple(t for t in record.inputs if t.dtype.is_floating)
    if kind == "ReLU":
        cap = operation.max_value
        knees = (float(operation.threshold), *(() if cap is None else (float(cap),)))
        return Watch(record.name, own[0], knees, False)
    if kind == "LeakyReLU":
        return Watch(record.name, own[0], (0.0,), False)
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    if kind == "Activation" and name in _KNEES and own:
        return Watch(record.name, own[0], _KNEES[name], False)
    if name in _OUTPUT_KNEES:
        return Watch(record.name, record.tensor, _OUTPUT_KNEES[name], True)
    return None


class Extremes:
    """Least and greatest values of watched tensors over all the batches that were run."""

    def __init__(self, watched: Sequence[Watch]) -> None:
        self._watched = tuple(watched)
        self._seen: dict[str, tuple[float, float]] = {}

    def tensors(self, graph: Any) -> list[Any]:
        """Two further fetches of the graph: all least and all greatest values."""
        import tensorflow as tf

        if not self._watched:
            return []
        with graph.as_default():
            flat = [tf.cast(watch.tensor, "float64") for watch in self._watched]
            return [tf.stack([tf.reduce_min(t) for t in flat]), tf.stack([tf.reduce_max(t) for t in flat])]

    def take(self, lows: Any, highs: Any) -> None:
        for watch, low, high in zip(self._watched, lows, highs, strict=True):
            before = self._seen.get(watch.name, (float("inf"), float("-inf")))
            self._seen[watch.name] = (min(before[0], float(low)), max(before[1], float(high)))

    @property
    def seen(self) -> Mapping[str, tuple[float, float]]:
        return self._seen

    def unexercised(self) -> list[str]:
        """Layers whose bends no input crossed, with what their values reached."""
        return [w.name for w in self._watched if w.name in self._seen and w.unexercised(*self._seen[w.name])]
