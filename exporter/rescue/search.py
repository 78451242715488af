"""The search for the layers that must stay float. Worker side of `exporter.rescue.rescue`.

An operation hurts by the noise that it adds: what leaves it less what entered. Once it is float and still noisy, its
inputs were quantized too coarsely, and the operation that made them is next.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.formats import Format, Precision
from converters.isolation import Channel
from converters.stamping import plain_copy
from exporter.inspection.integer import layer_of
from exporter.rescue import probe
from exporter.rescue.probe import Step
from exporter.rescue.rescue import Goal

_ROUNDS = 12
_SAMPLES = 32
_MARGIN_DB = 1.0


def rescue_in_worker(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Makes the file again and again, each time with another operation in float, until the goal is met."""
    with tempfile.TemporaryDirectory(prefix="edgeport-rescue-") as scratch:
        patient = _Patient(request, Path(scratch))
        goal = Goal(**request["goal"])
        result = _search(patient, goal)
        if result["reached"]:
            Path(request["artifact"]).write_bytes(patient.make(result.pop("keys"), request["io"]).read_bytes())
        result.pop("keys", None)
        return result


class _Patient:
    """The file under treatment: makes it with some operations in float and looks at every tensor."""

    def __init__(self, request: dict[str, Any], scratch: Path) -> None:
        from converters.signature import Signature
        from converters.writers.onnx.precisions import OnnxSource
        from converters.writers.tflite.precisions import TfliteSource

        self._request, self._scratch = request, scratch
        self._precision = Precision(request["precision"])
        self.layers: Collection[str] = set(request["layers"])
        calibration = _arrays(request["calibration"]) if request["calibration"] else {}
        signature = Signature.from_json(request["signature"])
        self.inputs = _inputs(request["golden"], calibration, signature.input_names)
        base = plain_copy(Path(request["base"]), scratch)
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
        self.macs = max(1, sum(step.macs for step in self.steps))

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


def _search(patient: _Patient, goal: Goal) -> dict[str, Any]:
    keys: list[str] = []
    shares = {step.key: step.macs / patient.macs for step in patient.steps}
    values = patient.measure(keys)
    before = after = patient.sqnr(values)
    reason = ""
    for turn in range(_ROUNDS):
        if _met(patient, values, goal):
            break
        worst = [k for k in _ranked(patient, values, keys) if sum(shares[j] for j in [*keys, k]) <= goal.budget]
        if not worst:
            reason = f"the next layer would take more than {goal.budget:.0%} of the multiply-adds out of integers."
            break
        for key in worst[: 1 if turn < 4 else 3]:
            if sum(shares[j] for j in [*keys, key]) <= goal.budget:
                keys.append(key)
        values = patient.measure(keys)
        after = patient.sqnr(values)
    reached = _met(patient, values, goal)
    float_layers: list[dict[str, Any]] = []
    if reached:
        keys, float_layers = _pruned(patient, keys, goal, shares)
        after = patient.sqnr(patient.measure(keys))
    elif not reason:
        reason = f"{len(keys)} operations in float brought {after:.1f} dB, and {goal.sqnr_db:.3g} dB are wanted."
    return {
        "reached": reached,
        "keys": keys,
        "kept": float_layers,
        "macs_share": sum(shares[k] for k in keys),
        "before": _finite(before),
        "after": _finite(after),
        "reason": reason,
    }


def _met(patient: _Patient, values: Arrays, goal: Goal) -> bool:
    return patient.sqnr(values) >= goal.sqnr_db + _MARGIN_DB and patient.top1(values) >= goal.top1


def _ranked(patient: _Patient, values: Arrays, keep: Sequence[str]) -> list[str]:
    """Operations still quantized, by the noise they are to blame for, the worst first."""
    levels: dict[str, float] = {}
    for step in patient.steps:
        for name in step.outputs:
            if name in patient.floats and name in values and patient.floats[name].shape == values[name].shape:
                levels[name] = probe.noise(patient.floats[name], values[name], step.channel)
    producers = {name: step for step in patient.steps for name in step.outputs}
    blame: dict[str, float] = {}
    for step in patient.steps:
        after = max((levels[n] for n in step.outputs if n in levels), default=None)
        if after is None:
            continue
        entered = max((levels.get(n, 0.0) for n in step.inputs), default=0.0)
        added = after - entered
        if added <= 0:
            continue
        for key in _to_blame(step, producers, set(keep)):
            blame[key] = max(blame.get(key, 0.0), added)
    return sorted(blame, key=lambda key: -blame[key])


def _to_blame(step: Step, producers: Mapping[str, Step], keep: set[str]) -> list[str]:
    """The step, or where it is float already the nearest quantized ones before it."""
    if step.key not in keep:
        return [step.key]
    keys: list[str] = []
    queue, visited = [step], {step.key}
    while queue:
        for name in queue.pop().inputs:
            producer = producers.get(name)
            if producer is None or producer.key in visited:
                continue
            visited.add(producer.key)
            if producer.key in keep:
                queue.append(producer)
            else:
                keys.append(producer.key)
    return keys


def _pruned(
    patient: _Patient, keys: list[str], goal: Goal, shares: Mapping[str, float]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Takes back each operation that the goal is met without; tells what each of the others buys."""
    remaining = list(keys)
    bought: dict[str, float] = {}
    for key in sorted(keys, key=lambda k: -shares[k]):
        fewer = [k for k in remaining if k != key]
        values = patient.measure(fewer)
        if _met(patient, values, goal):
            remaining = fewer
        else:
            bought[key] = patient.sqnr(values)
    steps = {step.key: step for step in patient.steps}
    return remaining, [
        {
            "key": key,
            "layer": layer_of(steps[key].name, patient.layers),
            "operation": steps[key].kind,
            "macs_share": shares[key],
            "sqnr_db_without": _finite(bought.get(key, 0.0)),
        }
        for key in remaining
    ]


def _sqnr(floats: Array, got: Array | None) -> float:
    if got is None or got.shape != floats.shape or not np.isfinite(got).all():
        return -99.0
    signal = float(np.square(floats - floats.mean(axis=0), dtype=np.float64).mean())
    error = float(np.square(floats - got, dtype=np.float64).mean())
    if error == 0:
        return 99.0
    return 10 * math.log10(signal / error) if signal > 0 else -99.0


def _finite(value: float) -> float:
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
