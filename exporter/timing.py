"""The timing of what a run made: every artifact in a process of its own, answers checked against the golden ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.routes import Conversion
from exporter.manifest import GOLDEN
from exporter.options import RunOptions
from validate.latency import Latency, MeasureOptions, Progress, measure
from validate.latency.host import physical_cores
from validate.latency.insight import with_profiles
from validate.latency.tuning import tune


def time_artifacts(
    conversion: Conversion, staging: Path, options: RunOptions, log: Path, progress: Progress
) -> Latency:
    """Times the artifacts, rounds interleaved, as `options.timing` says; see `validate.latency.measure`."""
    golden, asked = staging / GOLDEN, options.timing
    how = MeasureOptions(
        devices=tuple(dict.fromkeys([*options.devices, *options.require])),
        batches=(options.batch or 1,),
        max_seconds=options.max_seconds,
        seed=options.seed,
        golden=golden if golden.is_file() else None,
        limits=options.limits,
        log=log,
        threads=options.threads or (physical_cores(),),
        variants=asked.variants,
        cold_starts=asked.cold_starts,
    )
    paths = [artifact.path for artifact in conversion.artifacts]
    latency = tune(paths, how, progress) if asked.tune else measure(paths, how, progress)
    return with_profiles(latency, how, progress) if asked.profile else latency


def kept_profiles(latency: Latency) -> dict[str, Any]:
    """`profiles` and `peaks` for a manifest's `environment`: groups by layer and by kind, not each operation."""
    if not latency.profiles:
        return {}
    groups = [{key: value for key, value in found.items() if key != "nodes"} for found in latency.profiles]
    return {"profiles": groups, "peaks": list(latency.peaks)}


def kept_settings(latency: Latency) -> dict[str, Any]:
    """`settings` for a manifest's `recommended`: by artifact file, what `--tune` found, with code to paste."""
    return {"settings": {found["artifact"]: found for found in latency.tuned}} if latency.tuned else {}
