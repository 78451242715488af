"""Finds the layer where a candidate parts from its checkpoint. The parent's side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.errors import RefusedError, UsageError
from converters.formats import Format, Precision
from converters.isolation import Standing
from converters.progress import Progress
from validate.localize.requests import WorkerRequests, standing
from validate.localize.results import Localization, LocalizeJob
from validate.localize.session import Session, precision_of
from validate.runtimes import runtime_name

Make = Callable[[Path, Format, Precision, Path], Path]
"""Makes a healthy twin of the candidate from the checkpoint, with the exporter's own converters; where it is to hold
integers it is calibrated on the last, an `.npz` of the very inputs that the layers are compared on."""


def localize(
    reference: Path,
    candidate: Path,
    make: Make,
    job: LocalizeJob = LocalizeJob(),
    on_progress: Progress = lambda _label, _share: None,
) -> Localization:
    """The first layer at which the candidate's values leave the checkpoint's.

    A file's own tensors are read, unfused; a healthy twin tells which tensor is which layer: `make` makes it from
    the checkpoint in the same format and precision, and it also shows the honest error of each layer. Where
    nothing parts so, and the file as it really runs does, with what its runtime fuses and delegates, it is bisected:
    see `validate.localize.bisect`.

    Raises:
        UsageError: a path does not exist.
        RefusedError: the reference is not a Keras checkpoint, or a file is damaged.
        EdgeportError: a worker failed.
    """
    return localize_each(reference, [candidate], make, job, on_progress)[0]


def localize_each(
    reference: Path,
    candidates: Sequence[Path],
    make: Make,
    job: LocalizeJob = LocalizeJob(),
    on_progress: Progress = lambda _label, _share: None,
) -> tuple[Localization, ...]:
    """`localize` for several candidates of one checkpoint, which runs once, and is made into one twin of a kind."""
    for path in (reference, *candidates):
        if not path.exists():
            raise UsageError(f"{path} is not there.", next_step="Check the path.", file=path)
    if runtime_name(reference) != "keras" or reference.suffix.lower() == ".pb":  # a graph has no layers
        raise RefusedError(
            f"{reference} is no Keras checkpoint: only that has layers to name.",
            next_step="Give the .keras or .h5 file that the candidate was made from.",
            file=reference,
        )
    with (
        tempfile.TemporaryDirectory(prefix="edgeport-localize-") as folder,
        standing(job, reference, Path(folder)) as worker,
    ):
        passes = _Passes(Path(folder), reference, worker, job, make, on_progress)
        results = passes.run(candidates, "")
        if job.common.inputs is not None:
            return results
        for beyond, paths in _by_reach(results, job):
            wide_results = {result.candidate: result for result in passes.run(paths, beyond)}
            results = tuple(_with_wide_result(result, wide_results.get(result.candidate)) for result in results)
        return results


def _with_wide_result(result: Localization, wide_result: Localization | None) -> Localization:
    """The result beyond the range where something parts there; else the one within it, with the notes of the other."""
    if wide_result is None or wide_result.first_divergent_layer is not None:
        return wide_result or result
    return replace(result, notes=wide_result.notes)


def _by_reach(results: Sequence[Localization], job: LocalizeJob) -> list[tuple[str, list[Path]]]:
    """For candidates of which nothing parts within the range: how far beyond it to go. Files of reduced precision
    overflow, or are calibrated to nothing, at inputs with which float32 still runs up to a cap."""
    silent = [result.candidate for result in results if result.first_divergent_layer is None]
    wide = [p for p in silent if runtime_name(p) == "keras" or precision_of(p, job) is Precision.FLOAT32]
    groups = [("caps", wide), ("range", [path for path in silent if path not in wide])]
    return [(beyond, paths) for beyond, paths in groups if paths]


@dataclass
class _Passes:
    """One checkpoint, its worker, and the healthy twins that it was made into."""

    folder: Path
    reference: Path
    worker: Standing
    job: LocalizeJob
    make: Make
    on_progress: Progress
    twins: dict[tuple[Format, Precision], Path] = field(default_factory=dict)

    def run(self, candidates: Sequence[Path], beyond: str) -> tuple[Localization, ...]:
        """All candidates on inputs of one kind: see `reference.run_reference`."""
        with tempfile.TemporaryDirectory(dir=self.folder) as work:
            requests = WorkerRequests(Path(work), self.reference, self.job, self.worker)
            session = Session(requests, beyond, self._twin_path, self.on_progress)
            return tuple(session.locate(candidate) for candidate in candidates)

    def _twin_path(self, form: Format, precision: Precision, inputs: Path) -> Path:
        """Each twin is made once for all passes."""
        if (form, precision) not in self.twins:
            self.twins[form, precision] = self.make(self.reference, form, precision, inputs)
        return self.twins[form, precision]
