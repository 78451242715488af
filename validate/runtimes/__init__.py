"""Runtimes: open an artifact from disk, tell its signature, run it. Only ever called in worker processes."""

from __future__ import annotations

from pathlib import Path

from converters.errors import RefusedError, UsageError
from converters.formats import Format, format_of
from validate.runtimes.base import Array, Arrays, DeviceUnavailableError, Runtime, RuntimeOptions, fixed_batch

__all__ = [
    "Array",
    "Arrays",
    "DeviceUnavailableError",
    "Runtime",
    "RuntimeOptions",
    "fixed_batch",
    "open_artifact",
    "runtime_name",
]

_CHECKPOINTS = {".keras", ".h5", ".hdf5", ".pb", ".index"}
_RUNTIMES = {
    Format.SAVEDMODEL: "saved_model",
    Format.TFLITE: "tflite",
    Format.ONNX: "onnxruntime",
    Format.ORT: "onnxruntime",
}


def runtime_name(path: Path) -> str:
    """Which runtime opens this path: `saved_model`, `tflite`, `onnxruntime` or `keras`. Looks at the path alone.

    Raises:
        UsageError: nothing is there.
        RefusedError: it is nothing that edgeport can run.
    """
    if not path.exists():
        raise UsageError(f"{path} is not there.", next_step="Check the path.", file=path)
    found = format_of(path)
    if found is not None:
        return _RUNTIMES[found]
    if path.suffix.lower() in _CHECKPOINTS:
        return "keras"
    raise RefusedError(
        f"{path.name} is neither a SavedModel folder nor a .tflite, .onnx, .ort, .keras or .h5 file.",
        next_step="Give an artifact that edgeport, Keras, TensorFlow or ONNX wrote.",
        file=path,
    )


def open_artifact(path: Path, options: RuntimeOptions = RuntimeOptions()) -> Runtime:
    """Opens an artifact or a Keras checkpoint in its own runtime. Loads that framework, and no other.

    Raises:
        UsageError: nothing is there.
        RefusedError: the file is damaged or of a kind that cannot be run.
        DeviceUnavailableError: the device asked for does not work here.
    """
    name = runtime_name(path)
    if name == "onnxruntime":
        from validate.runtimes.onnxruntime import OnnxRuntime

        return OnnxRuntime(path, options)
    if name == "tflite" and options.interface == "compiled":
        from validate.runtimes.compiled_model import CompiledModelRuntime

        return CompiledModelRuntime(path, options)
    if name == "tflite":
        from validate.runtimes.tflite import TfliteRuntime

        return TfliteRuntime(path, options)
    if name == "saved_model":
        from validate.runtimes.saved_model import SavedModelRuntime

        return SavedModelRuntime(path, options)
    from validate.runtimes.keras import KerasRuntime

    return KerasRuntime(path, options)
