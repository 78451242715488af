"""A browser on this machine: our worker, outside of our own sandbox, with a headless Chromium of its own."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from converters.isolation import Message
from validate.runtimes.base import DeviceUnavailableError
from validate.runtimes.browser.chromium import browser_path
from validate.runtimes.browser.library import INSTALL, MODULE, VARIABLE
from validate.runtimes.devices import Device
from validate.runtimes.processes import end_with_descendants
from validate.targets.environment import Environment, environment_of
from validate.targets.worker_by_pipe import WorkerByPipe

PACKAGE = "onnxruntime-web"


@dataclass(frozen=True)
class BrowserMachine:
    """The browser that is installed here, and onnxruntime-web.

    Attributes:
        library: the folder of onnxruntime-web; None takes the installed one.
    """

    detail: str = ""
    library: Path | None = None

    @contextlib.contextmanager
    def connected(self, files: Iterable[Path]) -> Iterator[BrowserConnection]:
        """Looks for both. Profiles and whatever else a browser writes lie in a folder that is removed in the end.

        Raises:
            DeviceUnavailableError: one of them is missing.
        """
        browser_path()
        page = Device(f"page:{self.detail}" if self.detail else "page")
        library = str(self.library or _installed())
        with tempfile.TemporaryDirectory(prefix="edgeport-", ignore_cleanup_errors=True) as folder:
            yield BrowserConnection(page, folder, library, {str(p.absolute()): str(p.absolute()) for p in files})


def _installed() -> Path:
    environment = environment_of("browser")
    if environment is None:
        raise DeviceUnavailableError("browser is not available: onnxruntime-web is not installed.", next_step=INSTALL)
    if part := environment.lacks(parts_of(environment)):
        raise DeviceUnavailableError(
            f"The environment of browser is damaged: {part} is gone from {environment.folder}.",
            next_step="Run `edgeport target install browser --force`.",
        )
    return environment.folder / PACKAGE


def parts_of(_environment: Environment) -> tuple[str, ...]:
    """What it cannot do without."""
    return (f"{PACKAGE}/dist/{MODULE}",)


@dataclass(frozen=True)
class BrowserConnection:
    """Workers on this machine, which see its files as they are."""

    page: Device
    folder: str
    library: str
    paths: Mapping[str, str]

    @property
    def shared(self) -> tuple[Path, str]:
        """Where changed copies of files are put for a worker."""
        return Path(self.folder), self.folder

    def worker(self, request: Message, threads: int) -> BrowserWorker:
        """A worker whose files are opened by pages."""
        asked = {**request, "device": self.page}
        if "request" in request:
            asked["request"] = {**request["request"], "device": self.page}
        env = ["env", f"TMPDIR={self.folder}", f"{VARIABLE}={self.library}", f"OMP_NUM_THREADS={threads}"]
        command = [*env, sys.executable, "-I", "-m", "validate.targets.remote_worker"]
        return BrowserWorker("The browser's worker", command, asked, "Run edgeport doctor.")


class BrowserWorker(WorkerByPipe):
    """Its end is the browser's too."""

    def close(self) -> None:
        end_with_descendants(self.process)
        super().close()
