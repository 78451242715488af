"""A second look, apart from the first: where Python asks a tensor for its value, its loops become the graph's.

Keras calls such layers eagerly without complaint, and fails where it traces them itself (`predict`, `export`).
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from converters.compat.keras import all_layers

REWRITE = "Its code depends on Python values: rewrite that layer with keras.ops."
REWRITE_OR_FIX = (
    "Its code depends on Python values, perhaps on a size that is unknown: rewrite that layer with keras.ops, or save "
    "a model of fixed sizes around it, such as x = keras.Input((128,)); keras.Model(x, model(x))."
)
_OURS = ("keras.", "converters.", "exporter.")


def foreign_layers(model: Any) -> list[Any]:
    """The layers that neither Keras nor edgeport wrote."""
    layers = all_layers(model) if model is not None else []
    return [layer for layer in layers if not f"{type(layer).__module__}.".startswith(_OURS)]


@contextlib.contextmanager
def loops_in_graph(model: Any) -> Iterator[None]:
    """While open, `for`, `while` and `if` over tensors in foreign layers are operations of the graph.

    AutoGraph reads the source of their `call` and of what it calls; Keras' own code stays as it is.
    """
    import tensorflow as tf

    layers = [layer for layer in foreign_layers(model) if not type(layer).call.__module__.startswith(_OURS)]
    try:
        for layer in layers:
            call = tf.autograph.to_graph(type(layer).call)
            object.__setattr__(layer, "call", call.__get__(layer))  # past Keras, which would track it
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)


def between_two(_original: Callable[..., Any]) -> Callable[..., Any]:
    """`switch` as one `cond` in another: neither TFLite nor ONNX has a choice among more than two."""
    import tensorflow as tf

    def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
        index, last = tf.cast(index, tf.int32), len(branches) - 1

        def chosen(k: int) -> Any:  # what lies outside of the branches is the nearest of them, as in Keras
            if k == last:
                return branches[k](*operands)
            return tf.cond(index <= k, lambda: branches[k](*operands), lambda: chosen(k + 1))

        return chosen(0)

    return switch


def blamed(cause: BaseException) -> str:
    """` at the layer ...`, the innermost whose code an error came out of; empty where it was in none."""
    import keras

    owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(cause.__traceback__)]
    names = [owner.name for owner in owners if isinstance(owner, keras.Layer) and not isinstance(owner, keras.Model)]
    return f" at the layer `{names[-1]}`" if names else ""
