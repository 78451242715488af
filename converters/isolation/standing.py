"""A worker that stays: one process for several steps of one framework, so that it is imported once, and ahead."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.isolation import sandbox
from converters.isolation.answering import answer, resolve
from converters.isolation.channel import Channel, Message
from converters.isolation.worker import EventHandler, Limits, Worker

_SERVE = "converters.isolation.standing:serve"


class Standing:
    """Runs steps as `run_step` does, one after the other in one process. Use it as a context manager.

    Limits hold for each step. A step that fails or dies is that step's error alone: whatever it left behind in the
    process ends with it, and the next step has a fresh one; so it has where the process died while it waited, as the
    kernel may have it where memory is short.

    Args:
        preparing: `module:function` without arguments, called when the process starts: the framework's import. None
            leaves imports to the steps.
        reads, writes: what every step is granted, as for `Worker`; a step that needs more gets a fresh process.
        env: the environment that it starts in; None is `worker_environment()`.

    Attributes:
        folder: to write what passes between the steps; it is removed at the end.
    """

    def __init__(
        self,
        preparing: str | None = None,
        *,
        limits: Limits = Limits(),
        log: Path | None = None,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        sandboxed: bool = True,
    ) -> None:
        self._env, self._sandboxed = env, sandboxed
        self.folder = Path(tempfile.mkdtemp(prefix="edgeport-"))
        self._preparing, self._limits, self._log = preparing, limits, log
        self._grants = sandbox.Grants(tuple(reads), (*writes, self.folder))
        self._view = sandbox.View.of(self._grants)
        self._worker: Worker | None = None
        self._busy = False

    def start(self, step: str = "start") -> None:
        """Starts the process ahead of its first step: it prepares while the caller does other work."""
        self._fresh(self._grants, step)

    def step(
        self,
        target: str,
        request: Mapping[str, Any],
        *,
        step: str,
        on_event: EventHandler | None = None,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
    ) -> Message:
        """Runs `module:function` in the process, which is started where there is none. Arguments as for `run_step`.

        Raises:
            EdgeportError: what the function raised, or CrashError, StepTimeoutError, ResourceError when it died.
        """
        self.begin(target, request, step=step, reads=reads, writes=writes)
        return self.result(on_event)

    def result(self, on_event: EventHandler | None = None) -> Message:
        """Waits for the end of the step under way. Raises as `step` does."""
        while "result" not in (message := self.receive()):
            if on_event:
                on_event(message["event"])
        result: Message = message["result"]
        return result

    def begin(
        self,
        target: str,
        request: Mapping[str, Any],
        *,
        step: str,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
    ) -> None:
        """Asks for a step without waiting; `receive` tells what comes of it. A step still under way is ended."""
        worker, grants = self._worker, self._grants.and_also(reads, writes)
        fits = self._view.holds(sandbox.View.of(grants))
        if worker is None or worker.ended or self._busy or not fits:
            worker = self._fresh(grants, step)
        self._busy = True
        worker.begin(step, {"target": target, "request": dict(request)})

    def receive(self) -> Message:
        """The next message of the step under way: `{event}`, or `{result}` at its end.

        Raises:
            EdgeportError: see `step`; the process is ended.
        """
        try:
            message = self.worker.receive()
        except BaseException:
            self.rest()
            raise
        self._busy = "result" not in message
        return message

    @property
    def worker(self) -> Worker:
        """The process of the step under way."""
        assert self._worker is not None
        return self._worker

    def _fresh(self, grants: sandbox.Grants, step: str) -> Worker:
        self.rest()
        self._view = sandbox.View.of(grants)
        self._worker = Worker(
            _SERVE,
            {"preparing": self._preparing},
            step=step,
            limits=self._limits,
            log=self._log,
            env=self._env,
            reads=grants.reads,
            writes=grants.writes,
            sandboxed=self._sandboxed,
        )
        return self._worker

    def rest(self) -> None:
        """Ends the process; the next step starts another."""
        worker, self._worker, self._busy = self._worker, None, False
        if worker is not None:
            worker.close()

    def close(self) -> None:
        """Ends the process and removes the folder; safe to call twice."""
        self.rest()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Standing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(request: Message, channel: Channel) -> Message:
    """The worker's entry: prepares, then answers one step after another until the parent closes the pipe."""
    if request["preparing"] is not None:
        resolve(request["preparing"])()
    while (message := channel.receive()) is not None:
        answer(message["target"], message["request"], channel)
        gc.collect()  # a model is full of circles: its memory is the next step's
    raise BrokenPipeError
