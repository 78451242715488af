"""The light worker: further precisions from finished float32 files, without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import EdgeportError, UnsupportedError
from converters.formats import Format, Precision
from converters.isolation import Channel, Message
from converters.signature import Signature
from converters.targets import onnx_precisions, tflite_precisions
from converters.targets.onnx_precisions import OnnxQuantization, OnnxSource
from converters.targets.tflite_precisions import TfliteSource


class _Sources:
    """The float32 files, opened when the first precision is made of them."""

    def __init__(self, request: Message) -> None:
        self._request = request
        self._scratch = Path(request["scratch"])
        self._tflite: TfliteSource | None = None
        self._onnx: OnnxSource | None = None

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
            self._tflite = TfliteSource(Path(base["path"]), signature, self._calibration(), threads)
        return self._tflite

    def onnx(self) -> OnnxSource:
        if self._onnx is None:
            base = self._request["bases"][Format.ONNX.value]
            self._onnx = OnnxSource(Path(base["path"]), self._scratch, self._calibration())
        return self._onnx


def derive_in_worker(request: Message, channel: Channel) -> Message:
    """Makes each of `targets`; events `started`, then `made` or `failure`, each with the target's words."""
    sources = _Sources(request)
    for target in request["targets"]:
        where = {"format": target["format"], "precision": target["precision"]}
        channel.event(started=True, **where)
        path = Path(target["path"])
        part = path.with_name(f".part-{path.name}")
        try:
            signature, road = _make(sources, request, target, part)
        except EdgeportError as error:
            part.unlink(missing_ok=True)
            status = "unsupported" if isinstance(error, UnsupportedError) else "failed"
            channel.event(failure=error.to_json() | {"status": status}, **where)
            continue
        part.replace(path)
        channel.event(made=True, road=road, signature=signature, **where)
    return {}


def _make(sources: _Sources, request: Message, target: Message, path: Path) -> tuple[Message, str]:
    fmt, precision, keep = Format(target["format"]), Precision(target["precision"]), tuple(target["keep"])
    if fmt is Format.TFLITE:
        signature = sources.tflite().write(precision, path, io=request["io"], keep=keep)
        return signature.to_json(), tflite_precisions.ROAD
    how = OnnxQuantization(request["device"], request["method"], keep)
    sources.onnx().write(precision, path, how)
    return request["bases"][fmt.value]["signature"], onnx_precisions.ROAD
