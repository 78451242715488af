"""Where does a candidate part from its checkpoint? The parent's side."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.errors import RefusedError, UsageError
from converters.formats import Format, Precision, format_of, precision_in_name
from converters.isolation import Message, run_step
from validate.agreement.arrays import path_of, read
from validate.agreement.gates import GATES
from validate.agreement.metrics import difference
from validate.localize.align import File, match_by_value
from validate.localize.blame import Member, broken_member
from validate.localize.reading import Layers, Reading, in_layout
from validate.localize.results import LayerRow, Localization, LocalizeOptions
from validate.runtimes import runtime_name
from validate.runtimes.base import Array

Make = Callable[[Path, Format, Precision], Path]
"""Makes a healthy twin of the candidate from the checkpoint, with the exporter's own converters."""

OnProgress = Callable[[str, float], None]

_LIMIT = GATES[Precision.FLOAT32].noise_ratio or 4.0
_MATCH = {Precision.FLOAT32: 1e-3, Precision.FLOAT16: 0.05}
"""How close, relative and rms, a tensor of the healthy twin lies to the layer that it holds; 0.3 where quantized."""


def localize(
    reference: Path, candidate: Path, make: Make, options: LocalizeOptions = LocalizeOptions(),
    on_progress: OnProgress = lambda _label, _share: None,
) -> Localization:  # fmt: skip
    """The first layer at which the candidate's values leave the checkpoint's.

    A file's own tensors are read, unfused; which tensor is which layer is told by a healthy twin that `make` makes from
    the checkpoint in the same format and precision, and that also shows what error is honest in each layer.

    Raises:
        UsageError: a path is not there.
        RefusedError: the reference is no Keras checkpoint, or a file is damaged.
        EdgeportError: a worker failed.
    """
    return localize_each(reference, [candidate], make, options, on_progress)[0]


def localize_each(
    reference: Path, candidates: Sequence[Path], make: Make, options: LocalizeOptions = LocalizeOptions(),
    on_progress: OnProgress = lambda _label, _share: None,
) -> tuple[Localization, ...]:  # fmt: skip
    """`localize` for several candidates of one checkpoint, which runs once, and is made into one twin of a kind."""
    for path in (reference, *candidates):
        if not path.exists():
            raise UsageError(f"{path} is not there.", next_step="Check the path.", file=path)
    if runtime_name(reference) != "keras" or reference.suffix.lower() == ".pb":  # a graph has no layers
        raise RefusedError(
            f"{reference} is no Keras checkpoint: only that has layers to name.",
            next_step="Give the .keras or .h5 file that the candidate was made from.", file=reference,
        )  # fmt: skip
    twins: dict[tuple[Format, Precision], Path] = {}
    found = _pass(reference, candidates, _Kept(make, twins), options, on_progress)
    silent = [result.candidate for result in found if result.first_divergent_layer is None]
    if not silent or options.inputs is not None:
        return found
    beyond = _pass(reference, silent, _Kept(make, twins), replace(options, saturating=True), on_progress)
    louder = {result.candidate: result for result in beyond if result.first_divergent_layer is not None}
    return tuple(louder.get(result.candidate, result) for result in found)


def _pass(
    reference: Path, candidates: Sequence[Path], make: Make, options: LocalizeOptions, on_progress: OnProgress
) -> tuple[Localization, ...]:  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="edgeport-localize-") as folder:
        run = _Run(Path(folder), options, on_progress)
        run.start(reference, make)
        return tuple(run.locate(candidate) for candidate in candidates)


@dataclass(frozen=True)
class _Kept:
    """Makes each twin once for both passes."""

    make: Make
    twins: dict[tuple[Format, Precision], Path]

    def __call__(self, reference: Path, form: Format, precision: Precision) -> Path:
        if (form, precision) not in self.twins:
            self.twins[form, precision] = self.make(reference, form, precision)
        return self.twins[form, precision]


