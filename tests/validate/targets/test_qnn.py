"""Qualcomm's HTP, emulated: apart from our packages, on integer files alone, and the CPU takes nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import RefusedError
from exporter.doctor.tiny import tiny_int8_onnx, tiny_onnx
from validate.runtimes import DeviceUnavailableError, RuntimeOptions, open_artifact
from validate.targets import Device, Kind, target_of
from validate.targets.environment import Environment
from validate.targets.qnn import Connection, Qnn

QNN = Device("qnn")


def test_it_says_what_installs_it(own_targets: Path, tmp_path: Path) -> None:
    target = target_of(QNN)
    assert (target.numbers, target.time, target.installed) == (Kind.EMULATED, Kind.NEVER, False)
    (tmp_path / "m.onnx").write_bytes(tiny_int8_onnx())
    with pytest.raises(DeviceUnavailableError, match="qnn is not installed here") as error:
        open_artifact(tmp_path / "m.onnx", RuntimeOptions(device=QNN))
    assert "edgeport target install qnn" in error.value.next_step


def test_a_damaged_environment_is_told(tmp_path: Path) -> None:
    gone = Qnn(environment=Environment(tmp_path, "", {}))
    with pytest.raises(DeviceUnavailableError, match="site is gone"), gone.connected(()):
        pass


def test_its_worker_sees_none_of_our_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two builds of ONNX Runtime lie over each other where both are seen."""
    started: list[Any] = []
    monkeypatch.setattr("validate.targets.qnn.WorkerByPipe", lambda *words: started.append(words))
    Connection(tmp_path / "site", tmp_path, {}).worker({"do": "run"}, 3)
    ((_name, program, request, _hint),) = started
    assert request == {"do": "run", "device": "htp"}
    assert program[:2] == ["env", "-i"]
    variables = dict(word.split("=", 1) for word in program[2:] if "=" in word and not word.startswith("-"))
    assert variables["PYTHONPATH"].split(":")[0] == str(tmp_path / "site")
    assert variables["OMP_NUM_THREADS"] == "3"
    assert program[-5:] == [sys.executable, "-S", "-s", "-m", "validate.targets.remote_worker"]


@pytest.fixture
def opened(with_qnn: Environment, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EDGEPORT_TARGETS", str(with_qnn.folder.parent))
    return lambda path: open_artifact(path, RuntimeOptions(device=QNN))


@pytest.mark.slow
def test_integers_are_computed_there_and_floats_are_not(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny_int8_onnx())
    (tmp_path / "floats.onnx").write_bytes(tiny_onnx())
    runtime = opened(tmp_path / "m.onnx")
    assert runtime.version == "2.7.0"
    (note,) = runtime.notes
    assert "are taken by HTP, emulated" in note
    feeds = {"a": np.array([1, -2], np.float32), "b": np.array([0.5, 4], np.float32)}
    assert runtime.run(feeds)["sum"].tolist() == [1.5, 2.0]
    with pytest.raises(DeviceUnavailableError, match="integer files alone"):
        opened(tmp_path / "floats.onnx")


@pytest.mark.slow
def test_what_it_does_not_take_is_named(opened: Any, tmp_path: Path) -> None:
    """A test for infinity, which HTP has not; what stands around it would go to the CPU as well."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(tiny_int8_onnx())
    total = model.graph.output[0]
    model.graph.node.append(helper.make_node("IsInf", ["sum"], ["infinite"]))
    model.graph.node.append(helper.make_node("Cast", ["infinite"], ["out"], to=TensorProto.FLOAT))
    total.name = "out"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(RefusedError, match=r"HTP does not take .*1 IsInf"):
        opened(tmp_path / "m.onnx")
