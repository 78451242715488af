"""What the writers put on disk: streamed and external ONNX weights, and the proof that TFLite holds its kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.errors import StepError, UnsupportedError
from converters.tracing import Traced, trace
from converters.weightless_graph import reached_variables
from converters.writers.onnx import file as onnx_file
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite import write as tflite_target
from converters.writers.tflite.check import check_weights
from converters.writers.tflite.weights import float_constants, missing_kernels
from converters.writers.tflite.write import without_duplicates, write_tflite


@pytest.fixture(scope="module")
def traced(zoo: Any) -> Traced:
    return trace(loaded_model(zoo.build("convolutional")))


@pytest.fixture(scope="module")
def tflite(traced: Traced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tflite")
    write_saved_model(traced, folder / "sm")
    write_tflite(traced, lambda: folder / "sm", folder / "m.tflite")
    return folder / "m.tflite"


def test_a_streamed_file_is_what_protobuf_would_write(traced: Traced, tmp_path: Path) -> None:
    import onnx
    from onnx import checker, shape_inference

    write_onnx(traced, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    checker.check_model(model, full_check=True)
    shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    assert len(model.SerializeToString()) == (tmp_path / "m.onnx").stat().st_size
    assert not (tmp_path / "m.onnx.data").exists()


def test_external_weights_are_aligned_relative_and_equal(
    traced: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    import onnxruntime
    from onnx import checker

    write_onnx(traced, tmp_path / "inside.onnx")
    monkeypatch.setattr(onnx_file, "EXTERNAL_OVER", 1000)
    write_onnx(traced, tmp_path / "m.onnx")
    checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    bare = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    outside = [t for t in bare.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert outside
    for tensor in outside:
        entries = {e.key: e.value for e in tensor.external_data}
        assert entries["location"] == "m.onnx.data"
        assert int(entries["offset"]) % 4096 == 0
    batch = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    outputs = []
    for name in ("inside.onnx", "m.onnx"):
        session = onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"image": batch})[0])
    np.testing.assert_array_equal(*outputs)


def test_no_more_nodes_than_tf2onnx(zoo: Any, tmp_path: Path) -> None:
    import onnx
    import tensorflow as tf
    import tf2onnx

    for name in ("convolutional", "separable", "squeeze_excite", "gelu_attention", "sequential"):
        model = zoo.build(name)
        write_onnx(trace(loaded_model(model)), tmp_path / "m.onnx")
        spec = [tf.TensorSpec(t.shape, t.dtype, name="x") for t in model.inputs]
        function = tf.function(lambda x, model=model: model(x, training=False), input_signature=spec)
        peer, _ = tf2onnx.convert.from_function(function, input_signature=spec, opset=17)
        assert len(onnx.load(tmp_path / "m.onnx").graph.node) <= len(peer.graph.node), name


def test_folded_weights_are_as_near_to_float64_as_tf2onnx_s(zoo: Any, tmp_path: Path) -> None:
    """Where more is folded than tf2onnx folds, the error against a float64 oracle is at most 1.1 times its error."""
    import keras
    import onnxruntime
    import tensorflow as tf
    import tf2onnx

    model = zoo.build("convolutional")
    write_onnx(trace(loaded_model(model)), tmp_path / "ours.onnx")
    spec = [tf.TensorSpec((None, 16, 16, 3), tf.float32, name="image")]
    function = tf.function(lambda x: model(x, training=False), input_signature=spec)
    tf2onnx.convert.from_function(function, input_signature=spec, opset=17, output_path=str(tmp_path / "peer.onnx"))
    wide = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    )
    wide.set_weights([w.astype(np.float64) for w in model.get_weights()])
    batch = np.random.default_rng(0).uniform(0, 255, (32, 16, 16, 3)).astype(np.float32)
    oracle = np.asarray(wide(batch.astype(np.float64), training=False))
    errors = []
    for name in ("ours.onnx", "peer.onnx"):
        session = onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"])
        output = session.run(None, {session.get_inputs()[0].name: batch})[0]
        errors.append(np.sqrt(np.mean((output - oracle) ** 2)))
    assert errors[0] <= 1.1 * errors[1]


def test_every_kernel_is_found_and_a_lost_one_is_missed(traced: Traced, tflite: Path) -> None:
    kernels = {n: v.numpy() for n, v in reached_variables(traced.concrete).items() if len(v.shape) >= 2}
    assert len(kernels) >= 3
    content = tflite.read_bytes()
    assert missing_kernels(content, kernels) == []
    name = next(iter(kernels))
    other = kernels[name].copy()
    other.flat[0] += 0.5
    assert missing_kernels(content, {name: other}) == [name]


def _tabular(keras: Any) -> Any:
    """Batch norms before and after: the first ends in the rows of the kernel, the second in its columns."""
    x = inputs = keras.Input((6,), name="x")
    x = keras.layers.BatchNormalization()(x)
    for units in (8, 5):
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Dense(units)(x)))
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def _positions(keras: Any) -> Any:
    """A transformer's first step: more positions than are used, added to a projection."""
    inputs = keras.Input((4, 6), name="x")
    where = keras.layers.Embedding(9, 5)
    x = keras.layers.Dense(5)(inputs) + where(np.arange(4)[None])
    return keras.Model(inputs, keras.layers.PReLU()(x))


