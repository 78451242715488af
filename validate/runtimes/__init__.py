"""Runtimes: open an artifact from disk, tell its signature, run it. Only ever called in worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from converters.errors import RefusedError, UsageError
from converters.formats import Format, format_of
from validate.runtimes.base import DeviceUnavailableError, Runtime, RuntimeOptions, fixed_batch

__all__ = [
    "RUNTIMES",
    "DeviceUnavailableError",
    "Runtime",
    "RuntimeOptions",
    "RuntimeRow",
    "fixed_batch",
    "open_artifact",
    "runtime_name",
]


@dataclass(frozen=True)
class RuntimeRow:
    """A runtime: what it opens and the class that does it.

    Attributes:
        home: `module:class` of this folder, imported when a file is opened.
        interface: of the runtime's interfaces, the one that this class uses; None where it has one alone.
    """

    name: str
    opens: frozenset[Format]
    home: str
    interface: str | None = None


_KERAS = "keras"
RUNTIMES: tuple[RuntimeRow, ...] = (
    RuntimeRow("saved_model", frozenset({Format.SAVEDMODEL}), "saved_model:SavedModelRuntime"),
    RuntimeRow("tflite", frozenset({Format.TFLITE}), "tflite:TfliteRuntime", "interpreter"),
    RuntimeRow("tflite", frozenset({Format.TFLITE}), "compiled_model:CompiledModelRuntime", "compiled"),
    RuntimeRow("onnxruntime", frozenset({Format.ONNX, Format.ORT}), "onnxruntime:OnnxRuntime"),
    RuntimeRow(_KERAS, frozenset(), "keras:KerasRuntime"),
)  # fmt: skip
"""Every runtime. A new one is a file in this folder and a row here."""

_CHECKPOINTS = {".keras", ".h5", ".hdf5", ".pb", ".index"}


def runtime_name(path: Path) -> str:
    """The runtime that opens this path: `saved_model`, `tflite`, `onnxruntime` or `keras`. Looks at the path alone.

    Raises:
        UsageError: nothing is there.
        RefusedError: edgeport cannot run it.
    """
    if not path.exists():
        raise UsageError(f"{path} is not there.", next_step="Check the path.", file=path)
    fmt = format_of(path)
    if fmt is not None:
        return next(row.name for row in RUNTIMES if fmt in row.opens)
    if (path.suffix or path.name).lower() in _CHECKPOINTS:  # a checkpoint with an empty prefix is named `.index`
        return _KERAS
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
    row = next(r for r in RUNTIMES if r.name == name and r.interface in {None, options.interface})
    module, _, kind = row.home.partition(":")
    runtime: Runtime = getattr(import_module(f"{__name__}.{module}"), kind)(path, options)
    return runtime
