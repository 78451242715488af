"""The reference held against itself: what Keras gives when it is called, and what TensorFlow's graphs of it give.

A graph may be wrong: Keras' own TimeDistributed over unknown steps is, where the batch differs from the steps. Keras
called eagerly is the truth then. Only a few samples are run, and one of them alone: a wrong graph is wrong on most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays, as_array
from converters.checkpoints.faithful import wrong_in_graphs
from converters.checkpoints.loaded import Call, Loaded
from converters.formats import Precision
from converters.signature import Signature
from validate.agreement.arrays import read
from validate.agreement.judging.gates import FLOOR_ULPS, GATES, ULP
from validate.agreement.judging.metrics import row_errors, row_maxima
from validate.agreement.worker.ensemble import MOVED_STEM
from validate.agreement.worker.layer_recording import recording, recording_values
from validate.agreement.worker.taps import Tapped
from validate.compat.keras import all_layers
from validate.runtimes import fixed_batch

SAMPLES = 3
"""Samples that run eagerly, unless the model takes one batch size alone."""

_WITHOUT_ORACLE = 1e-3
"""Over the maximum value, where no oracle tells float32's noise: a thousand times what one operation rounds."""

_SHOWN = 1e-4
"""Over the greatest value, from where on a layer can be told from its rounding."""


@dataclass(frozen=True)
class Doubt:
    """Where the reference parts from itself.

    Attributes:
        graph_is_wrong: the very graph that is judged by parts from Keras called eagerly.
        note: what is wrong, by how much and from which layer on.
    """

    graph_is_wrong: bool
    note: str


class Eager:
    """A model called eagerly; it gives no logits."""

    def __init__(self, function: Call, signature: Signature) -> None:
        self._function, self._signature = function, signature

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        import tensorflow as tf

        results = self._function([tf.constant(inputs[s.name], dtype=s.dtype) for s in self._signature.inputs])
        return {n: as_array(r.numpy()) for n, r in zip(self._signature.output_names, results, strict=True)}, {}


class EagerTapped(Tapped):
    """A checkpoint whose graph is wrong, called eagerly."""

    def __init__(self, tapped: Tapped) -> None:
        loaded = tapped.loaded
        assert loaded is not None
        self.runtime, self.loaded = tapped.runtime, loaded
        self.kinds = {}
        self._eager = Eager(loaded.function, loaded.signature)

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        return self._eager.run(inputs)


def find_doubt(loaded: Loaded, inputs: Mapping[str, Array], work: Path, noise: Path) -> Doubt | None:
    """Holds what the graph gave (`work`) and Keras' own graph, where edgeport replaced a part of it, against eager
    calls. None of a model whose runs are alike, and of one that cannot be called eagerly.

    Args:
        noise: the folder of what the ensemble gave.
    """
    eager = Eager(loaded.function, loaded.signature)
    count = fixed_batch(loaded.signature) or min(SAMPLES, *(len(array) for array in inputs.values()))
    few = {name: np.ascontiguousarray(array[:count]) for name, array in inputs.items()}
    try:
        truth, alone = eager.run(few)[0], None
        if count > 1 and not (fixed_batch(loaded.signature) or 1) > 1:
            alone = eager.run({name: array[:1] for name, array in few.items()})[0]
    except Exception:  # whatever a user's layer may raise outside of a graph: there is nothing to hold it against
        return None
    comparison = _Comparison(loaded.signature, truth, noise)
    gap = comparison.gap(alone) if alone is not None else None
    if gap is not None:  # runs in other batches differ then, whoever is right
        return Doubt(False, _mixed(gap))
    for stem in ("out", "out1"):
        gap = comparison.gap({n: read(work / "reference", stem, k) for k, n in enumerate(truth)})
        if gap is not None:
            return Doubt(True, _wrong(gap, _parting_layer(loaded.function, loaded.signature, few, eager)))
    return _doubt_of_own_graph(loaded, few, eager, comparison)


def _doubt_of_own_graph(loaded: Loaded, few: Arrays, eager: Eager, comparison: _Comparison) -> Doubt | None:
    """Keras' own graph, which other exporters write; it is run where edgeport is known to replace a part of it."""
    if loaded.structure is None or not wrong_in_graphs(all_layers(loaded.model)):
        return None
    import keras

    arguments = list(loaded.structure.arguments)

    def function(tensors: Sequence[Any]) -> list[Any]:
        packed = keras.tree.pack_sequence_as(arguments, list(tensors))
        return list(keras.tree.flatten(loaded.model(*packed, training=False)))

    count = min(len(array) for array in few.values())
    try:
        graph = _Graph(function, loaded.signature)
        for rows in range(count, 0, -1):  # that of TimeDistributed is right where the rows are as many as the steps
            part = {name: array[:rows] for name, array in few.items()}
            gap = comparison.gap(graph.run(part))
            if gap is not None:
                return Doubt(False, _wrong(gap, _first_apart(graph, part, eager)))
    except Exception:  # a graph that cannot be made or run gives no wrong answer
        return None
    return None


@dataclass(frozen=True)
class _Gap:
    """How far two runs lie apart, where values reach `scale`."""

    error: float
    scale: float


