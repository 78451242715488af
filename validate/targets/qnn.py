"""Qualcomm's HTP, emulated on this machine: our worker with the packages of an environment of its own.

The package onnxruntime-qnn brings an ONNX Runtime that lies over the files of ours, so that the two are never together:
the worker sees the environment's packages and none of this interpreter's.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from converters.isolation import Grants, Message, sandbox
from validate.runtimes.base import DeviceUnavailableError
from validate.runtimes.devices import Device
from validate.targets.environment import Environment, environment_of
from validate.targets.worker_by_pipe import WorkerByPipe

NAME, SITE, INSTALL = "qnn", "site", "edgeport target install qnn"
HTP = Device("htp")
"""What the worker calls it, on its own machine."""

_CODE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Qnn:
    """The emulator.

    Attributes:
        environment: its packages; None takes the installed one when it is connected to.
    """

    detail: str = ""
    environment: Environment | None = field(default=None, compare=False)

    @contextlib.contextmanager
    def connected(self, files: Iterable[Path]) -> Iterator[Connection]:
        """Shows the worker the environment and the files, in bubblewrap where there is one.

        Raises:
            DeviceUnavailableError: it is not installed.
        """
        environment = self.environment or environment_of(NAME)
        if environment is None:
            raise DeviceUnavailableError(f"{NAME} is not installed here.", next_step=f"Run `{INSTALL}`.")
        if part := environment.lacks(parts_of(environment)):
            raise DeviceUnavailableError(
                f"The environment of {NAME} is damaged: {part} is gone from {environment.folder}.",
                next_step=f"Run `{INSTALL} --force`.",
            )
        paths = {str(path.absolute()): str(path.absolute()) for path in files}
        with tempfile.TemporaryDirectory(prefix="edgeport-qnn-", ignore_cleanup_errors=True) as folder:
            yield Connection(environment.folder / SITE, Path(folder), paths)


def parts_of(_environment: Environment) -> tuple[str, ...]:
    """What it cannot do without."""
    return (SITE,)


@dataclass(frozen=True)
class Connection:
    """Workers on this machine, which see its files at their own places."""

    site: Path
    folder: Path
    paths: Mapping[str, str]

    @property
    def shared(self) -> tuple[Path, str]:
        """Its own folder, where both see it."""
        return self.folder, str(self.folder)

    def worker(self, request: Message, threads: int) -> WorkerByPipe:
        variables = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "PYTHONPATH": f"{self.site}{os.pathsep}{_CODE}",
            "OMP_NUM_THREADS": str(threads),
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        # -S: none of this interpreter's own packages; the environment's stand on PYTHONPATH.
        program = [sys.executable, "-S", "-s", "-m", "validate.targets.remote_worker"]
        if not sandbox.unavailable():
            grants = Grants((self.site, _CODE, *map(Path, self.paths)), (self.folder,))
            program = sandbox.wrapped(program, variables, grants)
        program = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *program]
        hint = f"Run `edgeport doctor`, and `{INSTALL} --force` where it says that {NAME} is broken."
        return WorkerByPipe(f"The worker on {NAME}", program, {**request, "device": HTP}, hint)
