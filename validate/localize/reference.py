"""The checkpoint's side: every layer's output, in float64 and in float32. Worker side.

The process stays from one question to the next, and keeps the checkpoint that it opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import loaded_model
from converters.isolation import Channel, Message
from converters.shapes import shapes_text
from validate.agreement.arrays import path_of, read
from validate.agreement.judging.metrics import difference
from validate.agreement.worker.activation_coverage import Extremes, watches
from validate.agreement.worker.inputs_that_run import inputs_that_run
from validate.agreement.worker.layer_recording import Record, predecessors, recording
from validate.agreement.worker.oracle import NoOracleError, float64_clone, float64_default
from validate.compat.keras import OPERATION_CALL
from validate.inputs import STRUCTURED, Inputs, edge_cases, run_shapes, saturated
from validate.localize.input_range_search import widened, widening
from validate.runtimes import RuntimeOptions
from validate.runtimes.base import failed
from validate.runtimes.keras import KerasRuntime

_BYTES = 256 << 20
"""Limit of one side's float64 values of all layers, all samples together."""


class RecordedModel:
    """A model traced with every layer's output."""

    def __init__(self, loaded: Loaded) -> None:
        import tensorflow as tf

        self.loaded = loaded
        self._specs = [
            tf.TensorSpec([None if isinstance(d, str) else d for d in spec.shape], spec.dtype)
            for spec in loaded.signature.inputs
        ]
        OPERATION_CALL.required()  # without it there are no layers to tell apart
        with recording() as records:
            traced = tf.compat.v1.wrap_function(lambda *tensors: list(loaded.function(list(tensors))), self._specs)
        self.records: list[Record] = records
        self._watched = [watch for watch in watches(records) if len(watch.breakpoints) == 1]
        self._traced = traced
        self._function = self._ending_at([record.tensor for record in records])

    def _ending_at(self, tensors: Sequence[Any]) -> Any:
        return self._traced.prune(list(self._traced.inputs[: len(self._specs)]), list(tensors))

    def _constants(self, inputs: Sequence[Any]) -> list[Any]:
        import tensorflow as tf

        specs = self.loaded.signature.inputs
        return [tf.constant(value, dtype=spec.dtype) for value, spec in zip(inputs, specs, strict=True)]

    def run(self, inputs: Sequence[Any]) -> Arrays:
        """Every record's value by name, for inputs in signature order."""
        values = self._function(*self._constants(inputs))
        return {record.name: value.numpy() for record, value in zip(self.records, values, strict=True)}

    @cached_property
    def _extremes(self) -> Any:
        return self._ending_at(Extremes(self._watched).tensors(self._traced.graph)) if self._watched else None

    def heights(self, inputs: Sequence[Any]) -> dict[str, float]:
        """How high the values before each activation without a cap rise, by layer."""
        if self._extremes is None:
            return {}
        _, highs = self._extremes(*self._constants(inputs))
        return {watch.name: float(high) for watch, high in zip(self._watched, highs.numpy(), strict=True)}

    def step_by_step(
        self, inputs: Sequence[Any], candidate_values: Mapping[str, Array], layers: Sequence[str]
    ) -> Arrays:
        """Outputs of these layers where each layer after a candidate value is fed that value, and not the model's own:
        no error that a layer makes goes past the next candidate value. One trace, one run."""
        import tensorflow as tf

        signature, replacements = self.loaded.signature, dict[str, Any]()
        types = {record.name: record.tensor.dtype for record in self.records}
        feeds = [tf.constant(value, types[name]) for name, value in candidate_values.items()]
        specs = [tf.TensorSpec([None, *feed.shape[1:]], feed.dtype) for feed in feeds]

        def call(*tensors: Any) -> list[Any]:
            replacements.update(zip(candidate_values, tensors[len(signature.inputs) :], strict=True))
            return list(self.loaded.function(list(tensors[: len(signature.inputs)])))

        with recording(replacements) as records:
            traced = tf.compat.v1.wrap_function(call, [*self._specs, *specs])
        places = {record.name: record.tensor for record in records}
        count = len(self._specs) + len(specs)
        layer_function = traced.prune(list(traced.inputs[:count]), [places[name] for name in layers])
        values = layer_function(*self._constants(inputs), *feeds)
        return {name: value.numpy() for name, value in zip(layers, values, strict=True)}


class _Checkpoint:
    """Opened once, and traced once in either width."""

    def __init__(self, path: Path, options: RuntimeOptions) -> None:
        self.path = path
        self.runtime = KerasRuntime(path, options)
        self.plain = RecordedModel(self.runtime.loaded)

    @cached_property
    def _exact(self) -> RecordedModel | NoOracleError:
        try:
            with float64_default():
                return RecordedModel(loaded_model(float64_clone(self.runtime.loaded.model)))
        except NoOracleError as cause:
            return cause
        except (TypeError, ValueError, RuntimeError) as cause:  # a layer that mixes float32 constants in
            words = " ".join(f"it does not run in float64 ({type(cause).__name__}: {cause})".split())
            return NoOracleError(words[:300])

    @property
    def exact(self) -> RecordedModel:
        """The float64 oracle. Raises NoOracleError."""
        if isinstance(self._exact, NoOracleError):
            raise self._exact
        return self._exact


