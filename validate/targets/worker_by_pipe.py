"""A worker at the other end of a program's pipes: ssh's, or an emulator's."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Sequence

from converters.errors import CrashError, StepTimeoutError, error_from_json
from converters.isolation import Channel, Message


class WorkerByPipe:
    """A worker elsewhere, with the interface of a local one (`machine.Speaker`). It ends with the program.

    Args:
        name: as messages begin: `The worker on pi@board`.
        program: the argument vector of what joins us to it.
        request: its first message.
        hint: the next step where it dies without a word of its own.
    """

    def __init__(self, name: str, program: Sequence[str], request: Message, hint: str) -> None:
        self._name, self._hint = name, hint
        # What it prints goes to a file: a pipe that nobody reads would stop a worker that says much.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the program
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._channel = Channel(self.process.stdout.fileno(), self.process.stdin.fileno())
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
                f"{self._name} was stopped: it ran past its limit of {timeout_s:.0f} s.",
                next_step="Give it more time with --timeout SECONDS.",
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as cause:
            self.close()
            raise CrashError(
                f"{self._name} sent something that is not JSON.",
                next_step="A shell there must print nothing for commands (look at its profile files).",
            ) from cause
        if message is None:
            raise self._death()
        if "error" in message:
            raise error_from_json(message["error"])
        return message

    def close(self) -> None:
        """Ends the program, and with it the worker: its watchdog sees the closed pipe."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _death(self) -> CrashError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        self.close()
        return CrashError(f"{self._name} is gone: {lines[-1] if lines else 'it said nothing'}.", next_step=self._hint)
