"""An environment is tried before it counts: both runtimes add two vectors in it. Apart from how it is made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from converters.errors import EdgeportError, StepError
from converters.isolation import run_step
from exporter.doctor.tiny import FEEDS, TOTAL
from exporter.environments.commands import STEP
from validate.targets.machine import Connected
from validate.targets.tensors import packed, unpacked

Connect = Callable[[Path], AbstractContextManager[Connected]]
_PATIENCE_S = 300.0


def tried(connect: Connect, suffixes: Collection[str] = (".tflite", ".onnx")) -> None:
    """Opens a tiny file of each kind in its runtime there and runs it.

    Args:
        connect: the machine, with a file on it.

    Raises:
        StepError: one of them does not open it, dies or adds wrongly.
    """
    with tempfile.TemporaryDirectory(prefix="edgeport-trial-") as name:
        written = run_step("exporter.doctor.tiny:write_all", {"folder": name}, step=STEP, writes=[Path(name)])
        for path in (path for path in map(Path, written["paths"]) if path.name.endswith(tuple(suffixes))):
            try:
                total = _run(connect, path)
            except EdgeportError as error:
                raise StepError(
                    f"The environment does not work. {error.message}", next_step=_NEXT_STEP, step=STEP
                ) from error
            if total != TOTAL:
                raise StepError(f"{path.name} adds to {total} there, not {TOTAL}.", next_step=_NEXT_STEP, step=STEP)


_NEXT_STEP = (
    "Run `edgeport target install --help`: parts of it may be given; or report it with `edgeport doctor --json`."
)


def _run(connect: Connect, path: Path) -> list[float]:
    with connect(path) as connected:
        worker = connected.worker({"do": "run"}, 1)
        try:
            options = {"threads": 1}
            worker.send({"open": 0, "path": connected.paths[str(path.absolute())], "options": options})
            worker.receive(_PATIENCE_S)
            feeds = {key: np.asarray(values, np.float32) for key, values in FEEDS.items()}
            worker.send({"run": 0, "feeds": packed(feeds)})
            (total,) = unpacked(worker.receive(_PATIENCE_S)["outputs"]).values()
        finally:
            worker.close()
    return [float(value) for value in total]
