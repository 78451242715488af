"""Which runtime opens a file, and the file opened in it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from converters.errors import RefusedError, UsageError
from converters.formats import format_of
from validate.runtimes.base import DeviceUnavailableError, Runtime, RuntimeOptions
from validate.runtimes.devices import Device
from validate.runtimes.table import RUNTIMES, RuntimeRow, row_for

_HOME = "validate.runtimes"
_ELSEWHERE = "validate.targets.remote:RemoteRuntime"
"""What opens a file on another machine; named, for the targets are made of what is here."""
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
            opened = sorted({other for r in RUNTIMES if device.kind in r.devices for other in r.opens})
            raise DeviceUnavailableError(
                f"{device} is not available to {path.name}: it opens {' and '.join(opened)} files alone.",
                next_step="Time another artifact of the model there.",
                file=path,
            )
        return row
    if (path.suffix or path.name).lower() in _CHECKPOINTS:  # a checkpoint with an empty prefix is named `.index`
        return next(row for row in RUNTIMES if row.name == "keras")
    raise RefusedError(
        f"{path.name} is neither a SavedModel folder nor a .tflite, .onnx, .ort, .keras or .h5 file.",
        next_step="Give an artifact that edgeport, Keras, TensorFlow or ONNX wrote.",
        file=path,
    )


def open_artifact(path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> Runtime:
    """Opens an artifact or a Keras checkpoint in its own runtime. Loads that framework, and no other.

    Where the device is another machine, that one opens it.

    Args:
        content: of a `.tflite` or `.onnx` file, runs these bytes instead of the file's.

    Raises:
        UsageError: nothing is there.
        RefusedError: the file is damaged or of a kind that cannot be run.
        DeviceUnavailableError: the device asked for does not work here.
    """
    row = runtime_of(path, options.device, options.interface)
    home = _ELSEWHERE if options.device.is_elsewhere else f"{_HOME}.{row.home}"
    module, _, kind = home.partition(":")
    opened = getattr(import_module(module), kind)
    runtime: Runtime = opened(path, options) if content is None else opened(path, options, content)
    return runtime
