"""Measuring on a board over ssh: our own worker on it, its lines over ssh's pipes, the statistics here.

The board needs a shell, tar, Python 3.11 with numpy, and the one runtime that opens the artifact. What is sent goes
into a fresh folder below /tmp and is removed at the end.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.artifact import files_of
from converters.errors import CrashError, StepError, StepTimeoutError, error_from_json
from converters.isolation import Channel, Message
from validate.latency.results import Row

_ROOT = Path(__file__).parents[3]
_CODE = (
    "converters/__init__.py", "converters/arrays.py", "converters/artifact.py", "converters/common.py",
    "converters/errors.py", "converters/faces.py", "converters/formats.py", "converters/progress.py",
    "converters/shapes.py", "converters/signature.py", "converters/user_arrays.py", "converters/checks",
    "converters/compat", "converters/isolation", "converters/checkpoints", "converters/readers", "converters/rewrites",
    "converters/weightless_graph.py", "validate/__init__.py", "validate/written.py", "validate/compat",
    "validate/inputs", "validate/runtimes", "validate/targets", "validate/latency",
)  # fmt: skip
_CONNECT_S = 30
_HOST_S = 60.0


@dataclass(frozen=True)
class Board:
    """A machine to measure on.

    Attributes:
        host: as ssh takes it: `user@host`, or a name of ~/.ssh/config.
        python: the board's interpreter.
        ssh_options: arguments for ssh, for example `("-p", "2222")`.
    """

    host: str
    python: str = "python3"
    ssh_options: tuple[str, ...] = ()

    @contextlib.contextmanager
    def connected(self, files: Iterable[Path]) -> Iterator[Connection]:
        """Sends the worker's code and the files; removes them in the end. Raises StepError."""
        if shutil.which("ssh") is None:
            raise StepError("ssh is not installed here.", next_step="Install an OpenSSH client.", step="bench")
        folder = self._run("mktemp -d /tmp/edgeport-bench.XXXXXX").decode().strip()
        if not folder.startswith("/tmp/edgeport-bench."):
            raise self._failed(f"it answered {folder[:80]!r} where a new folder was asked for")
        try:
            names = {path: f"{k}/{path.name}" for k, path in enumerate(dict.fromkeys(files))}
            self._run(f"tar -xf - -C {folder}", _archive(names))
            yield Connection(self, folder, {str(p.absolute()): f"{folder}/{name}" for p, name in names.items()})
        finally:
            with contextlib.suppress(StepError):
                self._run(f"rm -rf {folder}")

    def command(self, remote: str) -> list[str]:
        """ssh's argument vector for a command on the board. It never asks for a password: there is nobody to answer."""
        options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}"]
        return ["ssh", *options, *self.ssh_options, "--", self.host, remote]

    def _run(self, remote: str, content: bytes = b"") -> bytes:
        try:
            process = subprocess.run(self.command(remote), input=content, capture_output=True, timeout=600, check=False)
        except subprocess.TimeoutExpired:
            raise self._failed("it did not answer within 600 s") from None
        if process.returncode != 0:
            lines = process.stderr.decode(errors="replace").strip().splitlines()
            raise self._failed(lines[-1] if lines else f"exit status {process.returncode}")
        return process.stdout

    def _failed(self, cause: str) -> StepError:
        return StepError(
            f"The board {self.host} cannot be used: {cause}.",
            next_step=f"Try `ssh {self.host} true`: it must work without a password.",
            step="bench",
        )


@dataclass(frozen=True)
class Connection:
    """A board with the code and the artifacts on it. `paths` are local path -> path on the board."""

    board: Board
    folder: str
    paths: Mapping[str, str]

    def launch(self, row: Row, request: Message) -> RemoteWorker:
        golden = request["golden"]
        remote_request = request | {
            "artifact": self.paths[request["artifact"]],
            "golden": golden and self.paths[golden],
        }
        return self._worker({"do": "serve", "request": remote_request}, str(row.threads))

    def host(self) -> dict[str, Any]:
        """The board's facts. Raises StepError where its Python or numpy is missing."""
        worker = self._worker({"do": "host"}, "1")
        try:
            facts: dict[str, Any] = worker.receive(_HOST_S)["result"]
        finally:
            worker.close()
        return facts

    def _worker(self, request: Message, threads: str) -> RemoteWorker:
        env = f"PYTHONPATH={self.folder}/code PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS={threads}"
        remote = (
            f"cd {self.folder} && {env} exec {shlex.quote(self.board.python)} -m validate.latency.boards.remote_worker"
        )
        return RemoteWorker(self.board, remote, request)


class RemoteWorker:
    """A worker on a board, with the interface of a local one. When ssh ends, it ends too."""

    def __init__(self, board: Board, remote: str, request: Message) -> None:
        self._board = board
        self._process = subprocess.Popen(
            board.command(remote), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        self.send(request)

    def send(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except BrokenPipeError:
            raise self._death() from None

    def receive(self, timeout_s: float | None = None) -> Message:
        """Raises StepTimeoutError, CrashError, or the EdgeportError that the worker reports."""
        try:
            message = self._channel.receive(timeout_s)
        except TimeoutError:
            self.close()
            raise StepTimeoutError(
                f"The worker on {self._board.host} was stopped: it ran past its limit of {timeout_s:.0f} s.",
                next_step="Give it more time with --timeout SECONDS.",
                step="bench",
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as cause:
            self.close()
            raise CrashError(
                f"The board {self._board.host} sent something that is not JSON.",
                next_step="Its shell must print nothing for commands (look at its profile files).",
                step="bench",
            ) from cause
        if message is None:
            raise self._death()
        if "error" in message:
            raise error_from_json(message["error"])
        return message

    def close(self) -> None:
        """Ends ssh, and with it the worker on the board: its watchdog sees the closed pipe."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _death(self) -> CrashError:
        stderr = b""
        with contextlib.suppress(subprocess.TimeoutExpired):
            stderr = self._process.communicate(timeout=5)[1] or b""
        lines = stderr.decode(errors="replace").strip().splitlines()
        self.close()
        return CrashError(
            f"The worker on {self._board.host} is gone: {lines[-1] if lines else 'it said nothing'}.",
            next_step="The board needs Python 3.11 or newer with numpy and the runtime; name it with --ssh-python.",
            step="bench",
        )


def _archive(names: Mapping[Path, str]) -> bytes:
    """A tar file of the worker's code below `code/` and of the artifacts under these names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in _CODE:
            source = _ROOT / name
            for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
                tar.add(path, f"code/{path.relative_to(_ROOT).as_posix()}")
        for path, name in names.items():
            for file in files_of(path):
                tar.add(file, name if file == path else f"{Path(name).parent}/{file.relative_to(path.parent)}")
    return buffer.getvalue()
