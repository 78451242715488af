"""The parent's side of a worker process: its start, its limits, its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.checks.base import Options, checked
from converters.checks.values import Number
from converters.errors import CrashError, EdgeportError, ResourceError, StepTimeoutError, error_from_json
from converters.isolation import guard, sandbox
from converters.isolation.channel import Channel, Message
from converters.isolation.process_groups import await_end

EventHandler = Callable[[Message], None]

_GRACE_S = 3.0
_POLL_S = 0.2
_SIGNALLED = 128


@dataclass(frozen=True)
class Limits(Options):
    """Limits of a worker; None is unlimited."""

    timeout_s: float | None = checked(Number("--timeout", 0, above=True), None)
    memory_bytes: int | None = checked(Number("--memory-limit", 0, above=True, whole=True), None)


def worker_environment(*, gpu: bool = False, threads: int | None = None) -> dict[str, str]:
    """The environment a worker starts in: the user's, less what would change what is built (design: Processes).

    Args:
        gpu: let TensorFlow see the GPUs.
        threads: caps OpenMP and BLAS pools; None leaves them alone.
    """
    env = {k: v for k, v in os.environ.items() if k not in {"TF_USE_LEGACY_KERAS", "KERAS_HOME", "TF_CONFIG"}}
    env.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="2", PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1")
    if not gpu:
        env["CUDA_VISIBLE_DEVICES"] = "-1"
    if threads is not None:
        env.update({name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})
    return env


class Worker:
    """A running worker process. Use it as a context manager: leaving the block ends the process and its group.

    Args:
        target: `module:function`, called in the worker as `function(request, channel) -> dict | None`.
        request: the JSON document that the function is given.
        step: the name of the step, for messages.
        log: file that stdout and stderr are appended to; None discards them.
        reads, writes: the files and folders that the worker is shown where it runs in a sandbox, besides its own
            temporary folder; the request names none by itself.
        sandboxed: False for a worker that opens no file of the user's itself, but reaches another machine.
    """

    def __init__(
        self,
        target: str,
        request: Mapping[str, Any],
        *,
        step: str,
        limits: Limits = Limits(),
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
        sandboxed: bool = True,
    ) -> None:
        self.step = step
        self.peak_rss_bytes = 0
        self._limits = limits
        self._started = time.monotonic()
        self._over_memory = False
        self._scratch = tempfile.mkdtemp(prefix="edgeport-")
        self._sandboxed = sandboxed and sandbox.current() == sandbox.BUBBLEWRAP
        own_temporaries = self._sandboxed or not sandboxed
        child_read, parent_write = os.pipe()
        parent_read, child_write = os.pipe()
        try:
            command = self._command(target, (child_read, child_write))
            environment = dict(env or worker_environment())
            if own_temporaries:  # what a machine elsewhere leaves there goes with it, however it ends
                environment["TMPDIR"] = self._scratch
            if self._sandboxed:
                grants = sandbox.Grants(tuple(reads), (*writes, Path(self._scratch)))
                command = sandbox.wrapped(command, environment, grants)
            self._process = self._spawn(command, (child_read, child_write), log, environment)
        except BaseException:
            for fd in (parent_read, parent_write):
                os.close(fd)
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        finally:
            for fd in (child_read, child_write):
                os.close(fd)
        self.pid = self._process.pid
        if not self._sandboxed:
            guard.watch(self.pid)
        self._channel = Channel(parent_read, parent_write)
        if limits.memory_bytes is not None:
            threading.Thread(target=self._watch_memory, daemon=True).start()
        with contextlib.suppress(BrokenPipeError):
            self._channel.send(request)

    def _command(self, target: str, fds: tuple[int, int]) -> list[str]:
        parent = 0 if self._sandboxed else os.getpid()  # in a sandbox it is bubblewrap that dies with us
        return [sys.executable, "-I", "-m", "converters._worker", target, *map(str, fds), str(parent)]

    def _spawn(
        self, command: list[str], fds: tuple[int, int], log: Path | None, env: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        env["KERAS_HOME"] = str(Path(self._scratch) / "keras")
        with contextlib.ExitStack() as stack:
            out: Any = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                cwd=self._scratch,
                pass_fds=fds,
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        """Whether the process is gone, by itself or killed from outside."""
        return self._process.poll() is not None

    def begin(self, step: str, message: Mapping[str, Any]) -> None:
        """Sends the request of a step; the limit on time counts from now. If the worker is gone, `receive` raises."""
        self.step, self._started = step, time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            self._channel.send(message)

    @property
    def channel(self) -> Channel:
        """The parent's end of the conversation."""
        return self._channel

    @property
    def time_left_s(self) -> float | None:
        """Seconds until the limit on time; None without one."""
        limit = self._limits.timeout_s
        return None if limit is None else max(0.0, limit - (time.monotonic() - self._started))

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self._channel.send(message)
        except BrokenPipeError:
            raise self._death() from None

    def receive(self, timeout_s: float | None = None) -> Message:
        """The worker's next message.

        Raises:
            StepTimeoutError: nothing came within `timeout_s` or the worker's own limit.
            CrashError, ResourceError: the worker is gone.
            EdgeportError: what the worker reported as an error.
        """
        limit, remaining_s = self._limits.timeout_s, self.time_left_s
        waits = [t for t in (remaining_s, timeout_s) if t is not None]
        try:
            message = self._channel.receive(max(0.0, min(waits)) if waits else None)
        except TimeoutError:
            seconds = (
                limit if limit is not None and remaining_s is not None and remaining_s <= min(waits) else timeout_s
            )
            self.close()
            raise StepTimeoutError(
                f"The {self.step} step was stopped: it ran past its limit of {seconds:.0f} s.",
                next_step="Give it more time with --timeout SECONDS, or a smaller model or input.",
                step=self.step,
            ) from None
        except (ValueError, UnicodeDecodeError) as cause:
            self.close()
            raise CrashError(
                f"The {self.step} step's worker sent a message that is not JSON.",
                next_step="Run again with --debug and read the log.",
                step=self.step,
            ) from cause
        if message is None:
            raise self._death()
        if "error" in message:
            error = error_from_json(message["error"])
            error.step = error.step or self.step
            raise error
        return message

    def _death(self) -> EdgeportError:
        """Why the worker is gone, as the error that fits."""
        code = 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_GRACE_S)
        if self._sandboxed and code > _SIGNALLED:
            code = _SIGNALLED - code  # bubblewrap tells a signal as shells do
        self.close()
        if self._over_memory:
            limit = (self._limits.memory_bytes or 0) / 2**20
            return ResourceError(
                f"The {self.step} step was stopped at {self.peak_rss_bytes / 2**20:.0f} MiB of memory, "
                f"over its limit of {limit:.0f} MiB.",
                next_step="Raise --memory-limit, or use a smaller batch or model.",
                step=self.step,
            )
        if code == -signal.SIGKILL:
            return ResourceError(
                f"The {self.step} step's worker was killed, most likely because the machine ran out of memory.",
                next_step="Free memory or use a larger machine, then run again.",
                step=self.step,
            )
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return CrashError(
            f"The {self.step} step's worker crashed ({how}).",
            next_step="Read edgeport.log or run again with --debug; the model or its file may be damaged.",
            step=self.step,
        )

    def _watch_memory(self) -> None:
        import psutil

        limit = self._limits.memory_bytes or 0
        while self._process.poll() is None:
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(self._process.pid)
                used = sum(p.memory_info().rss for p in [root, *root.children(recursive=True)])
                self.peak_rss_bytes = max(self.peak_rss_bytes, used)
                if used > limit:
                    self._over_memory = True
                    self._signal(signal.SIGKILL)
            time.sleep(_POLL_S)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        """Ends the worker and everything it started; safe to call twice."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)
        self._signal(signal.SIGKILL)
        self._process.wait()
        await_end(self._process.pid)
        if not self._sandboxed:
            guard.forget(self.pid)
        self._channel.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_step(
    target: str,
    request: Mapping[str, Any],
    *,
    step: str,
    limits: Limits = Limits(),
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_event: EventHandler | None = None,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    sandboxed: bool = True,
) -> Message:
    """Runs `module:function` in a worker and returns its result document. Arguments as for `Worker`.

    Events that the function sends with `channel.event(...)` go to `on_event` as they come.

    Raises:
        EdgeportError: what the function raised, or CrashError, StepTimeoutError, ResourceError when the worker died.
    """
    with Worker(
        target,
        request,
        step=step,
        limits=limits,
        log=log,
        env=env,
        reads=reads,
        writes=writes,
        sandboxed=sandboxed,
    ) as worker:
        while True:
            message = worker.receive()
            if "event" in message:
                if on_event:
                    on_event(message["event"])
            elif "result" in message:
                result: Message = message["result"] or {}
                return result