class _Run:
    """One checkpoint, run once, and the candidates that are held against it."""

    def __init__(self, work: Path, options: LocalizeOptions, on_progress: OnProgress) -> None:
        self.work, self.options, self.on_progress = work, options, on_progress
        self._twins: dict[tuple[Format, Precision], _Twin] = {}
        self._count = 0

    def _step(self, target: str, request: Message) -> Message:
        options = self.options
        request = {**request, "work": str(self.work), "threads": options.threads}
        return run_step(
            f"validate.localize.{target}", request, step="localize", limits=options.limits, log=options.log
        )

    def start(self, reference: Path, make: Make) -> None:
        """Runs the checkpoint and its oracle."""
        options = self.options
        self.reference, self.make = reference, make
        self.on_progress("running the checkpoint", 0.0)
        document = self._step("reference:run_reference", {
            "path": str(reference.resolve()), "samples": options.samples, "seed": options.seed,
            "inputs": str(options.inputs.resolve()) if options.inputs else None,
            "input_range": list(options.input_range) if options.input_range else None, "beyond": options.saturating,
            "opening": options.opening.to_json(),
        })  # fmt: skip
        self.samples, self.notes = int(document["samples"]), tuple(document["notes"])
        self.input_names = [spec["name"] for spec in document["signature"]["inputs"]]
        self.layers = Layers(self.work, document)

    def locate(self, candidate: Path) -> Localization:
        limits: dict[str, float] = {}
        if runtime_name(candidate) == "keras":
            values = self._of_checkpoint(candidate)
        else:
            values, limits = self._of_file(candidate)
        self.on_progress("comparing layers", 0.9)
        rows = tuple(self._row(name, values.get(name), limits.get(name, _LIMIT)) for name in self.layers.names)
        suspects = self._blame(rows, values, limits)
        if suspects:
            self.on_progress("telling local from accumulated error", 0.95)
            rows = self._with_local(rows, values)
        return Localization(
            self.reference, candidate, suspects[0] if suspects else None, suspects[1:], rows, self.samples, self.notes,
            self.options.saturating,
        )  # fmt: skip

    def _with_local(self, rows: tuple[LayerRow, ...], values: Mapping[str, Array]) -> tuple[LayerRow, ...]:
        """What each layer that parts adds itself."""
        shapes = {name for name, value in values.items() if value.shape == self.layers.truths[name].shape}
        wanted = {row.name: self.layers.feeds(row.name, shapes) for row in rows if row.diverges and row.name in shapes}
        wanted = {name: before for name, before in wanted.items() if before}
        held = {name for entry in wanted.items() for name in (entry[0], *entry[1])}
        for k, name in enumerate(self.layers.names):
            if name in held:
                np.save(path_of(self.work, "held", k), values[name])
        opening = self.options.opening.to_json()
        request = {"path": str(self.reference.resolve()), "layers": wanted, "opening": opening}
        errors = self._step("reference:measure_local", request)["errors"]
        for path in self.work.glob("held.*.npy"):
            path.unlink()
        ratios = {name: self.layers.ratio(name, float(error)) for name, error in errors.items()}
        return tuple(replace(row, local_ratio=ratios.get(row.name)) for row in rows)

    def _of_checkpoint(self, candidate: Path) -> dict[str, Array]:
        self.on_progress("running the candidate", 0.5)
        stem = self._stem("cand")
        found = self._step("reference:run_checkpoint", {"path": str(candidate.resolve()), "stem": stem})["layers"]
        values = {name: read(self.work, stem, k) for k, name in enumerate(found)}
        return {name: value for name, value in values.items() if value is not None and name in self.layers.truths}

    def _stem(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _of_file(self, candidate: Path) -> tuple[dict[str, Array], dict[str, float]]:
        precision = self.options.precision or precision_in_name(candidate) or Precision.FLOAT32
        form = format_of(candidate)
        assert form is not None
        if (form, precision) not in self._twins:
            self.on_progress("making a healthy twin", 0.3)
            twin_path = self.make(self.reference, form, precision)
            self.on_progress("running the twin", 0.6)
            self._twins[form, precision] = _Twin.of(self._tensors(twin_path), self.layers, precision)
        twin = self._twins[form, precision]
        self.on_progress("running the candidate", 0.75)
        reading = Reading(self.layers, twin.file, self._tensors(candidate), twin.places, twin.limits)
        return reading.values(), twin.limits

    def _tensors(self, path: Path) -> File:
        stem = self._stem("file")
        request = {"path": str(path.resolve()), "stem": stem, "input_names": self.input_names}
        return File.of(self.work, stem, self._step("tensors:read_tensors", request))

    def _row(self, name: str, value: Array | None, limit: float) -> LayerRow:
        layers = self.layers
        kind = layers.kinds[name]
        if value is None:
            return LayerRow(name, kind, None, None, None, False)
        if value.shape != layers.truths[name].shape:
            return LayerRow(name, kind, math.inf, -math.inf, limit, True)
        gap = difference(value, layers.truths[name])
        ratio = layers.ratio(name, gap.max_abs) if not gap.nonfinite else math.inf
        signal = float(np.mean(np.square(layers.truths[name], dtype=np.float64)))
        sqnr = math.inf if gap.mean_square == 0 else 10 * math.log10(max(signal, 1e-300) / gap.mean_square)
        return LayerRow(name, kind, ratio, sqnr, limit, ratio > limit)

    def _blame(
        self, rows: tuple[LayerRow, ...], values: Mapping[str, Array], limits: Mapping[str, float]
    ) -> tuple[str, ...]:
        """The first layer that parts, or of those fused with it the one that explains what is seen."""
        first = next((row.name for row in rows if row.diverges), None)
        if first is None:
            return ()
        if values[first].shape != self.layers.truths[first].shape:
            return (first,)
        observed = set(values)
        group = self.layers.fused_into(first, observed)
        members = [Member(n, self.layers.kinds[n], self.layers.truths[n], self.layers.biased[n]) for n in group]
        tolerance = limits.get(first, _LIMIT) * self.layers.noise[first]
        return broken_member(members, np.asarray(values[first]), tolerance)


@dataclass(frozen=True)
class _Twin:
    """A healthy file: which tensor is which layer, and how far each may lie from the oracle."""

    file: File
    places: dict[str, str]
    limits: dict[str, float]

    @classmethod
    def of(cls, file: File, layers: Layers, precision: Precision) -> _Twin:
        places = match_by_value(file, layers.truths, _MATCH.get(precision, 0.3))
        honest = {name: in_layout(file.value(place), layers.truths[name]) for name, place in places.items()}
        ratios = {name: layers.noise_ratio(name, value) for name, value in honest.items()}
        return cls(file, places, {name: _LIMIT * max(1.0, ratio) for name, ratio in ratios.items()})
