"""What cannot be frozen into one trace is refused with its reason."""

from __future__ import annotations

from typing import Any

import numpy as np
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


def test_a_layer_that_draws_numbers_for_each_trace_is_refused() -> None:
    def drawing(_layer: Any, x: Any) -> Any:
        import tensorflow as tf

        with tf.init_scope():
            drawn = tf.random.normal((4,))
        return x + drawn

    with pytest.raises(RefusedError, match="depends on Python state"):
        trace(loaded_model(_model(drawing)))


def test_a_layer_may_keep_a_tensor() -> None:
    """TensorFlow names it by a counter, so two traces name it otherwise."""
    import tensorflow as tf

    table = tf.range(4, dtype=tf.float32)
    traced = trace(loaded_model(_model(lambda _layer, x: x + table)))
    (values,) = traced.concrete(tf.ones((2, 4))).values()
    np.testing.assert_array_equal(values, [[1, 2, 3, 4]] * 2)


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


def test_a_layer_that_is_made_anew_in_every_call_is_no_state() -> None:
    """Keras numbers it from trace to trace, as the activations of KerasHub's Flux."""
    import keras
    import tensorflow as tf

    traced = trace(loaded_model(_model(lambda _layer, x: keras.layers.Activation("silu")(x) * 2)))
    (values,) = traced.concrete(tf.ones((2, 4))).values()
    np.testing.assert_allclose(values, np.full((2, 4), 2 / (1 + np.exp(-1))), rtol=1e-6)


def test_a_choice_among_many_branches_is_no_state() -> None:
    """TensorFlow numbers the functions of a switch anew every time that it traces."""
    import tensorflow as tf
    from keras import ops

    def choosing(_layer: Any, x: Any) -> Any:
        return ops.switch(ops.cast(ops.sum(x), "int32"), [lambda x: x, lambda x: -x, lambda x: x * 3], x)

    concrete = trace(loaded_model(_model(choosing))).concrete
    for index, factor in enumerate((1, -1, 3)):
        batch = np.full((1, 4), index / 4, np.float32)
        (values,) = concrete(tf.constant(batch)).values()
        np.testing.assert_allclose(values, batch * factor)


@pytest.mark.parametrize("activation", ["silu", "gelu", "hard_silu"])
def test_a_gradient_of_its_own_is_no_state(activation: str) -> None:
    """TensorFlow numbers custom gradients anew every time that it traces."""
    import keras

    traced = trace(loaded_model(_model(lambda _layer, x: keras.ops.__dict__[activation](x))))
    assert traced.signature.input_names == ("x",)


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16"])
def test_inputs_keep_their_type_under_a_reduced_policy(policy: str) -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    from converters.checkpoints.rewrites import make_plain

    inputs = keras.Input((5, 6), dtype="float16", name="x")
    layers = keras.layers.LSTM(3, dtype=policy), keras.layers.Dense(2, dtype=policy, name="y")
    model = keras.Model(inputs, layers[1](layers[0](inputs)))
    plain, notes = make_plain(model)
    traced = trace(loaded_model(plain, notes))
    assert [(spec.name, spec.dtype) for spec in traced.signature.inputs] == [("x", "float16")]
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float16")
    found, wanted = traced.concrete(tf.constant(x))["y"].numpy(), np.asarray(model(x), "float32")
    np.testing.assert_allclose(found, wanted, atol=2e-2)
    assert "policy was rebuilt as float32" in " ".join(notes)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_cast_to_small_integers_is_no_reduced_policy(dtype: str) -> None:
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import ops

    from converters.checkpoints.rewrites import make_plain

    x = keras.Input((4,), name="x")
    y = keras.layers.Dense(4, dtype="mixed_float16", kernel_initializer="identity")(x)
    model = keras.Model(x, ops.cast(ops.cast(ops.abs(y), dtype), "float32"))
    traced = trace(loaded_model(*make_plain(model)))
    value = np.float32([[-1.75, 0.5, 2.25, 100.5]])
    (found,) = traced.concrete(tf.constant(value)).values()
    np.testing.assert_array_equal(found, [[1, 0, 2, 100]])