@lru_cache(maxsize=1)
def _cached_checkpoint(path: str, opening: str, threads: int) -> _Checkpoint:
    options = RuntimeOptions(threads=threads, opening=LoadOptions.from_json(json.loads(opening)))
    return _Checkpoint(Path(path), options)


def _checkpoint(request: Message) -> _Checkpoint:
    return _cached_checkpoint(request["path"], json.dumps(request["opening"], sort_keys=True), int(request["threads"]))


def run_reference(request: Message, channel: Channel) -> Message:
    """Writes the inputs, `exact.<k>.npy` and `plain.<k>.npy` for the k-th layer under `work`.

    With `beyond` the inputs are drawn from beyond their range: from four times it (`range`), or from as far as every
    activation without a cap needs to rise above any cap that it might have been given (`caps`).

    Returns:
        `signature`, `layers` (name, kind, predecessors, biased), `samples`, `oracle` (False: float32 stands in),
        `ranges`, `heights` (by activation without a cap, what its values rose to) and `notes`.
    """
    work = Path(request["work"])
    checkpoint = _checkpoint(request)
    runtime, plain = checkpoint.runtime, checkpoint.plain
    inputs = inputs_that_run(request, runtime, runtime.loaded, runtime.run)
    if request["beyond"]:
        inputs = _wide_inputs(inputs, plain, request)
    arrays = [inputs.arrays[name] for name in runtime.signature.input_names]
    try:
        one_sample = plain.run([array[:1] for array in arrays])
    except Exception as cause:
        failed(checkpoint.path, cause)
    row_bytes = 8 * sum(value.size for value in one_sample.values())
    samples = max(1, min(inputs.samples, _BYTES // max(1, row_bytes)))
    feeds = [array[:samples] for array in arrays]
    for k, array in enumerate(feeds):
        np.save(path_of(work, "in", k), array)
    channel.event(fraction=0.2)
    _write(work, "plain", one_sample if samples == 1 else plain.run(feeds))
    channel.event(fraction=0.4)
    shapes = shapes_text(run_shapes(runtime.signature, inputs.arrays))
    notes = [*inputs.notes, *runtime.notes, *([f"Sizes that the model leaves open: {shapes}."] if shapes else [])]
    reason = _run_oracle(checkpoint, feeds, work)
    if reason is not None:
        notes.append(f"There is no float64 oracle for {checkpoint.path.name}: {reason}.")
    before = predecessors(plain.records)
    return {
        "signature": runtime.signature.to_json(),
        "samples": samples,
        "oracle": reason is None,
        "notes": notes,
        "layers": [[r.name, r.kind, list(before[r.name]), _has_bias(r)] for r in plain.records],
        "ranges": {name: limits.to_json() for name, limits in inputs.ranges.items()},
        "heights": plain.heights(feeds),
    }


def _wide_inputs(inputs: Inputs, plain: RecordedModel, request: Message) -> Inputs:
    """Inputs from beyond the range, in place of those within it."""
    names = plain.loaded.signature.input_names

    def inputs_at(factor: float, count: int) -> Inputs:
        ranges = widened(inputs.ranges, factor)
        wider = edge_cases(inputs.arrays, ranges, request["seed"], count)
        drawn = {name: replace(r, low=saturated(r)[0], high=saturated(r)[1]) for name, r in ranges.items()}
        return replace(inputs, arrays={name: array[STRUCTURED:] for name, array in wider.items()}, ranges=drawn)

    def heights(factor: float) -> dict[str, float]:
        arrays = inputs_at(factor, 1).arrays
        return plain.heights([arrays[name] for name in names])

    return inputs_at(widening(heights) if request["beyond"] == "caps" else 1.0, inputs.samples)


def _has_bias(record: Record) -> bool:
    return bool(getattr(record.operation, "use_bias", False))


def _write(work: Path, stem: str, values: Mapping[str, Any]) -> None:
    for k, value in enumerate(values.values()):
        np.save(path_of(work, stem, k), value)


def _run_oracle(checkpoint: _Checkpoint, inputs: Sequence[Any], work: Path) -> str | None:
    try:
        values = checkpoint.exact.run(inputs)
    except NoOracleError as cause:
        return str(cause)
    except (TypeError, ValueError, RuntimeError) as cause:
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
    """Error that each layer itself adds: the float64 layer fed what the candidate held before it, against what that
    held after it.

    Reads `held.<k>.npy` for the k-th layer of the checkpoint, where the candidate holds one.

    Returns:
        `errors`: by layer asked for, the largest difference and the mean of their squares; nothing where the layers
        cannot be fed.
    """
    work, checkpoint = Path(request["work"]), _checkpoint(request)
    try:
        exact = checkpoint.exact
        candidate_values = {r.name: v for k, r in enumerate(exact.records) if (v := read(work, "held", k)) is not None}
        inputs = [np.load(path_of(work, "in", k)) for k in range(len(exact.loaded.signature.inputs))]
        with float64_default():
            values = exact.step_by_step(inputs, candidate_values, request["layers"])
    except (NoOracleError, TypeError, ValueError, RuntimeError, tf_errors()):
        return {"errors": {}}
    gaps = {name: difference(candidate_values[name], value) for name, value in values.items()}
    return {"errors": {name: [gap.max_abs, gap.mean_square] for name, gap in gaps.items()}}


def tf_errors() -> type[Exception]:
    import tensorflow as tf

    error_class: type[Exception] = tf.errors.OpError
    return error_class
