"""Files judged in TensorFlow Lite for Microcontrollers: right ones agree, faults are found, refusals have its words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from validate.agreement import Agreement, JudgeJob, Verdict
from validate.agreement.compare import compare
from validate.targets import Places

pytest.importorskip("tflite_micro", reason="needs the extra `tflm`")

JUDGED = ("small.tflite", "small.int8.tflite", "mutant-epsilon.tflite", "half.tflite", "crasher.tflite", "small.onnx")


@pytest.fixture(scope="module")
def placed(zoo: Path) -> Agreement:
    files = [zoo / name for name in JUDGED]
    return compare(zoo / "small.keras", files, JudgeJob(places=Places(devices=("tflm",))))


def there(agreement: Agreement, name: str) -> Verdict:
    return next(v for v in agreement.verdicts if v.artifact.name == name and v.target == "tflm")


@pytest.mark.parametrize("name", ["small.tflite", "small.int8.tflite"])
def test_an_honest_file_agrees_and_its_arena_was_measured(placed: Agreement, name: str) -> None:
    row = there(placed, name).row
    assert row.status == "agree", row.reason
    assert (row.runtime, row.setting) == ("tflm", "default")
    assert row.runtime_version
    assert row.arena is not None
    assert row.arena.least >= row.arena.recorded > 0


def test_only_tflm_measures_an_arena_and_only_of_what_it_opens(placed: Agreement) -> None:
    assert all(v.row.arena is None for v in placed.verdicts if v.target == "host")
    assert [v.target for v in placed.verdicts if v.artifact.name == "small.onnx"] == ["host"]


def test_a_planted_fault_is_found(placed: Agreement) -> None:
    verdict = there(placed, "mutant-epsilon.tflite")
    assert verdict.status == "disagree"
    assert verdict.row.runtime == "tflm"


def test_what_tflm_has_no_kernel_for_is_refused_in_its_own_words(placed: Agreement) -> None:
    verdict = there(placed, "half.tflite")
    assert verdict.status == "error"
    assert "DEQUANTIZE (number 0) failed to prepare" in verdict.reason


def test_a_file_that_ends_the_process_is_its_own_verdict(placed: Agreement) -> None:
    """One whose graph calls itself for ever; the others are judged all the same."""
    assert there(placed, "crasher.tflite").status == "error"


def clipped(path: Path, quantized: tuple[float, float] | None) -> None:
    """`y = relu6(x)`: in floats, or in int8 with these scales of the input and the output."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, code, operator = (
        schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    )  # fmt: skip
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU6
    operator.inputs, operator.outputs = [0], [1]
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [0], [1], [operator]
    for k, name in enumerate("xy"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, [1, 64], schema.TensorType.FLOAT32
        if quantized:
            tensor.type, tensor.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [quantized[k]], np.array([-128], np.int64)
        graph.tensors.append(tensor)
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def test_a_fault_that_shows_at_tflm_alone_is_found_there(tmp_path: Path) -> None:
    """Its RELU6 of integers takes no heed of another scale of the output; LiteRT's does. Alike scales are right."""
    clipped(tmp_path / "reference.float32.tflite", None)
    clipped(tmp_path / "other.int8.tflite", (12 / 255, 6 / 255))
    clipped(tmp_path / "alike.int8.tflite", (12 / 255, 12 / 255))
    job = replace(JudgeJob.of(input_range=(0.0, 12.0)), places=Places(devices=("tflm",)))
    files = [tmp_path / "other.int8.tflite", tmp_path / "alike.int8.tflite"]
    agreement = compare(tmp_path / "reference.float32.tflite", files, job)
    found = {(v.artifact.name, v.target): str(v.status) for v in agreement.verdicts}
    assert found == {
        ("other.int8.tflite", "host"): "agree",
        ("other.int8.tflite", "tflm"): "disagree",
        ("alike.int8.tflite", "host"): "agree",
        ("alike.int8.tflite", "tflm"): "agree",
    }
