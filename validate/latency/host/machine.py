"""Protocols of a worker, and of another machine that workers run on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from converters.isolation import Message
from validate.latency.results import Row


class Speaker(Protocol):
    """The parent's end of a worker, here or elsewhere."""

    def send(self, message: Message) -> None: ...

    def receive(self, timeout_s: float | None = None) -> Message: ...

    def close(self) -> None: ...


Launch = Callable[[Row, Message], Speaker]
"""Starts a worker for a row with its request."""


class Connected(Protocol):
    """A machine with the worker's code and the files on it."""

    def launch(self, row: Row, request: Message) -> Speaker: ...

    def host(self) -> dict[str, Any]: ...


class Machine(Protocol):
    """A machine other than this one (see `validate.latency.boards.ssh`)."""

    def connected(self, files: Iterable[Path]) -> AbstractContextManager[Connected]:
        """Sends the files and the worker's code to it; removes them in the end. Raises StepError."""
