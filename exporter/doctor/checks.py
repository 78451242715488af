"""Which runtimes and devices really work on this machine, what stands in their way, and the command that fixes it.

A runtime works when a tiny model, written to disk and opened through edgeport's own runtimes in a worker process, gives
the right answer. What a library says that it could do counts for nothing: ONNX Runtime lists CUDA where there is none.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import EdgeportError
from converters.isolation import Limits, run_step, worker_environment
from converters.progress import Progress
from validate.runtimes.devices import Device
from validate.targets import device_of

PROBE_TIMEOUT_S = 120.0
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Probe:
    """One runtime on one device."""

    name: str
    device: str
    target: str

    def __str__(self) -> str:
        return f"{self.name} on {self.device}"


PROBES = (
    Probe("litert", "cpu", "exporter.doctor.probes:probe_litert"),
    Probe("onnxruntime", "cpu", "exporter.doctor.probes:probe_onnxruntime"),
    Probe("tensorflow", "cpu", "exporter.doctor.probes:probe_tensorflow"),
    Probe("onnxruntime", "cuda", "exporter.doctor.probes:probe_onnxruntime"),
    Probe("onnxruntime", "tensorrt", "exporter.doctor.probes:probe_onnxruntime"),
    Probe("tensorflow", "cuda", "exporter.doctor.probes:probe_tensorflow"),
    Probe("openvino", "openvino", "exporter.doctor.probes:probe_openvino"),
    Probe("onnxruntime-web", "browser", "exporter.doctor.probes:probe_browser"),
    Probe("tflm", "tflm", "exporter.doctor.probes:probe_tflm"),
    Probe("arm64", device_of("arm64"), "exporter.doctor.probes:probe_arm64"),
    Probe("qnn", "qnn", "exporter.doctor.probes:probe_qnn"),
    Probe("vela", "ethos-u55", "exporter.doctor.probes:probe_vela"),
)


@dataclass(frozen=True)
class RuntimeState:
    """The result of a probe. `reason` and `mend` are empty where it works."""

    name: str
    device: str
    ok: bool
    version: str = ""
    reason: str = ""
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Problem:
    """The problem as a sentence, and the command (or the step) that fixes it."""

    what: str
    mend: str

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Diagnosis:
    """The document of `edgeport doctor`. `ok` when every CPU runtime works; a missing GPU is not a problem."""

    runtimes: tuple[RuntimeState, ...]
    problems: tuple[Problem, ...]
    host: dict[str, Any]

    @property
    def ok(self) -> bool:
        return all(state.ok for state in self.runtimes if state.device == "cpu")

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "runtimes": [state.to_json() for state in self.runtimes],
            "problems": [problem.to_json() for problem in self.problems],
            "host": self.host,
        }


def diagnose(log: Path | None = None, on_progress: Progress | None = None) -> Diagnosis:
    """Tries every runtime in a worker of its own and looks for conflicts. Call it from the main thread."""
    from exporter.doctor.machine import machine_facts, machine_problems

    states = []
    for done, probe in enumerate(PROBES):
        if on_progress:
            on_progress(f"trying {probe}", done / len(PROBES))
        states.append(try_runtime(probe, log))
    facts = machine_facts()
    problems = [*package_problems(), *environment_problems(dict(os.environ)), *runtime_problems(states)]
    problems += [Problem(what, mend) for what, mend in machine_problems(facts)]
    return Diagnosis(tuple(states), tuple(problems), facts)


def try_runtime(probe: Probe, log: Path | None = None) -> RuntimeState:
    """Runs one probe; a crash, a hang or a wrong answer is a state like any other."""
    request = {"device": probe.device}
    env = worker_environment(gpu=probe.device in {Device.CUDA, Device.TENSORRT}, threads=1)
    inside = not Device(probe.device).is_elsewhere
    limits = Limits(timeout_s=PROBE_TIMEOUT_S)
    try:
        answer = run_step(probe.target, request, step="doctor", limits=limits, log=log, env=env, sandboxed=inside)
    except EdgeportError as error:
        return RuntimeState(probe.name, probe.device, False, reason=error.message, mend=error.next_step)
    return RuntimeState(probe.name, probe.device, True, version=str(answer["version"]))


def package_problems(distribution: str = "edgeport") -> Iterator[Problem]:
    """Dependencies that are missing or of the wrong version, and wheels that overwrite each other's files."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires(distribution) or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        specification = f"{requirement.name}{requirement.specifier}"
        installed = version_of(requirement.name)
        if installed is None:
            yield Problem(f"{requirement.name} is not installed.", f"python -m pip install '{specification}'")
        elif not requirement.specifier.contains(installed, prereleases=True):
            what = f"{requirement.name} {installed} is installed, and edgeport needs {requirement.specifier}."
            yield Problem(what, f"python -m pip install --upgrade '{specification}'")
    if version_of("onnxruntime") and version_of("onnxruntime-gpu"):
        yield Problem(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: CUDA may be gone.",
            "python -m pip uninstall -y onnxruntime onnxruntime-gpu && python -m pip install onnxruntime-gpu",
        )
    from exporter.doctor.machine import wheel_problems

    yield from (Problem(what, mend) for what, mend in wheel_problems(version_of))


def environment_problems(environment: dict[str, str]) -> Iterator[Problem]:
    """Variables that make Keras or TensorFlow behave otherwise in the user's own scripts than in edgeport's workers."""
    if environment.get("TF_USE_LEGACY_KERAS", "").lower() in {"1", "true"}:
        yield Problem(
            "TF_USE_LEGACY_KERAS is set: scripts of yours get Keras 2 as tf.keras, while edgeport always uses Keras 3.",
            "unset TF_USE_LEGACY_KERAS",
        )
    backend = environment.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        yield Problem(
            f"KERAS_BACKEND is {backend}: edgeport always uses tensorflow, so results may differ from your scripts'.",
            "unset KERAS_BACKEND",
        )


def runtime_problems(states: list[RuntimeState]) -> Iterator[Problem]:
    """CPU runtimes that do not work, and a GPU whose driver is loaded but which ONNX Runtime cannot use."""
    for state in states:
        unused_gpu = state.name == "onnxruntime" and state.device == "cuda" and _NVIDIA_DRIVER.exists()
        if not state.ok and (state.device == "cpu" or unused_gpu):
            yield Problem(f"{state.name} does not work on {state.device}: {state.reason}", state.mend)


def version_of(distribution: str) -> str | None:
    """The installed version, read without importing the package."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
