"""Machines other than this one, real or emulated: how a worker is started on one, and how it is spoken to.

One protocol for all of them: JSON lines over pipes. The first message says what the worker is to `do`:

- `host`: answers `{result: facts}` and ends.
- `serve`: times an artifact, see `validate.latency.worker.serve`.
- `run`: opens files and runs them, see `validate.targets.serving`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from converters.isolation import Message
from validate.targets import Device, Target, target_of
from validate.targets.environment import Environment


class Speaker(Protocol):
    """The parent's end of a worker, here or elsewhere."""

    def send(self, message: Message) -> None: ...

    def receive(self, timeout_s: float | None = None) -> Message:
        """The next message. Raises StepTimeoutError, CrashError, or the EdgeportError that the worker reports."""

    def close(self) -> None: ...


class Connected(Protocol):
    """A machine with the worker's code and the files on it."""

    @property
    def paths(self) -> Mapping[str, str]:
        """Local absolute path -> path there, of the files that are there."""

    @property
    def shared(self) -> tuple[Path, str] | None:
        """A folder of ours and where its workers see it, so that files need not travel in messages; or None."""

    def worker(self, request: Message, threads: int) -> Speaker:
        """Starts a worker with its first message."""


class Machine(Protocol):
    """A machine other than this one. Its class is named in its target's row, and made of the device's detail."""

    def connected(self, files: Iterable[Path]) -> AbstractContextManager[Connected]:
        """Sends the files and the worker's code to it; removes them in the end.

        Raises:
            StepError: it cannot be reached.
            DeviceUnavailableError: what makes it is not installed here.
        """


def machine_of(device: Device, settings: Mapping[str, Any]) -> Machine:
    """The machine that a device elsewhere names.

    Args:
        settings: further arguments of its class, as the user gave them.
    """
    module, _, name = target_of(device).machine.partition(":")
    machine: Machine = getattr(import_module(module), name)(device.detail, **settings)
    return machine


def part_gone(target: Target, environment: Environment) -> str:
    """The first part that the target cannot do without and that is gone from its environment; empty where none is."""
    module = import_module(target.machine.partition(":")[0])
    parts: tuple[str, ...] = module.parts_of(environment)
    return environment.lacks(parts)


def host_facts_of(connected: Connected, timeout_s: float = 60.0) -> dict[str, Any]:
    """What the machine says of itself. Raises as `Speaker.receive` does."""
    worker = connected.worker({"do": "host"}, 1)
    try:
        facts: dict[str, Any] = worker.receive(timeout_s)["result"]
    finally:
        worker.close()
    return facts
