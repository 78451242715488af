"""Probes of the doctor, in workers: each opens a tiny file through edgeport's own runtime and looks at the sum."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from converters.errors import StepError
from converters.isolation import Channel, Message
from exporter.doctor.checks import version_of
from exporter.doctor.tiny import FEEDS, TOTAL, tiny_int8_onnx, tiny_onnx, tiny_tflite
from validate.runtimes.devices import Device
from validate.targets.environment import environment_of


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
