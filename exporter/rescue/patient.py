"""The file under treatment in a rescue: made again with some operations in float, and looked at. Worker side."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.formats import Format, Precision
from converters.signature import Signature
from converters.stamping import plain_copy
from exporter.inspection.integer import layer_of
from exporter.rescue import probe
from exporter.rescue.values import Goal

_SAMPLES = 32
_MARGIN_DB = 1.0


class Patient:
    """The file under treatment: makes it with some operations in float and looks at every tensor."""

    def __init__(self, request: dict[str, Any], scratch: Path) -> None:
        from converters.writers.onnx.precisions import OnnxSource
        from converters.writers.tflite.precisions import TfliteSource

        self._request, self._scratch = request, scratch
        self._precision = Precision(request["precision"])
        self.layers: Collection[str] = set(request["layers"])
        calibration = _arrays(request["calibration"]) if request["calibration"] else {}
        self.signature = signature = Signature.from_json(request["signature"])
        self.inputs = _inputs(request["golden"], calibration, signature.input_names)
        self.base = base = plain_copy(Path(request["base"]), scratch)
        self._tflite = self._onnx = None
        if Format(request["format"]) is Format.TFLITE:
            self._tflite = TfliteSource(base, signature, calibration)
            self.steps = probe.tflite_steps(base)
            names = _tflite_outputs(base, signature.output_names)
        else:
            self._onnx = OnnxSource(base, scratch, calibration)
            self.steps = probe.onnx_steps(self._onnx.prepared())
            base = self._onnx.prepared()
            names = list(signature.output_names)
        count = probe.affordable(self.steps, min(len(array) for array in self.inputs.values()))
        self.inputs = {name: array[:count] for name, array in self.inputs.items()}
        self.decisions = list(probe.decision(self.steps, names).values())
        self.floats = self.values(base)
        macs = max(1, sum(step.macs for step in self.steps))
        self.shares = {step.key: step.macs / macs for step in self.steps}

    def make(self, keep: Sequence[str], io: str = "float") -> Path:
        """The file with these operations in float."""
        from converters.writers.onnx.precisions import OnnxQuantization

        path = self._scratch / f"try.{self._request['format']}"
        if self._tflite is not None:
            self._tflite.write(self._precision, path, io=io, keep=keep)
        elif self._onnx is not None:
            how = OnnxQuantization(self._request["device"], self._request["method"], tuple(keep))
            self._onnx.write(self._precision, path, how)
        return path

    def values(self, path: Path) -> Arrays:
        if self._tflite is not None:
            return probe.tflite_values(path, self.inputs)
        return probe.onnx_values(path, self.inputs, [name for step in self.steps for name in step.outputs])

    def measure(self, keep: Sequence[str]) -> Arrays:
        return self.values(self.make(keep))

    def sqnr(self, values: Arrays) -> float:
        """Of the worst output: signal is the moving part, as in the gates."""
        return min(_sqnr(self.floats[name], values.get(name)) for name in self.decisions)

    def top1(self, values: Arrays) -> float:
        shares = []
        for name in self.decisions:
            reference, got = self.floats[name], values.get(name)
            if reference.ndim == 2 and reference.shape[1] > 1 and got is not None:
                shares.append(float((reference.argmax(axis=1) == got.argmax(axis=1)).mean()))
        return min(shares, default=1.0)

    def meets(self, values: Arrays, goal: Goal) -> bool:
        """Whether the decibels and the classes of these values reach the goal."""
        return self.sqnr(values) >= goal.sqnr_db + _MARGIN_DB and self.top1(values) >= goal.top1

    def kept(self, key: str, sqnr_db_without: float) -> dict[str, Any]:
        """An operation that stays float, as a row of the answer."""
        step = next(step for step in self.steps if step.key == key)
        return {
            "key": key,
            "layer": layer_of(step.name, self.layers),
            "operation": step.kind,
            "macs_share": self.shares[key],
            "sqnr_db_without": finite(sqnr_db_without),
        }


def _sqnr(floats: Array, got: Array | None) -> float:
    if got is None or got.shape != floats.shape or not np.isfinite(got).all():
        return -99.0
    signal = float(np.square(floats - floats.mean(axis=0), dtype=np.float64).mean())
    error = float(np.square(floats - got, dtype=np.float64).mean())
    if error == 0:
        return 99.0
    return 10 * math.log10(signal / error) if signal > 0 else -99.0


def finite(value: float) -> float:
    """Decibels within what JSON holds."""
    return max(-99.0, min(99.0, value))


def _inputs(golden: str, calibration: Arrays, names: Sequence[str]) -> Arrays:
    stored = {k.removeprefix("input/"): v for k, v in _arrays(golden).items() if k.startswith("input/")}
    return {
        name: np.concatenate([stored[name], calibration[name][:_SAMPLES]]) if name in calibration else stored[name]
        for name in names
    }


def _arrays(path: str) -> Arrays:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _tflite_outputs(path: Path, names: Sequence[str]) -> list[str]:
    """The tensors behind the signature's outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    details = interpreter.get_signature_runner(next(iter(interpreter.get_signature_list()))).get_output_details()
    return [str(details[name]["name"]) for name in names]
