"""Profiles by operation, grouped by Keras layer and by kind. Apart from `insight`: this is the worker's side.

A profile is taken in a process of its own, never in the one that is timed: taking it costs time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converters.errors import UnsupportedError
from converters.formats import Format, format_of
from converters.isolation import Channel, Message
from converters.readers.tflite_file import read_tflite
from converters.readers.tflite_signed import signed
from validate.latency.host.facts import cpus_for
from validate.latency.profiling import litert as profile_litert
from validate.latency.profiling import onnxruntime as profile_onnx
from validate.latency.worker import pin
from validate.runtimes.variant import Variant

TARGET = "validate.latency.profiling.operations:serve"


def serve(request: Message, _: Channel) -> Message:
    """In a worker: profiles one artifact on one device."""
    pin(cpus_for(int(request["threads"])) if request["device"] == "cpu" else [])
    path = Path(request["artifact"])
    fmt = format_of(path)
    if fmt is Format.TFLITE:
        with _single(path, request["key"]) as file:
            nodes, runs = profile_litert.profile(file, int(request["threads"]), int(request["batch"]))
    elif fmt in (Format.ONNX, Format.ORT):
        nodes, runs = profile_onnx.profile(path, request, Variant.from_json(request.get("variant", {})))
    else:
        raise UnsupportedError(
            f"{path.name} cannot be profiled by operation: there is no such profile for a SavedModel.",
            next_step="Profile the .onnx or .tflite file.",
            file=path,
            step="profile",
        )
    return {"runs": runs, "nodes": [node.to_json() for node in nodes]}


@contextmanager
def _single(path: Path, key: str | None) -> Iterator[Path]:
    """A file with one signature, or one that LiteRT gives its own: of several the one of `key` in a file of its own."""
    content = signed(path, key).content if len(read_tflite(path).signatures) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        file = path if content is None else Path(folder) / path.name
        if content is not None:
            file.write_bytes(content)
        yield file
