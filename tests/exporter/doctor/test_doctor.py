"""The doctor: what really works here, and a mend for each problem."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from exporter.cli.main import run
from exporter.doctor import checks as doctor
from exporter.doctor.checks import PROBES, Diagnosis, Probe, RuntimeState

MISSING_LIBRARIES = (
    "libcu",
    "libnvinfer",
    "CUDA",
    "GPU",
    "onnxruntime",
    "ONNX Runtime",
    "TensorrtExecutionProvider",
    "arm64",
)


@pytest.fixture(scope="module")
def loaded_before() -> frozenset[str]:
    """What other tests of this process had imported."""
    return frozenset(sys.modules)


@pytest.fixture(scope="module")
def document(loaded_before: frozenset[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The real diagnosis of this machine, as JSON."""
    diagnosis = doctor.diagnose(log=tmp_path_factory.mktemp("doctor") / "log")
    parsed: dict[str, object] = json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))
    return parsed


def test_the_cpu_runtimes_work_here(document: dict[str, object]) -> None:
    states = {(r["name"], r["device"]): r for r in document["runtimes"]}  # type: ignore[attr-defined]
    assert document["ok"] is True
    assert set(states) == {(probe.name, probe.device) for probe in PROBES}
    for name, distribution in (("litert", "ai-edge-litert"), ("tensorflow", "tensorflow")):
        assert states[name, "cpu"]["ok"]
        assert states[name, "cpu"]["version"] == importlib.metadata.version(distribution)
    assert states["onnxruntime", "cpu"]["ok"]


def test_a_gpu_that_is_not_there_is_unavailable_with_a_reason_and_no_problem(document: dict[str, object]) -> None:
    for row in document["runtimes"]:  # type: ignore[attr-defined]
        if row["device"] in {"cuda", "tensorrt"} and not row["ok"]:
            assert any(name in row["reason"] for name in MISSING_LIBRARIES), row["reason"]
            assert row["mend"]
    if not doctor._NVIDIA_DRIVER.exists():
        assert not [p for p in document["problems"] if "cuda" in p["what"]]  # type: ignore[attr-defined]


def test_no_framework_is_loaded_by_asking(document: dict[str, object], loaded_before: frozenset[str]) -> None:
    assert not {"tensorflow", "onnxruntime", "ai_edge_litert"} & (set(sys.modules) - loaded_before)


def test_a_probe_that_fails_is_a_state() -> None:
    state = doctor.try_runtime(Probe("onnxruntime", "npu", "exporter.doctor.probes:probe_onnxruntime"))
    assert not state.ok
    assert "npu" in state.reason
    assert state.mend


def test_a_cpu_runtime_that_does_not_work_is_a_problem_and_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_NVIDIA_DRIVER", Path("/nonexistent"))
    states = [
        RuntimeState("litert", "cpu", False, reason="It is gone.", mend="pip install it"),
        RuntimeState("onnxruntime", "cuda", False, reason="libcublas.so.13 is missing.", mend="x"),
    ]
    (problem,) = doctor.runtime_problems(states)
    assert "It is gone." in problem.what
    assert problem.mend == "pip install it"
    assert not Diagnosis(tuple(states), (problem,), {}).ok
    assert Diagnosis(tuple(states[1:]), (), {}).ok


def test_a_gpu_with_a_driver_that_cannot_be_used_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = tmp_path / "version"
    driver.touch()
    monkeypatch.setattr(doctor, "_NVIDIA_DRIVER", driver)
    state = RuntimeState("onnxruntime", "cuda", False, reason="libcublas.so.13 is missing.", mend="pip install cuda")
    (problem,) = doctor.runtime_problems([state])
    assert "libcublas.so.13" in problem.what


def test_wheels_in_conflict_missing_and_old_packages_each_have_a_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"keras": "3.4.0", "tensorflow": "2.21.0", "onnxruntime": "1.27.0", "onnxruntime-gpu": "1.27.0"}
    needed = ["keras>=3.15.1", "tensorflow>=2.21", "tf2onnx>=1.17", "ruff; extra == 'dev'", "x; python_version < '3'"]
    monkeypatch.setattr(doctor, "version_of", installed.get)
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: needed)
    problems = {problem.what: problem.mend for problem in doctor.package_problems()}
    assert len(problems) == 3
    assert problems["keras 3.4.0 is installed, and edgeport needs >=3.15.1."].endswith("--upgrade 'keras>=3.15.1'")
    assert problems["tf2onnx is not installed."] == "python -m pip install 'tf2onnx>=1.17'"
    (conflict,) = (what for what in problems if "both installed" in what)
    assert "uninstall -y onnxruntime onnxruntime-gpu" in problems[conflict]


@pytest.mark.parametrize(
    ("environment", "mend"),
    [
        ({}, None),
        ({"TF_USE_LEGACY_KERAS": "0"}, None),
        ({"KERAS_BACKEND": "tensorflow"}, None),
        ({"TF_USE_LEGACY_KERAS": "1"}, "unset TF_USE_LEGACY_KERAS"),
        ({"KERAS_BACKEND": "jax"}, "unset KERAS_BACKEND"),
    ],
)
def test_variables_that_change_keras_are_problems(environment: dict[str, str], mend: str | None) -> None:
    assert [p.mend for p in doctor.environment_problems(environment)] == ([mend] if mend else [])


@pytest.mark.parametrize(("works", "code", "word"), [(True, 0, "works"), (False, 1, "broken")])
def test_the_command_prints_the_diagnosis(
    works: bool, code: int, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command's own work (table, problems, exit code) on a diagnosis that is handed to it."""
    host = {"memory_bytes": 1 << 33, "cpu": "C", "cores": 2, "system": "S", "kernel": "K", "python": "P"}
    state = RuntimeState("litert", "cpu", works, version="2.3.0" if works else "", reason="It is gone.", mend="mend it")
    problems = tuple(doctor.runtime_problems([state]))
    monkeypatch.setattr(doctor, "diagnose", lambda **_: Diagnosis((state,), problems, host))
    assert run(["doctor"]) == code
    out = capsys.readouterr().out
    assert word in out
    assert ("mend it" in out) is not works
    assert run(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["ok"] is works
