"""What cannot be frozen into one trace is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from converters.checkpoints.loading import loaded_model
from converters.errors import RefusedError
from converters.tracing import trace


def _model(call: Any) -> Any:
    import keras

    class Foreign(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
        calls = 0

        def call(self, x: Any) -> Any:
            return call(self, x)

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((4,), name="x")
    return keras.Model(inputs, Foreign(name="foreign")(inputs))


def test_a_layer_that_counts_its_calls_is_refused() -> None:
    def counting(layer: Any, x: Any) -> Any:
        layer.calls += 1
        return x * float(layer.calls)

    with pytest.raises(RefusedError, match="depends on Python state") as caught:
        trace(loaded_model(_model(counting)))
    assert "foreign" in caught.value.message
    assert caught.value.exit_code == 3


def test_a_layer_that_branches_on_a_value_is_refused() -> None:
    def branching(_layer: Any, x: Any) -> Any:
        import tensorflow as tf

        return x if bool(tf.reduce_sum(x) > 0) else -x

    with pytest.raises(RefusedError, match="cannot be traced") as caught:
        trace(loaded_model(_model(branching)))
    assert "keras.ops" in caught.value.next_step


def test_foreign_code_without_state_is_traced() -> None:
    import tensorflow as tf

    @tf.function
    def twice(x: Any) -> Any:
        return x + x

    traced = trace(loaded_model(_model(lambda _layer, x: twice(x))))
    assert traced.signature.input_names == ("x",)
