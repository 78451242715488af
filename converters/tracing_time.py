"""TimeDistributed while a model is traced, apart from the other patches: all steps at once, as rows of one batch.

Keras unrolls a known number of steps, with a copy of every kernel for each in some formats. Of an unknown number it
takes as many as there are samples, unless it runs eagerly.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from converters.compat.keras import all_layers


def steps_at_once(original: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        known = inputs.shape[1] is not None
        if training or not tf.is_tensor(inputs) or (known and not _is_by_row(self.layer)):
            return original(self, inputs, training=training, mask=mask)
        masked = mask is not None and "mask" in inspect.signature(self.layer.call).parameters
        if not _is_by_row(self.layer):
            return _step_by_step(self.layer, inputs, mask if masked else None)
        options = {"mask": _merged(mask)} if masked else {}
        return _split(self.layer.call(_merged(inputs), **options), inputs)

    return call


def _is_by_row(layer: Any) -> bool:
    """Whether one sample's answer never depends on the others: so it is with Keras' layers, not with foreign code."""
    import keras

    own = all_layers(layer)
    foreign = (keras.layers.Lambda, keras.layers.TFSMLayer)
    plain = all(
        type(part).__module__.startswith("keras.src.") and not isinstance(part, foreign) and not _keeps_state(part)
        for part in own
    )
    operations = [step for part in own for step in getattr(part, "operations", ())]
    return plain and all(isinstance(step, keras.Layer) for step in operations)


def _keeps_state(layer: Any) -> bool:
    return bool(getattr(layer, "stateful", False))


def _merged(values: Any) -> Any:
    """(batch, steps, ...) -> (batch x steps, ...)."""
    import tensorflow as tf

    return tf.reshape(values, _shape(values, [-1], 2))


def _split(values: Any, like: Any) -> Any:
    """(batch x steps, ...) -> (batch, steps, ...), with the sizes of `like`."""
    import tensorflow as tf

    batch, steps = like.shape[:2]
    if batch is None and steps is None:
        first = list(tf.unstack(tf.shape(like)[:2]))
    else:
        first = [-1, steps] if batch is None else [batch, -1 if steps is None else steps]
    result = tf.reshape(values, _shape(values, first, 1))
    return tf.ensure_shape(result, (batch, steps, *values.shape[1:]))


def _shape(values: Any, first: list[Any], axis: int) -> Any:
    """The sizes `first`, then those of `values` from an axis on."""
    import tensorflow as tf

    rest = [tf.shape(values)[k] if size is None else size for k, size in enumerate(values.shape)][axis:]
    return [*first, *rest]


def _step_by_step(layer: Any, inputs: Any, mask: Any) -> Any:
    import tensorflow as tf

    def turned(values: Any) -> Any:
        return tf.transpose(values, [1, 0, *range(2, len(values.shape))])

    if mask is None:
        return turned(tf.vectorized_map(layer.call, turned(inputs)))
    return turned(tf.vectorized_map(lambda row: layer.call(row[0], mask=row[1]), (turned(inputs), turned(mask))))
