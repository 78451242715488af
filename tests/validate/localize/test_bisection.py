"""Files that are cut to find the layer: a fusion of the runtime's that no probe sees, and faults found either way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.run.twins import Twins
from validate.localize import LocalizeJob, localize, localize_each

pytestmark = pytest.mark.slow


def dense_chain(keras: Any, *, exact: bool) -> Any:
    """Four layers; with `exact` the weights of `middle` lie on a grid of 4 bits."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,), name="x")
    x = keras.layers.Dense(64, activation="relu", name="first")(inputs)
    x = keras.layers.Dense(64, use_bias=False, name="middle")(x)
    x = keras.layers.LeakyReLU(name="bend")(x)
    model = keras.Model(inputs, keras.layers.Dense(10, name="last")(x))
    if exact:
        codes = np.random.default_rng(0).integers(-7, 8, (64, 64))
        model.get_layer("middle").set_weights([codes.astype(np.float32) / 32])
    return model


def written(edgeport: Any, checkpoint: Path, folder: Path, *formats: str) -> list[Path]:
    chosen = [word for fmt in formats for word in ("-f", fmt)]
    assert edgeport("export", checkpoint, "-o", folder, *chosen).code == 0
    return [next(folder.glob(f"*.{fmt}")) for fmt in formats]


def in_four_bits(path: Path, to: Path) -> None:
    """The 64 x 64 kernel that lies on the grid as 4-bit codes in blocks: the same numbers, until they are fused."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    kernels = {i.name: numpy_helper.to_array(i) for i in graph.initializer if list(i.dims) == [64, 64]}
    name = next(n for n, kernel in kernels.items() if np.array_equal(kernel * 32, np.rint(kernel * 32)))
    codes = np.rint(kernels[name] * 32).astype(np.int8)
    graph.initializer.remove(next(i for i in graph.initializer if i.name == name))
    graph.initializer.extend(
        [
            helper.make_tensor("codes", TensorProto.INT4, (64, 64), codes.flatten().tolist()),
            numpy_helper.from_array(np.full((2, 64), 1 / 32, np.float32), "scale"),
        ]
    )
    graph.node.insert(0, helper.make_node("DequantizeLinear", ["codes", "scale"], [name], axis=0, block_size=32))
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 21))
    model.ir_version = 10
    onnx.save(model, to)


def fused_rounding(path: Path) -> float:
    """The greatest difference that ONNX Runtime's own optimisation makes."""
    import onnxruntime

    batch = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)
    outputs = []
    for name in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, name)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {session.get_inputs()[0].name: batch})[0])
    return float(np.abs(outputs[0] - outputs[1]).max())


def test_a_fusion_that_rounds_is_found_by_bisection_alone(edgeport: Any, tmp_path: Path) -> None:
    """ONNX Runtime takes the product with 4-bit weights as `MatMulNBits`, which rounds its input to 8 bits."""
    import keras

    checkpoint = tmp_path / "chain.keras"
    dense_chain(keras, exact=True).save(checkpoint)
    (plain,) = written(edgeport, checkpoint, tmp_path / "out", "onnx")
    in_four_bits(plain, tmp_path / "fused.onnx")
    (tmp_path / "twins").mkdir()
    if fused_rounding(tmp_path / "fused.onnx") < 1e-4:
        pytest.skip("needs a processor on which ONNX Runtime rounds what it fuses: fused and unfused are alike here")
    found = localize(checkpoint, tmp_path / "fused.onnx", Twins(tmp_path / "twins").make)
    assert found.bisected
    assert found.first_divergent_layer == "middle"


def test_bisection_names_the_layer_that_reading_names(edgeport: Any, tmp_path: Path) -> None:
    import keras

    good, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    model = dense_chain(keras, exact=False)
    model.save(good)
    kernel = model.get_layer("middle").get_weights()[0]
    model.get_layer("middle").set_weights([kernel * 1.01])
    model.save(bad)
    files = written(edgeport, bad, tmp_path / "out", "onnx", "tflite", "savedmodel")
    for options in (LocalizeJob(), LocalizeJob.of(bisect=True)):
        twins = tmp_path / f"twins-{options.options.bisect}"
        twins.mkdir()
        results = localize_each(good, files, Twins(twins).make, options)
        for result in results:
            assert result.bisected == options.options.bisect
            assert "middle" in {result.first_divergent_layer, *result.suspects}, result
