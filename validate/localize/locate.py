"""Where does a candidate part from its checkpoint? The parent's side."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.errors import CrashError, RefusedError, ResourceError, StepError, UsageError
from converters.formats import Format, Precision, format_of, precision_in_name
from converters.isolation import Message, run_step
from validate.agreement.arrays import path_of, read
from validate.agreement.metrics import difference
from validate.localize.align import File
from validate.localize.bisect import Bisection
from validate.localize.blame import Member, broken_member
from validate.localize.reading import LIMIT, Layers, Reading, Twin
from validate.localize.results import LayerRow, Localization, LocalizeOptions
from validate.runtimes import runtime_name
from validate.runtimes.base import Array

Make = Callable[[Path, Format, Precision, Path], Path]
"""Makes a healthy twin of the candidate from the checkpoint, with the exporter's own converters; where it is to hold
integers it is calibrated on the last, an `.npz` of the very inputs that the layers are compared on."""

OnProgress = Callable[[str, float], None]


def localize(
    reference: Path, candidate: Path, make: Make, options: LocalizeOptions = LocalizeOptions(),
    on_progress: OnProgress = lambda _label, _share: None,
) -> Localization:  # fmt: skip
    """The first layer at which the candidate's values leave the checkpoint's.

    A file's own tensors are read, unfused; which tensor is which layer is told by a healthy twin that `make` makes from
    the checkpoint in the same format and precision, and that also shows what error is honest in each layer. Where
    nothing parts so, and the file as it really runs does, with what its runtime fuses and delegates, it is bisected:
    see `validate.localize.bisect`.

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

    def __call__(self, reference: Path, form: Format, precision: Precision, inputs: Path) -> Path:
        if (form, precision) not in self.twins:
            self.twins[form, precision] = self.make(reference, form, precision, inputs)
        return self.twins[form, precision]


