"""Record what every layer of a Keras model gives while its function is traced. Worker side.

Nested models are looked into; a layer that is called twice gives two records, `name` and `name#1`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from validate.compat.keras import OPERATION_CALL


@dataclass(frozen=True)
class Record:
    """One call of one layer.

    Attributes:
        name: the layer's Keras name; `#k` is added for further calls, the outer model's name where two share one.
        operation: the layer, or a Keras operation such as `TrueDivide`.
        inputs: the tensors it was given.
        tensor: its output, the first where it has several.
    """

    name: str
    operation: Any
    inputs: tuple[Any, ...]
    tensor: Any

    @property
    def kind(self) -> str:
        return type(self.operation).__name__


class _Names:
    """Names that are the same every time the same model is traced."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._calls: dict[str, int] = {}

    def of(self, operation: Any, owner: str) -> str:
        name = self._names.get(id(operation))
        if name is None:
            name = str(operation.name)
            if name in self._names.values():
                name = f"{owner}/{name}" if owner else f"{name}'"
            self._names[id(operation)] = name
        call = self._calls.get(name, 0)
        self._calls[name] = call + 1
        return f"{name}#{call}" if call else name


@contextmanager
def recording(replacements: Mapping[str, Any] = MappingProxyType({})) -> Iterator[list[Record]]:
    """Fills the list, in the order of execution, with each call of a Keras operation in the block's own graph.

    Calls inside of loops (a recurrent layer's cell) belong to another graph and are left out; the layer itself is in.

    Args:
        replacements: by record, a tensor that goes on from there in place of the layer's output; the record holds what
            the layer gave. Of a layer with several outputs nothing is replaced.
    """
    records: list[Record] = []
    with OPERATION_CALL.replaced(lambda original: _recorder(original, records, replacements)):
        yield records


@contextmanager
def recording_values() -> Iterator[dict[str, Any]]:
    """Fills the dict, in the order of execution, with what each layer gives while a model is called eagerly; by the
    names that `recording` gives. Calls inside of a layer, as a wrapper's, are left out."""
    values: dict[str, Any] = {}
    with OPERATION_CALL.replaced(lambda original: _value_recorder(original, values)):
        yield values


def _value_recorder(original: Callable[..., Any], values: dict[str, Any]) -> Callable[..., Any]:
    import keras
    import tensorflow as tf

    names, owners, inside = _Names(), [""], 0

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        layer = not isinstance(self, keras.Model)
        owners.append(str(self.name))
        inside += layer
        try:
            results = original(self, *args, **kwargs)
        finally:
            inside -= layer
            owners.pop()
        tensors = [t for t in tf.nest.flatten(results) if isinstance(t, tf.Tensor)]
        if layer and not inside and tensors and tensors[0].dtype.is_floating and tensors[0].shape.rank:
            values[names.of(self, owners[-1])] = tensors[0].numpy()
        return results

    return call


def _recorder(
    original: Callable[..., Any], records: list[Record], replacements: Mapping[str, Any]
) -> Callable[..., Any]:
    import tensorflow as tf

    names, owners = _Names(), [""]
    home: Any = None

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal home
        graph = tf.compat.v1.get_default_graph()
        home = home or graph  # of the first call: the trace begins after this block does
        owners.append(str(self.name))
        try:
            results = original(self, *args, **kwargs)
        finally:
            owners.pop()
        tensors = [
            t for t in tf.nest.flatten(results) if isinstance(t, tf.Tensor) and getattr(t, "graph", None) is home
        ]
        if tensors and _is_leaf(self) and graph is home and tensors[0].dtype.is_floating and tensors[0].shape.rank:
            inputs = [t for t in tf.nest.flatten((args, kwargs)) if isinstance(t, tf.Tensor)]
            record = Record(names.of(self, owners[-1]), self, tuple(inputs), tensors[0])
            records.append(record)
            return replacements.get(record.name, results) if results is tensors[0] else results
        return results

    return call


def _is_leaf(operation: Any) -> bool:
    """A nested model is not recorded itself: its last layer gives the same."""
    import keras

    return not isinstance(operation, keras.Function)


def predecessors(records: list[Record]) -> dict[str, tuple[str, ...]]:
    """By record, the records whose tensors it is computed from, looking through whatever lies between."""
    producers = {id(record.tensor): record.name for record in reversed(records)}
    latest: dict[int, str] = {}
    result: dict[str, tuple[str, ...]] = {}
    for record in records:
        sources: dict[str, None] = {}
        queue, visited = list(record.inputs), set()
        while queue:
            tensor = queue.pop()
            if id(tensor) in visited:
                continue
            visited.add(id(tensor))
            name = latest.get(id(tensor)) or producers.get(id(tensor))
            if name is not None and name != record.name:
                sources[name] = None
            else:
                queue.extend(tensor.op.inputs)
        result[record.name] = tuple(sources)
        latest[id(record.tensor)] = record.name
    return result
