"""Runtimes: open an artifact from disk, tell its signature, run it. Only ever called in worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.faces import face

if TYPE_CHECKING:
    from validate.runtimes.base import DeviceUnavailableError, Runtime, RuntimeOptions, fixed_batch
    from validate.runtimes.devices import Device
    from validate.runtimes.opening import open_artifact, runtime_name, runtime_of
    from validate.runtimes.table import RUNTIMES, RuntimeRow, row_for

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

__getattr__, __dir__ = face(
    __name__,
    {
        "validate.runtimes.base": ("DeviceUnavailableError", "Runtime", "RuntimeOptions", "fixed_batch"),
        "validate.runtimes.devices": ("Device",),
        "validate.runtimes.opening": ("open_artifact", "runtime_name", "runtime_of"),
        "validate.runtimes.table": ("RUNTIMES", "RuntimeRow", "row_for"),
    },
)
