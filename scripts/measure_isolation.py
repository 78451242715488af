"""What running every step in a process of its own adds to a whole run.

    python scripts/measure_isolation.py CHECKPOINT [SECONDS OF TIMING [REPETITIONS]]

A whole `run` is timed as it is, and once more with every step but the timing called in the run's own process: one
interpreter, one import of each framework, no sandbox. The two alternate, each time in a fresh process, and the medians
are compared. Workers that time an artifact stay as they are: they have processes of their own for the sake of the
figures, whatever the isolation. Together the steps share one process's threads and memory, which is why edgeport does
not work like that.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from converters import isolation
from converters.isolation import sandbox
from converters.isolation.standing import serve
from exporter.options import RunOptions
from exporter.run.pipeline import run

_SERVE = f"{serve.__module__}:{serve.__name__}"


class Together(isolation.Worker):
    """A worker that is none: its function runs here, when its first message is asked for."""

    def __init__(self, target: str, request: dict[str, Any], *, step: str, **_: Any) -> None:
        self.step, self._messages = step, deque[dict[str, Any]]()
        self._waiting: tuple[str, dict[str, Any]] | None = None if target == _SERVE else (target, request)

    def begin(self, step: str) -> None:
        self.step = step

    def send(self, message: Any) -> None:
        self._waiting = (message["target"], message["request"])

    def receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        if self._waiting is not None:
            (target, request), self._waiting = self._waiting, None
            result = isolation.resolve(target)(request, self)
            self._messages.append({"result": result or {}})
        return self._messages.popleft()

    def event(self, **fields: Any) -> None:
        self._messages.append({"event": fields})

    def close(self) -> None:
        pass


def together() -> None:
    """From now on steps run in this process, those excepted that time an artifact."""
    from converters.checkpoints.quick import import_keras
    from converters.isolation import standing, worker
    from validate.runtimes import keras, saved_model

    for module in (standing, worker):
        module.Worker = Together  # type: ignore[attr-defined]
    for opening in (keras, saved_model):  # the thread pools are set once in a process: by the conversion
        opening.prepare_tensorflow = lambda _: import_keras()  # type: ignore[attr-defined]


def once(checkpoint: Path, seconds: float) -> float:
    """The seconds that a whole run takes."""
    with tempfile.TemporaryDirectory(prefix="edgeport-") as folder, sandbox.using("auto"):
        started = time.perf_counter()
        run(str(checkpoint), Path(folder) / "out", RunOptions.of(max_seconds=seconds, no_cache=True))
        return time.perf_counter() - started


def measured(mode: str, arguments: list[str]) -> float:
    """The same in a fresh process."""
    command = [sys.executable, __file__, mode, *arguments]
    ran = subprocess.run(
        command,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=isolation.worker_environment(),
    )
    return float(ran.stdout.split()[-1])


def main(arguments: list[str]) -> None:
    if arguments[0] in {"--isolated", "--together"}:
        if arguments[0] == "--together":
            together()
        print(once(Path(arguments[1]), float(arguments[2])))
        return
    checkpoint, seconds = arguments[0], arguments[1] if len(arguments) > 1 else "20"
    times: dict[str, list[float]] = {"--isolated": [], "--together": []}
    for _ in range(int(arguments[2]) if len(arguments) > 2 else 3):
        for mode, found in times.items():
            found.append(measured(mode, [checkpoint, seconds]))
            print(f"{mode[2:]}: {found[-1]:.2f} s", flush=True)
    isolated, joined = (statistics.median(found) for found in times.values())
    print(f"{Path(checkpoint).name}: isolated {isolated:.1f} s, together {joined:.1f} s: {isolated / joined - 1:+.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
