"""The conversion worker: loads and traces once, makes the formats in turn, commits each as soon as it is whole."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.identify import confirm
from converters.checkpoints.interface import interface_facts
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import load
from converters.checkpoints.ranges import input_hints
from converters.checkpoints.sizes import check_inputs, settle
from converters.compat.patch import noting
from converters.errors import EdgeportError, UsageError
from converters.facts import Facts
from converters.formats import Format, Precision
from converters.isolation import Channel, Message, error_document
from converters.shapes import Shapes
from converters.tracing import Traced, trace
from converters.trial.opening import ElsewhereError, function_of
from converters.trial.trial import NOT_RUN, Trial
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite


class _Open(NamedTuple):
    """A source as it is loaded, its trace in float32 with the batch size that was asked for, and what is to be said."""

    loaded: Loaded
    traced: Traced
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _WrittenFile:
    """A writer's report on the file that it wrote, and the trace that it is made from."""

    conversion_path: str
    traced: Traced
    notes: tuple[str, ...] = ()


class _Job:
    """A traced source on its way through the formats."""

    def __init__(self, source: _Open, request: Message, scratch: Path) -> None:
        self.loaded, self.traced, _ = source
        self.request, self.scratch = request, scratch
        self._saved: dict[bool, Path] = {}
        self._trials: dict[bool, Trial] = {}

    def saved_model(self, traced: Traced) -> Path:
        """The SavedModel of a trace, written once."""
        is_full = traced is self.traced
        if is_full not in self._saved:
            folder = self.scratch / ("traced" if is_full else "for-tflite")
            write_saved_model(traced, folder)
            self._saved[is_full] = folder
        return self._saved[is_full]

    def write_saved_model(self, path: Path) -> _WrittenFile:
        source = self.saved_model(self.traced)
        os.rename(source, path)  # noqa: PTH104 - a folder within one file system
        self._saved[True] = path
        return _WrittenFile("traced-module", self.traced)

    def committed(self, fmt: Format, path: Path) -> None:
        """Notes where a finished artifact lies now: TFLite is made from the SavedModel."""
        if fmt is Format.SAVEDMODEL:
            self._saved[True] = path

    def write_tflite(self, path: Path) -> _WrittenFile:
        traced = self.traced
        notes: tuple[str, ...] = ()
        if traced.recurrent and traced.signature.has_open_batch:
            traced = trace(self.loaded, 1)
            notes = ("Fixed to a batch of 1: a recurrent layer with a dynamic batch would need Flex operations.",)
        composed = traced.composed_for(Format.TFLITE)
        saved = functools.partial(self.saved_model, composed)
        conversion_path = write_tflite(composed, saved, path, allow_flex=self.request["allow_flex"])
        return _WrittenFile(conversion_path, traced, notes)

    def write_onnx(self, path: Path) -> _WrittenFile:
        onnx_file = write_onnx(self.traced.composed_for(Format.ONNX), path, self.request["opset"])
        return _WrittenFile(onnx_file.conversion_path, self.traced)

    def trial(self, traced: Traced) -> Trial:
        """What the files of a trace are tried with, drawn once."""
        is_full = traced is self.traced
        if is_full not in self._trials:
            ranges = {name: (hint.low, hint.high) for name, hint in input_hints(self.loaded.model).items()}
            self._trials[is_full] = Trial.drawn(function_of(traced.concrete), traced.signature, ranges)
        return self._trials[is_full]


_WRITERS: dict[tuple[Format, Precision], Callable[[_Job, Path], _WrittenFile]] = {
    (Format.SAVEDMODEL, Precision.FLOAT32): _Job.write_saved_model,
    (Format.TFLITE, Precision.FLOAT32): _Job.write_tflite,
    (Format.ONNX, Precision.FLOAT32): _Job.write_onnx,
}


_open: _Open | None = None
"""What this process has open: it stays from step to step."""


def open_source(request: Message, _channel: Channel) -> Message:
    """Loads and traces; answers with `converters.facts.Facts`."""
    loaded, traced, notes = _opened(request)
    given = {name: tuple(sizes) for name, sizes in request["shapes"].items()}
    shapes = _shapes(loaded, given)
    if request.get("inputs"):  # a wrong array is told before anything is made
        check_inputs(loaded, Path(request["inputs"]), given)
    names = (loaded.signature.input_names, loaded.signature.output_names)
    facts = Facts(
        traced.signature,
        loaded.parameters,
        notes,
        input_hints(loaded.model),
        interface_facts(loaded.model, names),
        shapes,
    )
    return facts.to_json()


def _shapes(loaded: Loaded, given: Shapes) -> Shapes:
    """What the model runs at by itself, which is the same for every run: the user's shapes are merely held against it.

    None is no reason not to convert: who has to run the model asks the user.
    """
    if given:
        settle(loaded, given)
    try:
        return settle(loaded, {})
    except UsageError:
        return {}


def write_float32(request: Message, channel: Channel) -> Message:
    """Makes each of `targets`, from a source that a process in the place of one that died opens first.

    Events: `{opened}`, then of each target as `converters.isolation.batch` reads them; a result is `{road, signature,
    notes, checked}`.
    """
    source = _opened(request)
    channel.event(opened=True)
    scratch = Path(tempfile.mkdtemp(prefix=".scratch-", dir=request["folder"]))  # two workers may share the folder
    try:
        job = _Job(source, request, scratch)
        for target in request["targets"]:
            channel.event(item=target["item"])
            fmt, precision = Format(target["format"]), Precision(target["precision"])
            try:
                with noting() as left_out:
                    result = _make(job, fmt, precision, Path(target["path"]))
            except EdgeportError as error:
                document = error_document(error)
                document["message"] = " ".join([error.message, *left_out])
                channel.event(item=target["item"], error=document)
            else:
                result["notes"] = [*result["notes"], *left_out]
                channel.event(item=target["item"], result=result)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {}


def _opened(request: Message) -> _Open:
    global _open
    if _open is None:
        checkpoint = Checkpoint.from_json(request["checkpoint"])
        confirm(checkpoint)
        with noting() as left_out:
            loaded = load(checkpoint)
            traced = trace(loaded, request["batch"])
        _open = _Open(loaded, traced, (*loaded.notes, *left_out))
    return _open


def _make(job: _Job, fmt: Format, precision: Precision, path: Path) -> Message:
    part = job.scratch / f"{fmt.value}-{precision.value}"
    part.mkdir()
    result = _WRITERS[fmt, precision](job, part / path.name)
    signature, notes, checked = result.traced.signature, result.notes, False
    if job.request["check"]:
        with contextlib.suppress(ElsewhereError):
            checked = job.trial(result.traced).check(part / path.name, fmt, precision, signature)
        notes = notes if checked else (*notes, NOT_RUN)
    for file in sorted(part.iterdir(), reverse=True):  # external data before the file that names it
        os.replace(file, path.parent / file.name)  # noqa: PTH105 - works for files and folders alike
    job.committed(fmt, path)
    row = {"road": result.conversion_path, "signature": signature.to_json(), "notes": notes}
    return row | {"checked": checked}
