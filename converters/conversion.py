"""The conversion worker: loads and traces once, makes the formats in turn, commits each as soon as it is whole."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.identify import confirm
from converters.checkpoints.interface import interface_facts
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import load
from converters.checkpoints.ranges import input_hints
from converters.compat.patch import noting
from converters.errors import EdgeportError, UnsupportedError
from converters.formats import Format, Precision, artifact_name
from converters.isolation import Channel, Message
from converters.signature import Signature
from converters.targets.onnx import write_onnx
from converters.targets.savedmodel import write_saved_model
from converters.targets.tflite import write_tflite
from converters.tracing import Traced, trace


@dataclass(frozen=True)
class _Made:
    """What a writer has to say about the file it wrote."""

    road: str
    signature: Signature
    notes: tuple[str, ...] = ()


class _Job:
    """One source on its way through the formats."""

    def __init__(self, loaded: Loaded, request: Message, scratch: Path) -> None:
        self.loaded = loaded
        self.request = request
        self.scratch = scratch
        self.traced = trace(loaded, request["batch"])
        self._saved: dict[bool, Path] = {}

    def saved_model(self, traced: Traced) -> Path:
        """The SavedModel of a trace, written once."""
        own = traced is self.traced
        if own not in self._saved:
            folder = self.scratch / ("traced" if own else "single-batch")
            write_saved_model(traced, folder)
            self._saved[own] = folder
        return self._saved[own]

    def write_saved_model(self, path: Path) -> _Made:
        source = self.saved_model(self.traced)
        os.rename(source, path)  # noqa: PTH104 - a folder within one file system
        return _Made("traced-module", self.traced.signature)

    def committed(self, fmt: Format, path: Path) -> None:
        """Told where a finished artifact lies now: TFLite is made from the SavedModel."""
        if fmt is Format.SAVEDMODEL:
            self._saved[True] = path

    def write_tflite(self, path: Path) -> _Made:
        traced = self.traced
        notes: tuple[str, ...] = ()
        if traced.recurrent and self.request["batch"] is None:
            traced = trace(self.loaded, 1)
            notes = ("Fixed to a batch of 1: a recurrent layer with a dynamic batch would need Flex operations.",)
        saved = functools.partial(self.saved_model, traced)
        road = write_tflite(traced, saved, path, allow_flex=self.request["allow_flex"])
        return _Made(road, traced.signature, notes)

    def write_onnx(self, path: Path) -> _Made:
        written = write_onnx(self.traced, path, self.request["opset"])
        return _Made(written.road, self.traced.signature)


_WRITERS: dict[tuple[Format, Precision], Callable[[_Job, Path], _Made]] = {
    (Format.SAVEDMODEL, Precision.FLOAT32): _Job.write_saved_model,
    (Format.TFLITE, Precision.FLOAT32): _Job.write_tflite,
    (Format.ONNX, Precision.FLOAT32): _Job.write_onnx,
}


def convert_in_worker(request: Message, channel: Channel) -> Message:
    """Worker target of `converters.routes.convert`; the events it sends are read there."""
    checkpoint = Checkpoint.from_json(request["checkpoint"])
    confirm(checkpoint)
    folder = Path(request["folder"])
    scratch = Path(tempfile.mkdtemp(prefix=".scratch-", dir=folder))  # two workers may share the folder
    try:
        with noting() as left_out:
            loaded = load(checkpoint)
            job = _Job(loaded, request, scratch)
        channel.event(
            loaded={
                "signature": job.traced.signature.to_json(),
                "parameters": loaded.parameters,
                "notes": [*loaded.notes, *left_out],
                "ranges": {name: limits.to_json() for name, limits in input_hints(loaded.model).items()},
                "facts": interface_facts(loaded.model, (loaded.signature.input_names, loaded.signature.output_names)),
            }
        )
        for words in request["targets"]:
            fmt, precision = Format(words[0]), Precision(words[1])
            _make(job, fmt, precision, folder / artifact_name(checkpoint.name, precision, fmt), channel)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {}


def _make(job: _Job, fmt: Format, precision: Precision, path: Path, channel: Channel) -> None:
    where: dict[str, Any] = {"format": fmt.value, "precision": precision.value}
    channel.event(started=True, **where)
    part = job.scratch / f"{fmt.value}-{precision.value}"
    part.mkdir()
    try:
        with noting() as left_out:
            made = _WRITERS[fmt, precision](job, part / path.name)
    except EdgeportError as error:
        status = "unsupported" if isinstance(error, UnsupportedError) else "failed"
        told = " ".join([error.message, *left_out])
        channel.event(failure=error.to_json() | {"status": status, "message": told}, **where)
        return
    for written in sorted(part.iterdir(), reverse=True):  # external data before the file that names it
        os.replace(written, path.parent / written.name)  # noqa: PTH105 - works for files and folders alike
    job.committed(fmt, path)
    channel.event(
        made=True, road=made.road, signature=made.signature.to_json(), notes=[*made.notes, *left_out], **where
    )
