"""A board over ssh: our own worker on it, its lines over ssh's pipes; verdicts and statistics are made here.

The board needs a shell, tar, Python 3.11 with numpy, and the one runtime that opens the artifact. What is sent goes
into a fresh folder below /tmp and is removed at the end.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from converters.artifact import files_of
from converters.errors import StepError
from converters.isolation import Message
from validate.targets.worker_by_pipe import WorkerByPipe

_ROOT = Path(__file__).parents[2]
_CODE = (
    "converters/__init__.py", "converters/arrays.py", "converters/artifact.py", "converters/common.py",
    "converters/errors.py", "converters/faces.py", "converters/formats.py", "converters/progress.py",
    "converters/shapes.py", "converters/signature.py", "converters/user_arrays.py", "converters/checks",
    "converters/compat", "converters/isolation", "converters/checkpoints", "converters/readers", "converters/rewrites",
    "converters/weightless_graph.py", "validate/__init__.py", "validate/written.py", "validate/compat",
    "validate/inputs", "validate/runtimes", "validate/targets", "validate/latency",
)  # fmt: skip
_CONNECT_S = 30


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
    shared: None = None

    def worker(self, request: Message, threads: int) -> WorkerByPipe:
        """A worker there. With the end of the one that runs files, however it comes, the folder is removed."""
        env = f"PYTHONPATH={self.folder}/code PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS={threads}"
        python = f"{shlex.quote(self.board.python)} -m validate.targets.remote_worker"
        remote = f"cd {self.folder} && {env} exec {python}"
        if request["do"] == "run":
            remote = f"cd {self.folder} && {env} {python}; status=$?; rm -rf {self.folder}; exit $status"
        hint = "The board needs Python 3.11 or newer with numpy and the runtime; name it with --ssh-python."
        return WorkerByPipe(f"The worker on {self.board.host}", self.board.command(remote), request, hint)


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
