"""SavedModels of grouped convolutions run on every processor: TensorFlow finds no bias to fuse into them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.tracing import trace
from converters.writers.savedmodel import unfused, write_saved_model


def convolutional(rank: int, groups: int) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    convolution = {1: layers.Conv1D, 2: layers.Conv2D}[rank]
    inputs = keras.Input((8,) * rank + (4,), name="x")
    x = convolution(8, 3, groups=groups, activation="relu", bias_initializer="normal", name="first")(inputs)
    x = layers.Activation("sigmoid")(convolution(8, 3, bias_initializer="normal", name="second")(x))
    return keras.Model(inputs, {"y": x, "x_again": layers.Identity()(inputs)})


def additions(nodes: Iterable[Any]) -> dict[str, str]:
    """The operations that add a bias, by their layers."""
    return {node.name.split("/")[-2].removesuffix("_1"): node.op for node in nodes if node.name.endswith("/BiasAdd")}


def saved_nodes(folder: Path) -> list[Any]:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    (graph,) = SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs
    return [node for function in graph.graph_def.library.function for node in function.node_def]


@pytest.mark.parametrize("rank", [1, 2])
def test_grouped_biases_alone_are_plain_additions(rank: int, tmp_path: Path) -> None:
    import tensorflow as tf

    model = convolutional(rank, groups=2)
    traced = trace(loaded_model(model))
    assert additions(traced.concrete.graph.as_graph_def().node) == {"first": "BiasAdd", "second": "BiasAdd"}
    write_saved_model(traced, tmp_path / "sm")
    served = tf.saved_model.load(str(tmp_path / "sm")).signatures["serving_default"]
    assert additions(saved_nodes(tmp_path / "sm")) == {"first": "AddV2", "second": "BiasAdd"}
    batch = np.random.default_rng(0).normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    answers, expected = served(x=tf.constant(batch)), model(batch)
    assert set(answers) == set(expected)
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, expected[name], rtol=1e-5, atol=1e-6)


def test_a_function_without_groups_is_itself() -> None:
    concrete = trace(loaded_model(convolutional(2, groups=1))).concrete
    assert unfused(concrete) is concrete
