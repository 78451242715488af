"""TFLite files that only bisection tells about: what a delegate rounds, and what dies of having its tensors read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.formats import Precision
from exporter.run.twins import Twins
from validate.localize import LocalizeJob, localize

pytestmark = pytest.mark.slow


def chain(keras: Any) -> Any:
    """Four layers; `middle` is given -1, 0 and 1 alone, and its weights are 8-bit codes: it is exact in them."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,), name="x")
    x = keras.ops.sign(keras.layers.Dense(64, name="first")(inputs))
    x = keras.layers.Dense(64, use_bias=False, name="middle")(x)
    x = keras.layers.LeakyReLU(name="bend")(x)
    model = keras.Model(inputs, keras.layers.Dense(10, name="last")(x))
    codes = np.random.default_rng(0).integers(-126, 127, (64, 64))
    codes[0] = 127
    model.get_layer("middle").set_weights([codes.astype(np.float32) / 1024])
    return model


def exported(edgeport: Any, checkpoint: Path, folder: Path) -> Path:
    assert edgeport("export", checkpoint, "-o", folder, "-f", "tflite").code == 0
    return next(folder.glob("*.tflite"))


def in_eight_bits(path: Path, to: Path) -> None:
    """The kernel that consists of codes as these codes: the same numbers."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if list(tensor.shape) != [64, 64] or data is None:
            continue
        codes = np.frombuffer(bytes(data), np.float32) * 1024
        if np.array_equal(codes, np.rint(codes)):
            tensor.type, tensor.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [1 / 1024], [0]
            model.buffers[tensor.buffer].data = codes.astype(np.int8).view(np.uint8)
    flatbuffer_utils.write_model(model, str(to))


def delegate_rounding(path: Path) -> float:
    """The greatest difference that XNNPACK makes."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    batch = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)
    outputs = []
    for resolver in (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.AUTO):
        interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
        outputs.append(next(iter(interpreter.get_signature_runner()(x=batch).values())))
    return float(np.abs(outputs[0] - outputs[1]).max())


def killing(path: Path, to: Path) -> None:
    """With an operation that nothing reads, and that kills LiteRT: two graphs that call each other for ever."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CALL_ONCE, 127
    model.operatorCodes.append(code)

    def calling(graph: int) -> Any:
        operator, options = schema.OperatorT(), schema.CallOnceOptionsT()
        options.initSubgraphIndex = graph
        operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, [], []
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.CallOnceOptions, options
        return operator

    for other in (2, 1):
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.inputs, graph.outputs = b"again", [], [], []
        graph.operators = [calling(other)]
        model.subgraphs.append(graph)
    model.subgraphs[0].operators.insert(0, calling(1))
    flatbuffer_utils.write_model(model, str(to))


def test_what_a_delegate_rounds_is_found_by_bisection_alone(edgeport: Any, tmp_path: Path) -> None:
    """LiteRT's own kernel codes what it is given symmetrically, which -1, 0 and 1 survive; XNNPACK does not."""
    import keras

    checkpoint = tmp_path / "chain.keras"
    chain(keras).save(checkpoint)
    in_eight_bits(exported(edgeport, checkpoint, tmp_path / "out"), tmp_path / "coded.tflite")
    (tmp_path / "twins").mkdir()
    if delegate_rounding(tmp_path / "coded.tflite") < 1e-4:
        pytest.skip("needs a processor on which XNNPACK rounds float to 8 bits: with and without it the file is alike")
    as_float = LocalizeJob(precision=Precision.FLOAT32)  # its tensors would tell dynamic_int8, which may round so
    found = localize(checkpoint, tmp_path / "coded.tflite", Twins(tmp_path / "twins").make, as_float)
    assert found.bisected
    assert found.first_divergent_layer == "middle"


def test_a_file_that_dies_of_being_read_is_bisected(edgeport: Any, tmp_path: Path) -> None:
    import keras

    good, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    model = chain(keras)
    model.save(good)
    model.get_layer("middle").set_weights([model.get_layer("middle").get_weights()[0] * 1.01])
    model.save(bad)
    killing(exported(edgeport, bad, tmp_path / "out"), tmp_path / "killing.tflite")
    (tmp_path / "twins").mkdir()
    found = localize(good, tmp_path / "killing.tflite", Twins(tmp_path / "twins").make)
    assert found.bisected
    assert found.first_divergent_layer == "middle"
    assert any("could be read at once" in note and "crashed" in note for note in found.notes)
