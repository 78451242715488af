"""Runtimes: open an artifact from disk, tell its signature, run it. Only ever called in worker processes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from converters.errors import RefusedError, UsageError
from converters.formats import Format, format_of
from validate.runtimes.base import Device, DeviceUnavailableError, Runtime, RuntimeOptions, fixed_batch

__all__ = [
    "RUNTIMES",
    "Device",
    "DeviceUnavailableError",
    "Runtime",
    "RuntimeOptions",
    "RuntimeRow",
    "fixed_batch",
    "open_artifact",
    "row_for",
    "runtime_name",
    "runtime_of",
]


@dataclass(frozen=True)
class RuntimeRow:
    """A runtime: what it opens, where, and the class that does it.

    Attributes:
        home: `module:class` of this folder, imported when a file is opened.
        library: the module whose import is timed.
        distributions: the packages that bring it, of which one is installed.
        devices: the devices that it serves.
        interface: of the runtime's interfaces, the one that this class uses; None where it has one alone.
    """

    name: str
    opens: frozenset[Format]
    home: str
    library: str
    distributions: tuple[str, ...]
    devices: frozenset[Device] = frozenset({Device.CPU, Device.CUDA, Device.TENSORRT})
    interface: str | None = None

    @property
    def version(self) -> str:
        """Of the installed package; empty where none is."""
        for distribution in self.distributions:
            with suppress(PackageNotFoundError):
                return version(distribution)
        return ""


_KERAS = "keras"
_TENSORFLOW = "tensorflow", ("tensorflow", "tensorflow-cpu")
_LITERT = "ai_edge_litert.interpreter", ("ai-edge-litert",)
RUNTIMES: tuple[RuntimeRow, ...] = (
    RuntimeRow("saved_model", frozenset({Format.SAVEDMODEL}), "saved_model:SavedModelRuntime", *_TENSORFLOW),
    RuntimeRow("tflite", frozenset({Format.TFLITE}), "tflite:TfliteRuntime", *_LITERT, interface="interpreter"),
    RuntimeRow(
        "tflite", frozenset({Format.TFLITE}), "compiled_model:CompiledModelRuntime", *_LITERT, interface="compiled"
    ),
    RuntimeRow(
        "onnxruntime", frozenset({Format.ONNX, Format.ORT}), "onnxruntime:OnnxRuntime",
        "onnxruntime", ("onnxruntime-gpu", "onnxruntime"),
    ),
    RuntimeRow(
        "openvino", frozenset({Format.ONNX, Format.TFLITE}), "openvino:OpenVinoRuntime",
        "openvino", ("openvino",), frozenset({Device.OPENVINO}),
    ),
    RuntimeRow(_KERAS, frozenset(), "keras:KerasRuntime", *_TENSORFLOW),
)  # fmt: skip
"""Every runtime. A new one is a file in this folder and a row here."""

_CHECKPOINTS = {".keras", ".h5", ".hdf5", ".pb", ".index"}


def runtime_name(path: Path, device: Device = Device.CPU) -> str:
    """The name of `runtime_of`."""
    return runtime_of(path, device).name


def runtime_of(path: Path, device: Device = Device.CPU, interface: str = "interpreter") -> RuntimeRow:
    """The row of the runtime that opens this path on a device. Looks at the path alone.

    Raises:
        UsageError: nothing is there.
        RefusedError: edgeport cannot run it.
        DeviceUnavailableError: nothing opens such a file there.
    """
    if not path.exists():
        raise UsageError(f"{path} is not there.", next_step="Check the path.", file=path)
    fmt = format_of(path)
    if fmt is not None:
        row = row_for(fmt, device, interface)
        if row is None:
            opened = sorted({other for r in RUNTIMES if device in r.devices for other in r.opens})
            raise DeviceUnavailableError(
                f"{device} is not available to {path.name}: it opens {' and '.join(opened)} files alone.",
                next_step="Time another artifact of the model there.",
                file=path,
            )
        return row
    if (path.suffix or path.name).lower() in _CHECKPOINTS:  # a checkpoint with an empty prefix is named `.index`
        return next(row for row in RUNTIMES if row.name == _KERAS)
    raise RefusedError(
        f"{path.name} is neither a SavedModel folder nor a .tflite, .onnx, .ort, .keras or .h5 file.",
        next_step="Give an artifact that edgeport, Keras, TensorFlow or ONNX wrote.",
        file=path,
    )


def row_for(fmt: Format, device: Device = Device.CPU, interface: str = "interpreter") -> RuntimeRow | None:
    """The row of the table that opens a format on a device; None where nothing does."""
    rows = (row for row in RUNTIMES if fmt in row.opens and device in row.devices)
    return next((row for row in rows if row.interface in {None, interface}), None)


def open_artifact(path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> Runtime:
    """Opens an artifact or a Keras checkpoint in its own runtime. Loads that framework, and no other.

    Args:
        content: of a `.tflite` or `.onnx` file, runs these bytes instead of the file's.

    Raises:
        UsageError: nothing is there.
        RefusedError: the file is damaged or of a kind that cannot be run.
        DeviceUnavailableError: the device asked for does not work here.
    """
    row = runtime_of(path, options.device, options.interface)
    module, _, kind = row.home.partition(":")
    opened = getattr(import_module(f"{__name__}.{module}"), kind)
    runtime: Runtime = opened(path, options) if content is None else opened(path, options, content)
    return runtime
