"""The light worker: further precisions from finished float32 files, without TensorFlow."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.contract import Contract
from converters.errors import EdgeportError
from converters.formats import Format, Precision
from converters.isolation import Channel, Message, error_document
from converters.signature import Signature
from converters.stamping import plain_copy
from converters.stamping.onnx import properties
from converters.trial.drawing import ROWS
from converters.trial.opening import ElsewhereError, opened
from converters.trial.trial import NOT_RUN, Trial
from converters.writers.onnx import precisions as onnx_precisions
from converters.writers.onnx.precisions import OnnxQuantization, OnnxSource
from converters.writers.ort import CONVERSION_PATH, config_path, write_ort
from converters.writers.tflite import precisions as tflite_precisions
from converters.writers.tflite.precisions import TfliteSource


class _Sources:
    """The float32 files, opened when the first precision is made of them."""

    def __init__(self, request: Message) -> None:
        self._request = request
        self._scratch = Path(request["scratch"])
        self._tflite: TfliteSource | None = None
        self._onnx: OnnxSource | None = None
        self._onnx_files: dict[tuple[Precision, tuple[str, ...]], Path] = {}
        self._trials: dict[Format, Trial] = {}

    def _calibration(self) -> Mapping[str, Any]:
        path = self._request["calibration"]
        if path is None:
            return {}
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def tflite(self) -> TfliteSource:
        if self._tflite is None:
            base = self._request["bases"][Format.TFLITE.value]
            signature = Signature.from_json(base["signature"])
            threads = len(os.sched_getaffinity(0))
            path = plain_copy(Path(base["path"]), self._scratch)
            self._tflite = TfliteSource(path, signature, self._calibration(), threads)
        return self._tflite

    def onnx_file(self, precision: Precision, keep: tuple[str, ...]) -> Path:
        """The ONNX file of a precision, made once: an `.ort` file is made from it too."""
        base = Path(self._request["bases"][Format.ONNX.value]["path"])
        if precision is Precision.FLOAT32:
            return base
        if self._onnx is None:
            self._onnx = OnnxSource(base, self._scratch, self._calibration())
        key = (precision, keep)
        if key not in self._onnx_files:
            path = self._scratch / f"made-{len(self._onnx_files)}.onnx"
            self._onnx.write(precision, path, OnnxQuantization(self._request["device"], self._request["method"], keep))
            self._onnx_files[key] = path
        return self._onnx_files[key]

    def trial(self, fmt: Format) -> Trial:
        """What files made from the float32 file of a format are tried with: that file, which was tried itself, on the
        first rows of the calibration data or, where there are none, on drawn ones."""
        if fmt not in self._trials:
            base = self._request["bases"][fmt.value]
            signature = Signature.from_json(base["signature"])
            run = opened(Path(base["path"]), Format.ONNX if fmt is Format.ORT else fmt, signature)
            ranges = {name: (low, high) for name, (low, high) in self._request["ranges"].items()}
            data = self._calibration()
            rows = {spec.name: data[spec.name][: spec.concrete(ROWS)[0]] for spec in signature.inputs if data}
            self._trials[fmt] = Trial.drawn(run, signature, ranges, rows)
        return self._trials[fmt]


def derive_in_worker(request: Message, channel: Channel) -> Message:
    """Makes each of `targets`; events as `converters.isolation.batch` reads them, a result is `{signature,
    road, notes, checked}`."""
    sources = _Sources(request)
    for target in request["targets"]:
        channel.event(item=target["item"])
        path = Path(target["path"])
        part = path.with_name(f".part-{path.name}")
        try:
            result = _make(sources, request, target, part)
        except EdgeportError as error:
            part.unlink(missing_ok=True)
            config_path(path).unlink(missing_ok=True)
            channel.event(item=target["item"], error=error_document(error))
            continue
        part.replace(path)
        channel.event(item=target["item"], result=result)
    return {}


def _make(sources: _Sources, request: Message, target: Message, path: Path) -> Message:
    """Writes one file, tries it, and tells of it."""
    fmt, precision = Format(target["format"]), Precision(target["precision"])
    signature, conversion_path = _write(sources, request, target, path)
    checked, notes = False, list[str]()
    if request["check"]:
        with contextlib.suppress(ElsewhereError):
            checked = sources.trial(fmt).check(path, fmt, precision, Signature.from_json(signature))
        notes = [] if checked else [NOT_RUN]
    return {"signature": signature, "road": conversion_path, "notes": notes, "checked": checked}


def _write(sources: _Sources, request: Message, target: Message, path: Path) -> tuple[Message, str]:
    fmt, precision, keep = Format(target["format"]), Precision(target["precision"]), tuple(target["keep"])
    if fmt is Format.TFLITE:
        signature = sources.tflite().write(precision, path, io=request["io"], keep=keep)
        return signature.to_json(), tflite_precisions.CONVERSION_PATH
    onnx_file = sources.onnx_file(precision, keep)
    if fmt is Format.ORT:
        signature = request["bases"][fmt.value]["signature"]
        write_ort(onnx_file, path, _properties(request["contract"], signature))
        return signature, CONVERSION_PATH
    shutil.copyfile(onnx_file, path)
    return request["bases"][fmt.value]["signature"], onnx_precisions.CONVERSION_PATH


def _properties(contract: Message | None, signature: Message) -> dict[str, str]:
    return {} if contract is None else properties(Contract.from_json(contract).of(Signature.from_json(signature)))
