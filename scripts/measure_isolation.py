"""What running every step in a process of its own adds to a whole run.

    python scripts/measure_isolation.py CHECKPOINT [SECONDS OF TIMING]

The same steps in one process are not to be had (that is the point), so the cost is counted: every worker that a run
starts is recorded with what it imports; an empty worker and each framework's import are timed by themselves. Isolation
adds one process start for each worker, and each import but a framework's first. Workers that time an artifact are left
out of the imports: they have processes of their own for the sake of the figures, whatever the isolation.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from converters import isolation, sandbox
from exporter.options import RunOptions
from exporter.pipeline import run

_FRAMEWORKS = {"tensorflow": "import tensorflow, keras", "onnxruntime": "import onnxruntime",
               "ai_edge_litert": "from ai_edge_litert import interpreter"}  # fmt: skip
_REPEATS = 5


def empty_worker() -> float:
    """Median seconds from starting a worker that does nothing to its end."""
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        isolation.run_step("operator:is_", {}, step="nothing")  # any function of two arguments that does nothing
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def imported(statement: str) -> float:
    """Median seconds that an import takes in a fresh interpreter, less the interpreter's own start."""
    def timed(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True)
        return time.perf_counter() - started

    return statistics.median(timed(statement) - timed("pass") for _ in range(3))


def framework_of(target: str, request: dict[str, Any]) -> str | None:
    """What a worker imports; None for one that imports none, or that times."""
    if target.endswith((":convert_in_worker", ":run_reference")):
        return "tensorflow"
    if target.endswith(":run_candidates"):
        suffix = Path(request["candidates"][0]["path"]).suffix
        return {".onnx": "onnxruntime", ".tflite": "ai_edge_litert"}.get(suffix, "tensorflow")
    return None


def recorded(checkpoint: Path, seconds: float) -> tuple[float, list[tuple[str, str | None]]]:
    """The seconds of a whole run; the workers that it started, each with the framework that it imports."""
    workers: list[tuple[str, str | None]] = []
    start = isolation.Worker.__init__

    def recording(self: isolation.Worker, target: str, request: dict[str, Any], **kwargs: Any) -> None:
        workers.append((target, framework_of(target, request)))
        start(self, target, request, **kwargs)

    isolation.Worker.__init__ = recording  # type: ignore[assignment,method-assign]
    try:
        with tempfile.TemporaryDirectory(prefix="edgeport-") as folder:
            started = time.perf_counter()
            run(str(checkpoint), Path(folder) / "out", RunOptions(max_seconds=seconds, no_cache=True))
            return time.perf_counter() - started, workers
    finally:
        isolation.Worker.__init__ = start  # type: ignore[method-assign]


def main(checkpoint: Path, seconds: float) -> None:
    with sandbox.using("auto") as ran_in:
        whole, workers = recorded(checkpoint, seconds)
        start = empty_worker()
    imports = {name: imported(statement) for name, statement in _FRAMEWORKS.items()}
    print(f"{checkpoint.name}: {whole:.1f} s in all, workers in: {ran_in}")
    for target, framework in workers:
        print(f"  {target}{f' ({framework})' if framework else ''}")
    print(f"an empty worker: {start:.3f} s; imports: " + ", ".join(f"{n} {s:.2f} s" for n, s in imports.items()))
    counts = Counter(framework for _, framework in workers if framework)
    starts, again = len(workers) * start, sum((n - 1) * imports[name] for name, n in counts.items())
    print(f"{len(workers)} starts {starts:.2f} s, repeated imports {again:.2f} s: {(starts + again) / whole:.1%} of it")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 20.0)
