"""A `.tflite` without a signature runs by its tensors' names, as the very file that it is."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import RefusedError
from converters.readers.tflite_file import read_tflite
from converters.readers.tflite_signed import NOTE, signed
from exporter.inspection import inspect
from validate.runtimes.compiled_model import CompiledModelRuntime
from validate.runtimes.tflite import TfliteRuntime


def unsigned(path: Path, names: tuple[str, str, str], *, batch: int | None = None) -> Path:
    """`third = first - second`, of shape (batch, 2), with tensors of these names and no signature."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SUB
    graph.tensors = []
    for name in names:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name.encode(), schema.TensorType.FLOAT32, 0
        tensor.shape, tensor.shapeSignature = [batch or 1, 2], [batch or -1, 2]
        graph.tensors.append(tensor)
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1], [2]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.SubOptions, schema.SubOptionsT()
    graph.operators, graph.inputs, graph.outputs = [operator], [0, 1], [2]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return path


FEEDS: dict[str, Any] = {
    "net_image": np.array([[3.0, 1.0], [0.5, 2.0]], np.float32),
    "tensor": np.array([[1.0, 4.0], [0.25, 8.0]], np.float32),
}


@pytest.mark.parametrize("kind", [TfliteRuntime, CompiledModelRuntime])
def test_it_runs_by_the_names_of_its_tensors(kind: Any, tmp_path: Path) -> None:
    path = unsigned(tmp_path / "net.tflite", ("net/image:0", ":0", "Identity"))
    runtime = kind(path)
    assert runtime.signature.input_names == ("net_image", "tensor")
    assert runtime.signature.inputs[0].shape == ("batch", 2)
    assert runtime.notes == (NOTE,)
    np.testing.assert_array_equal(runtime.run(FEEDS)["Identity"], FEEDS["net_image"] - FEEDS["tensor"])
    call, named = runtime.prepared(FEEDS)
    np.testing.assert_array_equal(named(call())["Identity"], FEEDS["net_image"] - FEEDS["tensor"])


def test_inspect_calls_them_the_same(tmp_path: Path) -> None:
    found = inspect(unsigned(tmp_path / "net.tflite", ("a b", "a b", "")))
    assert [spec["name"] for spec in found["inputs"] + found["outputs"]] == ["a_b", "a_b_1", "tensor"]
    assert NOTE in found["notes"]


def test_a_file_with_a_signature_is_opened_as_it_is(tmp_path: Path) -> None:
    path = unsigned(tmp_path / "net.tflite", ("x", "y", "z"))
    content = signed(path).content
    assert content is not None
    assert content.endswith(path.read_bytes())
    path.write_bytes(content)
    assert read_tflite(path).signatures[0].key == "serving_default"
    assert signed(path).content is None


def test_ends_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    path = unsigned(tmp_path / "net.tflite", ("x", "y", "z"))
    ends = struct.pack("<III", 2, 0, 1)
    path.write_bytes(path.read_bytes().replace(ends, struct.pack("<III", 2, 0, 9)))
    with pytest.raises(RefusedError, match="points to tensor 9"):
        signed(path)
