"""Taps: read the value before a final softmax or sigmoid (design: Logits). Worker side.

A saturated probability hides errors: a batch-norm bug that moves the logits by 0.96 moves the softmax by 3e-6. So the
output edge is moved back over that operation in a copy of the file; the file itself is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from converters.arrays import Array, Arrays
from converters.checkpoints.identify import needs_reader
from converters.checkpoints.loaded import Loaded
from converters.errors import RefusedError
from converters.formats import Format, format_of
from validate.agreement.worker.activation_coverage import Extremes
from validate.runtimes import Runtime, RuntimeOptions, open_artifact, runtime_name
from validate.runtimes.base import failed
from validate.runtimes.quantized import dequantized

SOFTMAX, SIGMOID = "softmax", "sigmoid"


class Tapped(Protocol):
    """An artifact or checkpoint together with its logits.

    Attributes:
        runtime: the untouched file.
        kinds: by output name, `softmax` or `sigmoid`; an output without a tap is not there.
        loaded: the model in memory, of a checkpoint.
        extremes: what the values before each bent activation reached, of a checkpoint.
    """

    runtime: Runtime
    kinds: dict[str, str]
    loaded: Loaded | None = None
    extremes: Extremes | None = None

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        """The outputs of the untouched file, and the logits by the names of the outputs they lead to."""


def open_tapped(path: Path, options: RuntimeOptions, scratch: Path) -> Tapped:
    """Opens a file in its runtime and taps what can be tapped; see `open_artifact` for the errors.

    Args:
        scratch: a folder that need not exist, for a SavedModel's copy; the caller removes it.
    """
    name = runtime_name(path, options.device)
    if name == "keras" or (name == "saved_model" and options.opening and needs_reader(path, options.opening)):
        return TappedCheckpoint(path, options)
    try:
        return TappedFile(path, options, scratch)
    except RefusedError:
        if name != "saved_model" or options.opening is None:
            raise
        return TappedCheckpoint(path, options)  # a source that cannot be restored: the reader has a further way


class TappedCheckpoint(Tapped):
    """A Keras checkpoint, traced once with its logits as further outputs."""

    def __init__(self, path: Path, options: RuntimeOptions) -> None:
        from validate.agreement.worker.taps.function import TappedFunction
        from validate.runtimes.keras import KerasRuntime

        self._path = path
        runtime = KerasRuntime(path, options)
        self.runtime: Runtime = runtime
        self.loaded = runtime.loaded
        self._function = TappedFunction(self.loaded.function, self.loaded.signature, watched=True)
        self.kinds = self._function.kinds
        self.extremes = self._function.extremes

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        try:
            return self._function.run(inputs)
        except Exception as cause:
            failed(self._path, cause)


class TappedFile(Tapped):
    """An artifact and the copy of it that ends before the final softmax or sigmoid."""

    def __init__(self, path: Path, options: RuntimeOptions, scratch: Path) -> None:
        self.runtime = open_artifact(path, options)
        self.kinds, self._copy = _open_copy(path, options, scratch)

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        outputs = self.runtime.run(inputs)
        if self._copy is None:
            return outputs, {}
        values = self._copy.run(inputs)
        # A tapped ONNX output has a name of its own; its place is the same.
        copy_names = dict(zip(outputs, values, strict=True)) if set(values) != set(outputs) else {k: k for k in outputs}
        return outputs, {
            name: dequantized(self._copy, copy_names[name], values[copy_names[name]]) for name in self.kinds
        }


def _open_copy(path: Path, options: RuntimeOptions, scratch: Path) -> tuple[dict[str, str], Runtime | None]:
    """The tapped outputs with their kinds, and the copy opened; its outputs come in the untouched file's order."""
    fmt = format_of(path)
    if fmt is Format.ONNX:
        from validate.agreement.worker.taps.onnx import tapped_bytes

        kinds, content = tapped_bytes(path)
        return (kinds, open_artifact(path, options, content)) if kinds else ({}, None)
    if fmt is Format.TFLITE:
        from validate.agreement.worker.taps.tflite import tapped_bytes as tapped_flatbuffer

        kinds, content = tapped_flatbuffer(path, options.key)
        return (kinds, open_artifact(path, options, content)) if kinds else ({}, None)
    if fmt is Format.SAVEDMODEL:
        from validate.agreement.worker.taps.saved_model import tapped_folder

        kinds, copy = tapped_folder(path, scratch, options.key)
        return (kinds, open_artifact(copy, options)) if kinds else ({}, None)
    return {}, None
