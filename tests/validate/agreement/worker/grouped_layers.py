"""Grouped convolutions in float64, as Keras computes them and as the oracle does; a process of its own runs this.

Prints, by layer, the greatest difference over the greatest value, the float64 clone's element type, and whether its
graph calls a function: XLA's, where Keras has it compile a convolution.
"""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from validate.agreement.worker.oracle import float64_clone, float64_default

CASES: dict[str, tuple[type[Any], tuple[int, ...], dict[str, Any]]] = {
    "same 7x7": (layers.Conv2D, (9, 11, 6), {"filters": 6, "kernel_size": 7, "padding": "same", "groups": 6}),
    "even kernel": (layers.Conv2D, (8, 9, 4), {"filters": 4, "kernel_size": (4, 2), "padding": "same", "groups": 4}),
    "valid, strides": (layers.Conv2D, (9, 11, 6), {"filters": 6, "kernel_size": 3, "strides": 2, "groups": 6}),
    "same, strides": (
        layers.Conv2D, (8, 11, 6), {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same", "groups": 6}),
    "unequal strides": (
        layers.Conv2D, (8, 11, 6), {"filters": 6, "kernel_size": 3, "strides": (1, 2), "padding": "same", "groups": 6}),
    "dilation": (
        layers.Conv2D, (9, 12, 4), {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "padding": "same",
                                    "groups": 4}),
    "depth multiplier": (layers.Conv2D, (7, 7, 4), {"filters": 12, "kernel_size": 3, "groups": 4}),
    "larger groups": (
        layers.Conv2D, (7, 8, 6), {"filters": 9, "kernel_size": 3, "padding": "same", "groups": 3,
                                   "activation": "relu"}),
    "channels first": (
        layers.Conv2D, (6, 7, 8), {"filters": 6, "kernel_size": 3, "groups": 6, "data_format": "channels_first"}),
    "channels first, larger groups": (
        layers.Conv2D, (6, 7, 8), {"filters": 6, "kernel_size": 3, "groups": 2, "padding": "same",
                                   "data_format": "channels_first"}),
    "one dimension": (layers.Conv1D, (12, 6), {"filters": 6, "kernel_size": 5, "padding": "same", "groups": 6}),
    "causal": (layers.Conv1D, (12, 6), {"filters": 6, "kernel_size": 3, "padding": "causal", "groups": 6}),
    "causal, dilated, groups of two": (
        layers.Conv1D, (12, 6), {"filters": 6, "kernel_size": 3, "padding": "causal", "groups": 3,
                                 "dilation_rate": 2}),
    "three dimensions": (layers.Conv3D, (4, 5, 6, 4), {"filters": 8, "kernel_size": 2, "groups": 4}),
}  # fmt: skip


@keras.saving.register_keras_serializable()
class Own(layers.Conv2D):  # type: ignore[misc]
    """A user's layer that calls the operation itself."""

    def call(self, inputs: Any) -> Any:
        return 2.0 * keras.ops.conv(inputs, self.kernel, strides=self.strides[0], padding=self.padding)


CASES["a layer of the user's"] = (Own, (6, 6, 4), {"filters": 4, "kernel_size": 3, "groups": 4})
CASES["no groups"] = (layers.Conv2D, (6, 6, 4), {"filters": 4, "kernel_size": 3})


def measured(kind: type[Any], shape: tuple[int, ...], how: dict[str, Any]) -> dict[str, Any]:
    image = keras.Input(shape)
    model = keras.Model(image, kind(bias_initializer="normal", **how)(image))
    inputs = np.random.default_rng(0).standard_normal((3, *shape))
    plain = keras.Sequential([keras.Input(shape, dtype="float64"), kind(dtype="float64", **how)])
    plain.set_weights(model.get_weights())
    wanted = np.asarray(plain(tf.constant(inputs)))
    with float64_default():
        clone = float64_clone(model)
        got = np.asarray(clone(inputs))
        graph = tf.function(clone).get_concrete_function(tf.TensorSpec((None, *shape), "float64")).graph
    compiled = any(op.type in {"PartitionedCall", "StatefulPartitionedCall"} for op in graph.get_operations())
    assert str(wanted.dtype) == "float64"
    error = float(np.abs(got - wanted).max() / np.abs(wanted).max())
    return {"error": error, "dtype": str(got.dtype), "compiled": compiled}


def main() -> None:
    keras.utils.set_random_seed(0)
    print(json.dumps({name: measured(*case) for name, case in CASES.items()}))


if __name__ == "__main__":
    main()
