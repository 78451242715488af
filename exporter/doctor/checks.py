"""Which runtimes and devices really work on this machine, what stands in their way, and the command that fixes it.

A runtime works when a tiny model, written to disk and opened through edgeport's own runtimes in a worker process, gives
the right answer. What a library says that it could do counts for nothing: ONNX Runtime lists CUDA where there is none.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import EdgeportError, StepError
from converters.isolation import Channel, Limits, Message, run_step, worker_environment
from converters.progress import Progress
from exporter.doctor.tiny import FEEDS, TOTAL, tiny_int8_onnx, tiny_onnx, tiny_tflite
from validate.runtimes.devices import Device
from validate.targets import device_of
from validate.targets.environment import environment_of

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
    Probe("litert", "cpu", "exporter.doctor.checks:probe_litert"),
    Probe("onnxruntime", "cpu", "exporter.doctor.checks:probe_onnxruntime"),
    Probe("tensorflow", "cpu", "exporter.doctor.checks:probe_tensorflow"),
    Probe("onnxruntime", "cuda", "exporter.doctor.checks:probe_onnxruntime"),
    Probe("onnxruntime", "tensorrt", "exporter.doctor.checks:probe_onnxruntime"),
    Probe("tensorflow", "cuda", "exporter.doctor.checks:probe_tensorflow"),
    Probe("openvino", "openvino", "exporter.doctor.checks:probe_openvino"),
    Probe("onnxruntime-web", "browser", "exporter.doctor.checks:probe_browser"),
    Probe("tflm", "tflm", "exporter.doctor.checks:probe_tflm"),
    Probe("arm64", device_of("arm64"), "exporter.doctor.checks:probe_arm64"),
    Probe("qnn", "qnn", "exporter.doctor.checks:probe_qnn"),
    Probe("vela", "ethos-u55", "exporter.doctor.checks:probe_vela"),
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


# In workers from here on.


def probe_litert(_: Message, __: Channel) -> Message:
    """Adds two vectors with a `.tflite` file made for this."""
    with _needing("ai-edge-litert"):
        import ai_edge_litert.interpreter  # noqa: F401
    return {"version": _runs(tiny_tflite(), "tiny.tflite", "cpu") and version_of("ai-edge-litert")}


def probe_onnxruntime(request: Message, _: Channel) -> Message:
    """Adds two vectors with an `.onnx` file made for this, on the device asked for and no other."""
    with _needing("onnx"):
        import onnx  # noqa: F401
    with _needing("onnxruntime-gpu" if sys.platform in {"linux", "win32"} else "onnxruntime"):
        import onnxruntime
    return {"version": _runs(tiny_onnx(), "tiny.onnx", request["device"]) and onnxruntime.__version__}


def probe_tensorflow(request: Message, _: Channel) -> Message:
    """Adds two vectors eagerly on the device asked for."""
    with _needing("tensorflow"):
        import tensorflow as tf
    gpu = request["device"] == "cuda"
    if gpu and not tf.config.list_physical_devices("GPU"):
        raise StepError(
            "TensorFlow sees no GPU: the NVIDIA driver or its CUDA 12 libraries are missing.",
            next_step="python -m pip install 'edgeport[tensorflow-cuda]' (in an environment of its own)",
        )
    with tf.device("/GPU:0" if gpu else "/CPU:0"):
        total = tf.constant([1.0, 2.0]) + tf.constant([3.0, 4.0])
    _right(total.numpy().tolist(), "TensorFlow")
    return {"version": tf.__version__}


def probe_openvino(_request: Message, _: Channel) -> Message:
    """Adds two vectors in OpenVINO, an extra."""
    version = _extra("openvino", "openvino")
    return {"version": _runs(tiny_onnx(), "tiny.onnx", Device.OPENVINO) and version}


def probe_browser(_request: Message, _: Channel) -> Message:
    """Adds two vectors in a page of the browser."""
    return {"version": _version_that_runs(tiny_onnx(), "tiny.onnx", "browser")}


def probe_tflm(_request: Message, _: Channel) -> Message:
    """Adds two vectors in TensorFlow Lite for Microcontrollers, an extra."""
    version = _extra("tflite-micro", "tflm")
    return {"version": _runs(tiny_tflite(), "tiny.tflite", Device.TFLM) and version}


def probe_arm64(request: Message, _: Channel) -> Message:
    """Adds two vectors in both runtimes of the emulated machine, which `edgeport target install` makes."""
    for content, name in ((tiny_tflite(), "tiny.tflite"), (tiny_onnx(), "tiny.onnx")):
        _runs(content, name, request["device"])
    environment = environment_of("arm64")
    assert environment is not None
    return {"version": ", ".join(f"{name} {number}" for name, number in environment.versions.items())}


def probe_qnn(request: Message, _: Channel) -> Message:
    """Adds two vectors of integers on Qualcomm's HTP, emulated in an environment of its own."""
    return {"version": _version_that_runs(tiny_int8_onnx(), "tiny.int8.onnx", request["device"])}


def probe_vela(_request: Message, _: Channel) -> Message:
    """Loads Arm's compiler for Ethos-U, an extra. It runs nothing."""
    version = _extra("ethos-u-vela", "ethos-u")
    with _needing("ethos-u-vela"):
        import ethosu.vela.vela  # noqa: F401
    return {"version": version}


def _extra(distribution: str, name: str) -> str:
    """The version of a package that an extra brings."""
    version = version_of(distribution)
    if version is None:
        raise StepError(f"The package {distribution} is not installed.", next_step=f"pip install 'edgeport[{name}]'")
    return version


class _needing:  # noqa: N801 - reads as a verb where it is used
    """Turns a failing import into a sentence with the command that fixes it."""

    def __init__(self, distribution: str) -> None:
        self._distribution = distribution

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, cause: BaseException | None, __: object) -> None:
        if isinstance(cause, ImportError):
            raise StepError(
                f"{self._distribution} cannot be imported: {cause}.",
                next_step=f"python -m pip install --force-reinstall {self._distribution}",
            ) from cause


def _runs(content: bytes, name: str, device: str) -> bool:
    """True when edgeport's own runtime opens the file and adds rightly. Raises EdgeportError otherwise."""
    _version_that_runs(content, name, device)
    return True


def _version_that_runs(content: bytes, name: str, device: str) -> str:
    """The version of the runtime there, which opens the file and adds rightly; empty where it is a package of ours."""
    import numpy as np

    from validate.runtimes import RuntimeOptions, open_artifact

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        runtime = open_artifact(path, RuntimeOptions(device=Device(device), threads=1))
        feeds = {key: np.asarray(values, np.float32) for key, values in FEEDS.items()}
        (total,) = runtime.run(feeds).values()
    _right(total.tolist(), name)
    return runtime.version


def _right(total: list[float], what: str) -> None:
    if total != TOTAL:
        raise StepError(f"{what} runs, but adds [1, 2] and [3, 4] to {total}.", next_step="Install it again.")
