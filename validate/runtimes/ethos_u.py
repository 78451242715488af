"""Arm's Ethos-U: no runtime is here, so that nothing is judged; `targets.ethos_u` has what its compiler estimates."""

from __future__ import annotations

from pathlib import Path

from validate.runtimes.base import DeviceUnavailableError, Runtime, RuntimeOptions


class EthosURuntime(Runtime):
    """Says so. Raises DeviceUnavailableError."""

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> None:
        raise DeviceUnavailableError(
            f"{options.device} computes nothing here: {path.name} is judged before Vela compiles it, on the host.",
            next_step=f"edgeport bench --on {options.device} has what Vela estimates, and compares inputs and outputs.",
            file=path,
        )
