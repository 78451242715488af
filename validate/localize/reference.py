"""The checkpoint's side: what every layer gives, in float64 and in float32. Worker side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.checkpoints.loading import Loaded, loaded_model
from converters.checkpoints.opening import Opening
from converters.isolation import Channel, Message
from validate.agreement.arrays import path_of, read
from validate.agreement.metrics import difference
from validate.agreement.oracle import NoOracleError, float64_clone, float64_default
from validate.agreement.recording import Record, predecessors, recording
from validate.agreement.workers import inputs_that_run
from validate.inputs import STRUCTURED, beside
from validate.runtimes import Arrays, RuntimeOptions
from validate.runtimes.base import failed
from validate.runtimes.keras import KerasRuntime

_BYTES = 256 << 20
"""Of one side's float64 values of all layers, all samples together."""


class RecordedModel:
    """A model traced with every layer's output."""

    def __init__(self, loaded: Loaded) -> None:
        import tensorflow as tf

        self.loaded = loaded
        specs = [
            tf.TensorSpec([None if isinstance(d, str) else d for d in spec.shape], spec.dtype)
            for spec in loaded.signature.inputs
        ]
        with recording() as records:
            traced = tf.compat.v1.wrap_function(lambda *tensors: list(loaded.function(list(tensors))), specs)
        self.records: list[Record] = records
        self._traced = traced
        self._function = traced.prune(list(traced.inputs[: len(specs)]), [record.tensor for record in records])

    def between(self, before: Sequence[str], name: str, values: Sequence[Any]) -> Any:
        """A layer's output where the layers before it give these values."""
        import tensorflow as tf

        tensors = {record.name: record.tensor for record in self.records}
        alone = self._traced.prune([tensors[other] for other in before], [tensors[name]])
        feeds = (tf.constant(value, tensors[other].dtype) for value, other in zip(values, before, strict=True))
        return alone(*feeds)[0].numpy()

    def run(self, inputs: Sequence[Any]) -> Arrays:
        """Every record's value by name, for inputs in signature order."""
        import tensorflow as tf

        specs = self.loaded.signature.inputs
        feeds = [tf.constant(value, dtype=spec.dtype) for value, spec in zip(inputs, specs, strict=True)]
        values = self._function(*feeds)
        return {record.name: value.numpy() for record, value in zip(self.records, values, strict=True)}


def run_reference(request: Message, channel: Channel) -> Message:
    """Writes the inputs, `exact.<k>.npy` and `plain.<k>.npy` for the k-th layer under `work`.

    Returns:
        `signature`, `layers` (name, kind, predecessors), `samples`, `oracle` (False: float32 stands in) and `notes`.
    """
    work, path = Path(request["work"]), Path(request["path"])
    runtime = _opened(path, request)
    plain = RecordedModel(runtime.loaded)
    given = inputs_that_run(request, runtime, runtime.signature)
    if request["beyond"]:
        wider = beside(given.arrays, given.ranges, request["seed"], given.samples)
        given = replace(given, arrays={name: array[STRUCTURED:] for name, array in wider.items()})
    arrays = [given.arrays[name] for name in runtime.signature.input_names]
    try:
        one = plain.run([array[:1] for array in arrays])
    except Exception as cause:
        failed(path, cause)
    row_bytes = 8 * sum(value.size for value in one.values())
    samples = max(1, min(given.samples, _BYTES // max(1, row_bytes)))
    few = [array[:samples] for array in arrays]
    for k, array in enumerate(few):
        np.save(path_of(work, "in", k), array)
    channel.event(fraction=0.2)
    _write(work, "plain", plain.run(few))
    channel.event(fraction=0.4)
    notes = [*given.notes, *runtime.notes]
    reason = _run_oracle(runtime.loaded, few, work)
    if reason is not None:
        notes.append(f"There is no float64 oracle for {path.name}: {reason}.")
    before = predecessors(plain.records)
    return {
        "signature": runtime.signature.to_json(), "samples": samples, "oracle": reason is None, "notes": notes,
        "layers": [[r.name, r.kind, list(before[r.name]), _has_bias(r)] for r in plain.records],
    }  # fmt: skip


def _opened(path: Path, request: Message) -> KerasRuntime:
    opening = Opening.from_json(request["opening"])
    return KerasRuntime(path, RuntimeOptions(threads=request["threads"], opening=opening))


def _has_bias(record: Record) -> bool:
    return bool(getattr(record.operation, "use_bias", False))


def _write(work: Path, stem: str, values: Mapping[str, Any]) -> None:
    for k, value in enumerate(values.values()):
        np.save(path_of(work, stem, k), value)


def _run_oracle(loaded: Loaded, inputs: Sequence[Any], work: Path) -> str | None:
    try:
        with float64_default():
            exact = RecordedModel(loaded_model(float64_clone(loaded.model)))
            values = exact.run(inputs)
    except NoOracleError as cause:
        return str(cause)
    except (TypeError, ValueError, RuntimeError) as cause:  # a layer that mixes float32 constants in
        return " ".join(f"it does not run in float64 ({type(cause).__name__}: {cause})".split())[:300]
    _write(work, "exact", values)
    return None


def run_checkpoint(request: Message, _channel: Channel) -> Message:
    """A candidate that is a checkpoint itself: every layer by its name."""
    work = Path(request["work"])
    runtime = KerasRuntime(Path(request["path"]), RuntimeOptions(threads=request["threads"]))
    recorded = RecordedModel(runtime.loaded)
    arrays = [np.load(path_of(work, "in", k)) for k in range(len(runtime.signature.inputs))]
    _write(work, request["stem"], recorded.run(arrays))
    return {"layers": [record.name for record in recorded.records]}


def measure_local(request: Message, _channel: Channel) -> Message:
    """What each layer itself adds: the float64 layer fed what the candidate held before it, against what that held
    after it.

    Reads `held.<k>.npy` for the k-th layer of the checkpoint, where the candidate holds one.

    Returns:
        `errors`: by layer asked for, the greatest difference and the mean of their squares; a layer that cannot be fed
        alone is not there.
    """
    work, path = Path(request["work"]), Path(request["path"])
    runtime = _opened(path, request)
    try:
        with float64_default():
            exact = RecordedModel(loaded_model(float64_clone(runtime.loaded.model)))
    except (NoOracleError, TypeError, ValueError, RuntimeError):
        return {"errors": {}}
    places = {record.name: k for k, record in enumerate(exact.records)}
    errors = {}
    for name, before in request["layers"].items():
        held = {other: read(work, "held", places[other]) for other in (name, *before)}
        if any(value is None for value in held.values()):
            continue
        try:
            value = exact.between(before, name, [held[other] for other in before])
        except (ValueError, tf_errors()):  # another way leads around what is fed: an input, or a state
            continue
        gap = difference(np.asarray(held[name]), value)
        errors[name] = [gap.max_abs, gap.mean_square]
    return {"errors": errors}


def tf_errors() -> type[Exception]:
    import tensorflow as tf

    found: type[Exception] = tf.errors.OpError
    return found
