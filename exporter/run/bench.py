"""The timing of what a run made: every artifact in a process of its own, answers checked against the golden ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.progress import Progress
from validate.agreement.results import Agreement
from validate.agreement.rows import AGREE, OutputRow, VerdictRow
from validate.latency import BenchJob, Latency, measure
from validate.latency.job import Allowed
from validate.latency.profiling.insight import with_profiles
from validate.latency.tuning import tune
from validate.targets import PlacedFile


def time_artifacts(paths: Sequence[Path], job: BenchJob, progress: Progress) -> Latency:
    """Times the artifacts, rounds interleaved; see `validate.latency.measure`."""
    latency = tune(paths, job, progress) if job.places.tune else measure(paths, job, progress)
    return with_profiles(latency, job, progress) if job.options.profile else latency


def allowed_of(agreement: Agreement | None) -> Allowed:
    """Of each artifact that agrees, by place and output how far from the reference its gate lets values lie, or they
    were found: what is right to the verdict is no wrong answer to the timing."""
    verdicts = agreement.verdicts if agreement is not None else ()
    return allowed_by({verdict.ran.place.of(verdict.artifact): verdict.row for verdict in verdicts})


def allowed_by(verdicts: Mapping[PlacedFile, VerdictRow]) -> Allowed:
    """The same of verdicts as they are written."""
    agreeing = {file: row for file, row in verdicts.items() if row.status == AGREE}
    return {file: {output.name: _allowed(output) for output in row.outputs} for file, row in agreeing.items()}


def _allowed(row: OutputRow) -> float:
    found = row.probability_max_abs if row.basis == "logits" else row.max_abs
    return max(row.gate.allowed or 0.0, found or 0.0)


def kept_profiles(latency: Latency) -> dict[str, Any]:
    """`profiles` and `peaks` for a manifest's `environment`: groups by layer and by kind, not each operation."""
    if not latency.profiles:
        return {}
    groups = [{key: value for key, value in profile.items() if key != "nodes"} for profile in latency.profiles]
    return {"profiles": groups, "peaks": list(latency.peaks)}


def kept_settings(latency: Latency) -> dict[str, Any]:
    """`settings` for a manifest's `recommended`: by artifact file, what `--tune` found, with code to paste."""
    return {"settings": {row["artifact"]: row for row in latency.tuned}} if latency.tuned else {}
