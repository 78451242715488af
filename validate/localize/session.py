"""A checkpoint's layers, and the candidates that are held against them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.arrays import Array
from converters.formats import Format, Precision, format_of
from converters.progress import Progress
from converters.readers.precision import known_precision
from validate.agreement.arrays import read
from validate.agreement.judging.metrics import difference
from validate.localize.align import File
from validate.localize.bisect import Bisection
from validate.localize.fused_layer import Member, broken_member
from validate.localize.input_range_search import Reach
from validate.localize.requests import WorkerRequests
from validate.localize.results import LayerRow, Localization, LocalizeJob
from validate.localize.tensor_match import LIMIT, Layers, Reading, Twin
from validate.runtimes import runtime_name


def precision_of(candidate: Path, job: LocalizeJob) -> Precision:
    """The job's precision, or the one that the file's tensors tell."""
    return job.precision or known_precision(candidate) or Precision.FLOAT32


class Session:
    """One checkpoint, run once, and the candidates that are held against it."""

    def __init__(
        self,
        requests: WorkerRequests,
        beyond: str,
        make: Callable[[Format, Precision, Path], Path],
        on_progress: Progress,
    ) -> None:
        self.requests, self.job = requests, requests.job
        self.beyond, self.make, self.on_progress = beyond, make, on_progress
        self._twins: dict[tuple[Format, Precision], Twin] = {}
        on_progress("running the checkpoint", 0.0)
        document = requests.checkpoint(beyond)
        self.samples, self.notes = int(document["samples"]), tuple(document["notes"])
        self.reach = Reach.of(document)
        self.layers = Layers(requests.work, document)
        self.inputs = requests.work / "inputs.npz"
        arrays = {name: read(requests.work, "in", k) for k, name in enumerate(requests.input_names)}
        np.savez(self.inputs, **arrays)  # type: ignore[arg-type]

    def locate(self, candidate: Path) -> Localization:
        """The first layer at which this candidate parts. Raises EdgeportError: a worker failed."""
        self.on_progress("running the candidate", 0.5)
        if runtime_name(candidate) == "keras":
            values = {n: v for n, v in self.requests.other_checkpoint(candidate).items() if n in self.layers.truths}
            return self._localization(candidate, _Observation(values, None, set(values)))
        twin = self._twin(candidate)
        self.on_progress("running the candidate", 0.75)
        file, notes = self.requests.readable(candidate)
        try:
            return self._read(candidate, twin, file, notes)
        finally:
            self.requests.forget(file)

    def _read(self, candidate: Path, twin: Twin, file: File, notes: tuple[str, ...]) -> Localization:
        """Localizes by the file's tensors; where these show no fault, as the file really runs."""
        reading = Reading(self.layers, twin.file, file, twin.places, twin.limits, twin.rms)
        if file.tensors:
            values = reading.values()
            by_tensors = self._localization(candidate, _Observation(values, twin, set(values)))
            if by_tensors.first_divergent_layer is not None:
                return by_tensors
        by_bisection = self._bisected(candidate, twin, reading, notes)
        if not file.tensors or by_bisection.first_divergent_layer is not None:
            return by_bisection
        return replace(by_tensors, notes=by_bisection.notes)  # where it could not be cut, that stands there

    def _bisected(self, candidate: Path, twin: Twin, reading: Reading, notes: tuple[str, ...]) -> Localization:
        """Localizes in the candidate as it really runs."""
        self.on_progress("running the candidate as it really runs", 0.85)
        places = reading.tensors()
        bisection = Bisection(
            self.layers,
            places,
            lambda name, value: self._row(name, value, twin).diverges,
            lambda tensors: self.requests.cut(candidate, tensors),
        )
        first = bisection.search()
        if first is not None:
            notes = (*notes, f"The file was cut and run as it really runs {bisection.cuts} times.")
        if bisection.failed:
            notes = (*notes, f"It does not run cut at {', '.join(bisection.failed)}.")
        observation = _Observation(bisection.values, twin, set(places), first, bisected=True)
        return self._localization(candidate, observation, notes)

    def _localization(self, candidate: Path, observation: _Observation, notes: tuple[str, ...] = ()) -> Localization:
        self.on_progress("comparing layers", 0.9)
        rows = tuple(self._row(n, observation.values.get(n), observation.twin) for n in self.layers.names)
        suspects = self._blame(rows, observation)
        if suspects and not observation.bisected:
            self.on_progress("telling local from accumulated error", 0.95)
            rows = self._with_local(rows, observation.values, rms=observation.rms)
        return Localization(
            self.requests.reference,
            candidate,
            suspects[0] if suspects else None,
            suspects[1:],
            rows,
            self.samples,
            (*self.notes, *notes, *self._input_notes(has_suspects=bool(suspects))),
            bool(self.beyond),
            observation.bisected,
        )

    def _input_notes(self, *, has_suspects: bool) -> list[str]:
        """Notes on inputs beyond the range, or, where nothing parts, on faults that the inputs could not show."""
        notes = [f"Nothing parts within the range of the inputs; here they go beyond it: {self.reach.inputs}."]
        if has_suspects:
            return notes if self.beyond else []
        unshown = self.reach.unshown()
        return [] if unshown is None else [unshown]

    def _with_local(
        self, rows: tuple[LayerRow, ...], values: Mapping[str, Array], *, rms: bool
    ) -> tuple[LayerRow, ...]:
        """The rows with the error that each parting layer adds itself."""
        layers = self.layers
        shapes = {name for name, value in values.items() if value.shape == layers.truths[name].shape}
        targets = [row.name for row in rows if row.diverges and row.name in shapes]
        sources = {*targets, *(before for name in targets for before in layers.feeds(name, shapes))}
        candidate_values = {k: values[name] for k, name in enumerate(layers.names) if name in sources}
        errors = self.requests.local(targets, candidate_values)
        ratios = {name: layers.ratio(name, *error, rms=rms) for name, error in errors.items()}
        return tuple(replace(row, local_ratio=ratios.get(row.name)) for row in rows)

    def _twin(self, candidate: Path) -> Twin:
        precision = precision_of(candidate, self.job)
        form = format_of(candidate)
        assert form is not None
        if (form, precision) not in self._twins:
            self.on_progress("making a healthy twin", 0.3)
            twin_path = self.make(form, precision, self.inputs)
            self.on_progress("running the twin", 0.6)
            self._twins[form, precision] = Twin.of(self.requests.tensors(twin_path), self.layers, precision)
        return self._twins[form, precision]

    def _row(self, name: str, value: Array | None, twin: Twin | None) -> LayerRow:
        layers = self.layers
        kind, limit = layers.kinds[name], twin.limits.get(name, LIMIT) if twin else LIMIT
        if value is None:
            return LayerRow(name, kind, None, None, None, False)
        if value.shape != layers.truths[name].shape:
            return LayerRow(name, kind, math.inf, -math.inf, limit, True)
        gap = difference(value, layers.truths[name])
        rms = twin is not None and twin.rms
        ratio = math.inf if gap.nonfinite else layers.ratio(name, gap.max_abs, gap.mean_square, rms=rms)
        sqnr = math.inf if gap.mean_square == 0 else 10 * math.log10(max(layers.signal[name], 1e-300) / gap.mean_square)
        return LayerRow(name, kind, ratio, sqnr, limit, ratio > limit)

    def _blame(self, rows: tuple[LayerRow, ...], observation: _Observation) -> tuple[str, ...]:
        """The first layer that parts, or of those fused with it the one that explains the observed value."""
        first = observation.first or next((row.name for row in rows if row.diverges), None)
        if first is None:
            return ()
        value = observation.values[first]
        if value.shape != self.layers.truths[first].shape:
            return (first,)
        group = self.layers.fused_into(first, observation.observable)
        members = [Member(n, self.layers.kinds[n], self.layers.truths[n], self.layers.biased[n]) for n in group]
        default = LIMIT * self.layers.noise[first]
        tolerance = observation.twin.max_abs.get(first, default) if observation.twin else default
        return broken_member(members, np.asarray(value), tolerance)


@dataclass(frozen=True)
class _Observation:
    """A candidate's values by layer.

    Attributes:
        twin: None of a candidate that is a checkpoint.
        observable: layers that the file does not fuse into others, whether they were looked at or not.
        first: the first to part, where the order of the layers does not say.
    """

    values: Mapping[str, Array]
    twin: Twin | None
    observable: set[str]
    first: str | None = None
    bisected: bool = False

    @property
    def rms(self) -> bool:
        return self.twin is not None and self.twin.rms
