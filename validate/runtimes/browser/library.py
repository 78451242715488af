"""onnxruntime-web, as it lies on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from validate.runtimes.base import DeviceUnavailableError

VARIABLE = "EDGEPORT_ONNXRUNTIME_WEB"
"""The environment variable by which a worker is told the package's folder, of which `dist` holds what a page loads."""
MODULE, GPU_MODULE = "ort.wasm.min.mjs", "ort.webgpu.min.mjs"
INSTALL = "Run `edgeport target install browser`."


def library() -> Path:
    """The folder of onnxruntime-web. Raises DeviceUnavailableError where it is not there."""
    folder = Path(os.environ.get(VARIABLE, ""))
    if not (folder / "dist" / MODULE).is_file():
        raise DeviceUnavailableError("browser is not available: onnxruntime-web is not installed.", next_step=INSTALL)
    return folder
