"""The same file at several places: a verdict each, by what it computes in there, and one where the answers are one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from validate.agreement import Agreement, JudgeJob, Verdict
from validate.agreement.compare import compare
from validate.runtimes import Device
from validate.runtimes.variant import Variant
from validate.targets import Places

pytest.importorskip("openvino", reason="needs the extra `openvino`")


@pytest.fixture(scope="module")
def placed(zoo: Path) -> Agreement:
    places = Places(devices=("cpu", "openvino"), variants=(Variant(), Variant(spinning=False), Variant(xnnpack=False)))
    files = [zoo / name for name in ("small.onnx", "small.tflite", "mutant-epsilon.onnx", "small.savedmodel")]
    return compare(zoo / "small.keras", files, JudgeJob(places=places))


def rows(agreement: Agreement, name: str) -> dict[tuple[str, str], Verdict]:
    return {(v.target, v.setting): v for v in agreement.verdicts if v.artifact.name == name}


def test_every_place_has_a_row_the_host_first(placed: Agreement) -> None:
    assert list(rows(placed, "small.onnx")) == [
        ("host", "default"),
        ("host", "no spinning"),
        ("openvino", "default"),
        ("openvino", "float32"),
    ]
    assert list(rows(placed, "small.savedmodel")) == [("host", "default")]
    assert [v.artifact.name for v in placed.first_verdicts] == [
        "small.onnx", "small.tflite", "mutant-epsilon.onnx", "small.savedmodel",
    ]  # fmt: skip
    for verdict in placed.verdicts:
        assert verdict.row.runtime
        assert verdict.row.runtime_version


def test_an_honest_file_agrees_wherever_it_runs(placed: Agreement) -> None:
    for name in ("small.onnx", "small.tflite"):
        for verdict in rows(placed, name).values():
            assert verdict.status == "agree", verdict.reason


def test_a_fault_is_found_wherever_the_arithmetic_can_tell_it(placed: Agreement) -> None:
    found = rows(placed, "mutant-epsilon.onnx")
    for place in (("host", "default"), ("host", "no spinning"), ("openvino", "float32")):
        assert found[place].status == "disagree"


def test_settings_with_the_very_same_answers_share_their_verdict(placed: Agreement) -> None:
    found = rows(placed, "small.onnx")
    shared = found["host", "no spinning"]
    assert shared.same_as == "host, default"
    assert shared.outputs == found["host", "default"].outputs
    assert found["openvino", "float32"].same_as is None


def test_what_it_is_computed_in_is_what_it_is_held_to(placed: Agreement) -> None:
    for name in ("small.onnx", "small.tflite"):
        found = rows(placed, name)
        told, default = found["openvino", "float32"].row, found["openvino", "default"].row
        assert told.precision_computed == "float32"
        assert told.outputs[0].gate.measure == "noise_ratio"
        if default.precision_computed == "float32":
            continue  # this processor has no instructions for less
        assert default.precision_computed in {"bfloat16", "float16"}
        (output,) = default.outputs
        assert output.gate.measure == "rounding_ratio"
        assert output.rounding_ratio is not None
        assert 0.1 < output.rounding_ratio < 2
        assert output.noise_ratio is not None
        assert output.noise_ratio > 100


def test_a_place_that_is_not_there_is_no_verdict(zoo: Path) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("needs a machine without a GPU")
    agreement = compare(zoo / "small.keras", [zoo / "small.onnx"], JudgeJob(places=Places(devices=("cuda",))))
    assert [v.target for v in agreement.verdicts] == ["host"]
    (missing,) = agreement.unavailable
    assert missing.place.device is Device.CUDA
    assert "cuda" in missing.reason
    assert missing.to_json()["next"]


def padded_maximum(path: Path, *, fused: bool) -> None:
    """The maximum over padded negative values. ONNX Runtime 1.31 takes the padding of zeros into the pool, where it
    counts for nothing: a file that is wrong there and right elsewhere. A Clip between the two keeps them apart."""
    constants = [
        numpy_helper.from_array(np.full((1, 1, 1, 1), -1.0, np.float32), "kernel"),
        numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads"),
        numpy_helper.from_array(np.full((), -1e9, np.float32), "least"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["negative"]),
        helper.make_node("Pad", ["negative", "pads"], ["padded"]),
        *([] if fused else [helper.make_node("Clip", ["padded", "least"], ["clipped"])]),
        helper.make_node("MaxPool", ["padded" if fused else "clipped"], ["y"], kernel_shape=[3, 3], strides=[3, 3]),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1, size, size])
        for name, size in (("x", 7), ("y", 3))
    )
    graph = helper.make_graph(nodes, "padded", [x], [y], constants[: 2 if fused else 3])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_a_fault_that_shows_at_one_target_alone_is_found_there(tmp_path: Path) -> None:
    padded_maximum(tmp_path / "reference.onnx", fused=False)
    padded_maximum(tmp_path / "fused.onnx", fused=True)
    job = replace(JudgeJob.of(input_range=(1.0, 2.0)), places=Places(devices=("openvino",)))
    agreement = compare(tmp_path / "reference.onnx", [tmp_path / "fused.onnx"], job)
    status = {(v.target, v.setting): str(v.status) for v in agreement.verdicts}
    assert status["openvino", "float32"] == "agree"
    assert status["host", "default"] == "disagree"