class _Run:
    """One checkpoint, run once, and the candidates that are held against it."""

    def __init__(self, work: Path, options: LocalizeOptions, on_progress: OnProgress) -> None:
        self.work, self.options, self.on_progress = work, options, on_progress
        self._twins: dict[tuple[Format, Precision], Twin] = {}
        self._count = 0

    def _step(self, target: str, request: Message) -> Message:
        options = self.options
        request = {**request, "work": str(self.work), "threads": options.threads}
        return run_step(f"validate.localize.{target}", request, step="localize", limits=options.limits, log=options.log)

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
        arrays = {name: read(self.work, "in", k) for k, name in enumerate(self.input_names)}
        self.inputs = self.work / "inputs.npz"
        np.savez(self.inputs, **arrays)  # type: ignore[arg-type]

    def locate(self, candidate: Path) -> Localization:
        if runtime_name(candidate) == "keras":
            values = self._of_checkpoint(candidate)
            return self._found(candidate, _Seen(values, None, set(values)))
        twin = self._twin(candidate)
        file, notes = self._read(candidate)
        reading = Reading(self.layers, twin.file, file, twin.places, twin.limits, twin.rms)
        if file.tensors:
            values = reading.values()
            found = self._found(candidate, _Seen(values, twin, set(values)))
            if found.first_divergent_layer is not None:
                return found
        really = self._bisected(candidate, twin, reading, notes)
        if not file.tensors or really.first_divergent_layer is not None:
            return really
        return replace(found, notes=really.notes)  # where it could not be cut, that stands there

    def _bisected(self, candidate: Path, twin: Twin, reading: Reading, notes: tuple[str, ...]) -> Localization:
        """The candidate as it really runs."""
        self.on_progress("running the candidate as it really runs", 0.85)
        places = reading.tensors()
        bisection = Bisection(
            self.layers, places, lambda name, value: self._row(name, value, twin).diverges,
            lambda tensors: self._cut(candidate, tensors),
        )  # fmt: skip
        first = bisection.search()
        if first is not None:
            notes = (*notes, f"The file was cut and run as it really runs {bisection.cuts} times.")
        if bisection.failed:
            notes = (*notes, f"It does not run cut at {', '.join(bisection.failed)}.")
        seen = _Seen(bisection.values, twin, set(places), first, bisected=True)
        return self._found(candidate, seen, notes)

    def _cut(self, candidate: Path, tensors: Sequence[str]) -> list[Array] | None:
        stem = self._stem("cut")
        request = {
            "path": str(candidate.resolve()), "stem": stem, "input_names": self.input_names, "tensors": list(tensors)
        }  # fmt: skip
        try:
            self._step("cutting:run_cut", request)
        except (CrashError, StepError):
            return None
        values = [np.load(path_of(self.work, stem, k)) for k in range(len(tensors))]
        for path in self.work.glob(f"{stem}.*.npy"):
            path.unlink()
        return values

    def _found(self, candidate: Path, seen: _Seen, notes: tuple[str, ...] = ()) -> Localization:
        self.on_progress("comparing layers", 0.9)
        rows = tuple(self._row(n, seen.values.get(n), seen.twin) for n in self.layers.names)
        suspects = self._blame(rows, seen)
        if suspects and not seen.bisected:
            self.on_progress("telling local from accumulated error", 0.95)
            rows = self._with_local(rows, seen.values, rms=seen.rms)
        return Localization(
            self.reference, candidate, suspects[0] if suspects else None, suspects[1:], rows, self.samples,
            (*self.notes, *notes), self.options.saturating, seen.bisected,
        )  # fmt: skip

    def _with_local(
        self, rows: tuple[LayerRow, ...], values: Mapping[str, Array], *, rms: bool
    ) -> tuple[LayerRow, ...]:
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
        ratios = {name: self.layers.ratio(name, *error, rms=rms) for name, error in errors.items()}
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

    def _twin(self, candidate: Path) -> Twin:
        precision = self.options.precision or precision_in_name(candidate) or Precision.FLOAT32
        form = format_of(candidate)
        assert form is not None
        if (form, precision) not in self._twins:
            self.on_progress("making a healthy twin", 0.3)
            twin_path = self.make(self.reference, form, precision, self.inputs)
            self.on_progress("running the twin", 0.6)
            self._twins[form, precision] = Twin.of(self._tensors(twin_path), self.layers, precision)
        return self._twins[form, precision]

    def _read(self, candidate: Path) -> tuple[File, tuple[str, ...]]:
        """The candidate's tensors; its operations alone where it is to be bisected, or dies of being read."""
        self.on_progress("running the candidate", 0.75)
        if self.options.bisect:
            return self._tensors(candidate, run=False), ()
        try:
            return self._tensors(candidate), ()
        except (CrashError, StepError, ResourceError) as error:
            file = self._tensors(candidate, run=False)
            return file, (f"Not all tensors of {candidate.name} could be read at once: {error.message}",)

    def _tensors(self, path: Path, *, run: bool = True) -> File:
        stem = self._stem("file")
        request = {"path": str(path.resolve()), "stem": stem, "input_names": self.input_names, "run": run}
        return File.of(self.work, stem, self._step("tensors:read_tensors", request))

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
        signal = float(np.mean(np.square(layers.truths[name], dtype=np.float64)))
        sqnr = math.inf if gap.mean_square == 0 else 10 * math.log10(max(signal, 1e-300) / gap.mean_square)
        return LayerRow(name, kind, ratio, sqnr, limit, ratio > limit)

    def _blame(self, rows: tuple[LayerRow, ...], seen: _Seen) -> tuple[str, ...]:
        """The first layer that parts, or of those fused with it the one that explains what is seen."""
        first = seen.first or next((row.name for row in rows if row.diverges), None)
        if first is None:
            return ()
        value = seen.values[first]
        if value.shape != self.layers.truths[first].shape:
            return (first,)
        group = self.layers.fused_into(first, seen.observable)
        members = [Member(n, self.layers.kinds[n], self.layers.truths[n], self.layers.biased[n]) for n in group]
        usual = LIMIT * self.layers.noise[first]
        tolerance = seen.twin.greatest.get(first, usual) if seen.twin else usual
        return broken_member(members, np.asarray(value), tolerance)


@dataclass(frozen=True)
class _Seen:
    """What was seen of a candidate.

    Attributes:
        twin: None of a candidate that is a checkpoint.
        observable: layers that the file does not fuse into others, whether they were looked at or not.
        first: the first to part, where that is not told by the order of the layers.
    """

    values: Mapping[str, Array]
    twin: Twin | None
    observable: set[str]
    first: str | None = None
    bisected: bool = False

    @property
    def rms(self) -> bool:
        return self.twin is not None and self.twin.rms
