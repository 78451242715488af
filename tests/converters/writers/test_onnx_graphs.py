"""Graphs with loops, branches and states on the way to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import TensorProto, helper

from converters.errors import UnsupportedError
from converters.writers.onnx.merge import merge_equal


def test_a_body_reads_the_equal_node_that_stayed() -> None:
    """Forward and backward of a Bidirectional read the same slice, the second from inside of its loop."""
    value = helper.make_tensor_value_info
    branches = {}
    for name, operation in (("then_branch", "Neg"), ("else_branch", "Abs")):
        inner = helper.make_node(operation, ["second"], [f"{name}_out"])
        branches[name] = helper.make_graph([inner], name, [], [value(f"{name}_out", TensorProto.FLOAT, None)])
    nodes = [
        helper.make_node("Exp", ["x"], ["first"], "one"),
        helper.make_node("Exp", ["x"], ["second"], "two"),
        helper.make_node("If", ["which"], ["chosen"], "if", **branches),
        helper.make_node("Add", ["first", "chosen"], ["y"], "sum"),
    ]
    inputs = [value("x", TensorProto.FLOAT, [2]), value("which", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", TensorProto.FLOAT, [2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    merge_equal(model, {}, ["y"])
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node].count("Exp") == 1
    x = np.array([0.5, 2], np.float32)
    found = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x, "which": np.array(True)})[0]
    np.testing.assert_allclose(found, np.exp(x) - np.exp(x), atol=1e-6)


def test_a_vector_that_is_added_to_a_bias_is_no_second_one(tmp_path: Path) -> None:
    """Keras spells it `BiasAdd` too; a convolution takes one."""
    import keras
    import onnxruntime

    from converters.checkpoints.loading import loaded_model
    from converters.tracing import trace
    from converters.writers.onnx.write import write_onnx

    inputs = keras.Input((6, 6, 3), name="image")
    x = keras.layers.Conv2D(4, 3, bias_initializer="ones")(inputs) + np.arange(4, dtype=np.float32)
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, use_bias=False)(x))
    write_onnx(trace(loaded_model(model)), tmp_path / "m.onnx")
    batch = np.random.default_rng(0).uniform(0, 1, (2, 6, 6, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": batch})[0]
    np.testing.assert_allclose(found, model(batch), rtol=1e-5, atol=1e-5)


def test_a_state_between_calls_is_told(tmp_path: Path) -> None:
    """Of a layer of one's own; those of Keras are inputs and outputs of a step model."""
    import keras

    from converters.checkpoints.loading import loaded_model
    from converters.tracing import trace
    from converters.writers.onnx.write import write_onnx

    class Counter(keras.layers.Layer):
        def build(self, _shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x: Any) -> Any:
            self.count.assign(self.count + 1.0)
            return x * self.count

    model = keras.Sequential([keras.Input((5,)), Counter(name="counter")])
    with pytest.raises(UnsupportedError, match=r"cannot hold the layer `counter`.*a state that every call changes"):
        write_onnx(trace(loaded_model(model)), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_a_state_of_the_model_itself_is_called_a_variable() -> None:
    import keras

    from converters.checkpoints.loading import loaded_model
    from converters.tracing import trace

    class Counting(keras.Model):
        def build(self, _shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

        def call(self, x: Any) -> Any:
            self.count.assign(self.count + 1.0)
            return x * self.count

    model = Counting(name="counting")
    model(np.ones((2, 3), np.float32))
    with pytest.raises(UnsupportedError, match=r"cannot hold the variable `count[^`]*`: outputs depend on a state"):
        trace(loaded_model(model)).refuse_state("ONNX")