def _multiplied(keras: Any) -> Any:
    inputs = keras.Input((6, 6, 3), name="x")
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(inputs)
    return keras.Model(inputs, keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.BatchNormalization()(x)))


def _single_numbers(keras: Any) -> Any:
    inputs = keras.Input((6, 6, 1), name="x")
    x = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.Conv2D(1, 6)(inputs))
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(1)(keras.layers.Flatten()(x))))


FOLDED = {"tabular": _tabular, "positions": _positions, "multiplied": _multiplied, "single numbers": _single_numbers}


def _folded_model(name: str) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    model = FOLDED[name](keras)
    generator = np.random.default_rng(1)
    for variable in model.variables:
        if len(variable.shape) == 1 or not variable.numpy().any():
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.mark.parametrize("name", FOLDED)
def test_kernels_that_the_converter_folds_away_are_not_called_lost(name: str, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = _folded_model(name)
    traced = trace(loaded_model(model))
    write_saved_model(traced, tmp_path / "sm")
    conversion_path = write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    assert conversion_path == "saved-model"
    batch = np.random.default_rng(0).uniform(0, 2, (3, *model.inputs[0].shape[1:])).astype(np.float32)
    (found,) = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")(x=batch).values()
    np.testing.assert_allclose(found, model(batch), rtol=1e-5, atol=1e-5)


def test_a_file_that_lost_a_kernel_is_told(tmp_path: Path) -> None:
    traced = trace(loaded_model(_folded_model("tabular")))
    write_saved_model(traced, tmp_path / "sm")
    content = tflite_target._converted(tmp_path / "sm", allow_flex=False)
    check_weights(content, traced)
    kernels = [k for k, (*_, values) in enumerate(float_constants(content)) if values.ndim == 2]
    assert len(kernels) == 3
    for lost in kernels:
        harmed = bytearray(content)
        list(float_constants(harmed))[lost][-1][:] = 0
        with pytest.raises(StepError, match="without all of its weights"):
            check_weights(harmed, traced)


def test_zeroing_a_kernel_in_the_file_changes_its_outputs(traced: Traced, tflite: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    content = bytearray(tflite.read_bytes())
    batch = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)

    def outputs(model: bytes) -> Any:
        return Interpreter(model_content=model).get_signature_runner("serving_default")(image=batch)["labels"]

    before = outputs(bytes(content))
    dense = next(v.numpy() for n, v in reached_variables(traced.concrete).items() if v.shape == (12, 5))
    place = content.find(np.ascontiguousarray(dense.T).tobytes())
    assert place > 0
    content[place : place + dense.nbytes] = bytes(dense.nbytes)
    assert np.abs(outputs(bytes(content)) - before).max() > 1e-3


def test_equal_constants_are_stored_once(tflite: Path) -> None:
    content = bytearray(tflite.read_bytes())
    assert without_duplicates(content) is content


def test_tflite_is_refused_early_when_the_weights_cannot_fit(
    traced: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite_target, "LARGEST", 1000)
    with pytest.raises(UnsupportedError, match="2 GiB"):
        write_tflite(traced, lambda: tmp_path / "never read", tmp_path / "m.tflite")
    assert not (tmp_path / "m.tflite").exists()


@pytest.mark.parametrize("opset", [13, 15, 18, 19, 21, 23])
def test_opsets(traced: Traced, tmp_path: Path, opset: int) -> None:
    import onnx

    write_onnx(traced, tmp_path / "m.onnx", opset)
    assert [(o.domain, o.version) for o in onnx.load(tmp_path / "m.onnx").opset_import] == [("", opset)]
