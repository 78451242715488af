"""One float32 file of a source, made in this process by the worker's function that `edgeport export` runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.checkpoints.identify import identify
from converters.checkpoints.load_options import LoadOptions
from converters.errors import EdgeportError, error_from_json
from converters.formats import Format, Precision
from converters.workers import float32 as worker


class _Channel:
    """Takes what a worker tells its parent."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def event(self, **fields: Any) -> None:
        self.events.append(fields)


def opened_anew() -> None:
    """Makes the worker forget the source that this process has open: what comes is another."""
    assert hasattr(worker, "_open")
    worker._open = None


def make(
    source: Path, fmt: Format, path: Path, opening: LoadOptions = LoadOptions(), opset: int | None = None
) -> list[str]:
    """Writes the file; gives the names of its outputs in the model's order. Raises EdgeportError."""
    target = {"item": "it", "format": fmt.value, "precision": Precision.FLOAT32.value, "path": str(path)}
    request = {"checkpoint": identify(source, opening).to_json(), "batch": None, "opset": opset, "allow_flex": False}
    request |= {"check": False}  # what is made is judged here, and by nothing before
    channel = _Channel()
    worker.write_float32(request | {"folder": str(path.parent), "targets": [target]}, channel)  # type: ignore[arg-type]
    last = channel.events[-1]
    if "error" in last:
        error: EdgeportError = error_from_json(last["error"])
        raise error
    return [spec["name"] for spec in last["result"]["signature"]["outputs"]]