class _Comparison:
    """Tells whether a run parts from the eager one by more than rounding: by the gate that a float32 file is held to,
    and the noise of runs in the same batches, since a graph that depends on its batch knows no noise otherwise."""

    def __init__(self, signature: Signature, truth: Arrays, noise: Path) -> None:
        self._truth = truth
        self._allowed = {name: self._limits(noise, k, truth[name]) for k, name in enumerate(signature.output_names)}

    @staticmethod
    def _limits(folder: Path, k: int, truth: Array) -> Array | None:
        if truth.dtype.kind != "f" or not truth.ndim:
            return None  # whole numbers jump
        maxima = row_maxima(truth)
        noise = read(folder, f"{MOVED_STEM}out", k)
        scale: Array = np.maximum(maxima, np.median(maxima))
        if noise is None:
            return scale * _WITHOUT_ORACLE
        limit = GATES[Precision.FLOAT32].noise_ratio or 0.0
        result: Array = (1 + limit) * np.maximum(
            noise[: len(truth)], FLOOR_ULPS * ULP * scale
        )  # the graph's own noise and the other's
        return result

    def gap(self, outputs: Mapping[str, Array | None]) -> _Gap | None:
        """The greatest of the gaps that are beyond rounding; of as many rows as there are."""
        gaps = []
        for name, allowed in self._allowed.items():
            other = outputs[name]
            if allowed is None or other is None:
                continue
            rows = min(len(other), len(allowed))
            errors = row_errors(other[:rows], self._truth[name][:rows])
            if (errors > allowed[:rows]).any():
                gaps.append(_Gap(float(errors.max()), float(np.abs(self._truth[name]).max())))
        return max(gaps, key=lambda gap: gap.error / (gap.scale or 1.0), default=None)


class _Graph:
    """A function traced, with what each layer gives."""

    def __init__(self, function: Call, signature: Signature) -> None:
        import tensorflow as tf

        self._signature = signature
        specs = [
            tf.TensorSpec([None if isinstance(d, str) else d for d in spec.shape], spec.dtype)
            for spec in signature.inputs
        ]
        with recording() as records:
            traced = tf.compat.v1.wrap_function(lambda *tensors: list(function(list(tensors))), specs)
        self._traced = traced  # keeps the Python functions alive that its graph calls
        self.layers = {record.name: record.kind for record in records}
        self._inputs, self._tensors = list(traced.inputs[: len(specs)]), [record.tensor for record in records]

    def _values(self, fetches: list[Any], inputs: Mapping[str, Array]) -> list[Array]:
        import tensorflow as tf

        function = self._traced.prune(self._inputs, fetches)
        return [r.numpy() for r in function(*(tf.constant(inputs[s.name], s.dtype) for s in self._signature.inputs))]

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        """The outputs alone: TensorFlow joins no operations between which a value is read."""
        return dict(zip(self._signature.output_names, self._values(self._traced.outputs, inputs), strict=True))

    def by_layer(self, inputs: Mapping[str, Array], *, one_by_one: bool) -> Arrays:
        """What each layer gives; `one_by_one` reads each in a run of its own, with all before it joined."""
        if one_by_one:
            values = [self._values([tensor], inputs)[0] for tensor in self._tensors]
        else:
            values = self._values(self._tensors, inputs)
        return dict(zip(self.layers, values, strict=True))


def _parting_layer(function: Call, signature: Signature, few: Arrays, eager: Eager) -> str | None:
    try:
        return _first_apart(_Graph(function, signature), few, eager)
    except Exception:  # the numbers stand without a name
        return None


def _first_apart(graph: _Graph, inputs: Arrays, eager: Eager) -> str | None:
    """The first layer whose values are off by more than the geometric mean of a rounding and the greatest error."""
    with recording_values() as truths:
        eager.run(inputs)
    for one_by_one in (False, True):
        errors = _errors(graph.by_layer(inputs, one_by_one=one_by_one), truths)
        greatest = max(errors.values(), default=0.0)
        if greatest > _SHOWN:
            bound = (ULP * greatest) ** 0.5
            found = next(name for name, error in errors.items() if error > bound)
            return f"{found} ({graph.layers[found]})"
    return None


def _errors(values: Arrays, truths: Arrays) -> dict[str, float]:
    """By layer, the greatest error over the greatest value; 1 for another shape."""
    errors = {}
    for name, truth in truths.items():
        if name in values and values[name].shape != truth.shape:
            errors[name] = 1.0
        elif name in values:
            errors[name] = float(row_errors(values[name], truth).max(initial=0.0)) / (float(np.abs(truth).max()) or 1.0)
    return errors


def _wrong(gap: _Gap, layer: str | None) -> str:
    where = f"from the layer {layer} on " if layer else ""
    return (
        f"TensorFlow's graph of the checkpoint is not what Keras gives when it is called: {where}they part by up to "
        f"{gap.error:.3g} where values reach {gap.scale:.3g}. Files are judged against Keras called eagerly; what "
        "another exporter or model.predict makes of the graph may differ."
    )


def _mixed(gap: _Gap) -> str:
    return (
        "What Keras gives for a sample depends on the other samples of its batch, or changes from call to call: they "
        f"part by up to {gap.error:.3g} where values reach {gap.scale:.3g}."
    )
