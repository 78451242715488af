"""The inputs of `edgeport bench`: artifacts and bundles, options, and where tuned settings are kept."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.common import Common
from exporter.cli.bundles import bundle_at
from exporter.cli.latency_options import taken_variants
from exporter.cli.running import limits, places_of, shapes_of
from exporter.manifest.schema import GOLDEN
from validate.targets import PlacedFile, Places

if TYPE_CHECKING:
    from exporter.bundle import Bundle
    from exporter.cli.console import Console
    from validate.agreement.rows import JudgedRow
    from validate.latency import BenchJob, Latency


@dataclass
class Timed:
    """The artifacts to time, and what their bundles say of them.

    Attributes:
        golden_of: the golden vectors of every artifact that lies in a bundle.
        verdicts: of those that were judged there, by place.
    """

    paths: list[Path] = field(default_factory=list)
    golden_of: dict[Path, Path] = field(default_factory=dict)
    verdicts: dict[PlacedFile, JudgedRow] = field(default_factory=dict)


def bench_job(chosen: Mapping[str, Any], timed: Timed) -> BenchJob:
    """The command line's words as a BenchJob. Raises UsageError."""
    from exporter.run.bench import allowed_by
    from validate.latency import BenchJob, BenchOptions

    threads, batches = (tuple(itertools.chain(*chosen[name])) for name in ("threads", "batches"))
    options = BenchOptions(
        threads=threads or None,
        batches=batches or None,
        **{name: chosen[name] for name in ("cold_starts", "max_seconds", "sustain_s")},
        profile=chosen["profiling"],
    )
    words = dict(chosen)
    places = Places(
        **places_of(words), require=chosen["require"], variants=taken_variants(words), tune=chosen["tuning"]
    )
    limited = limits(chosen["timeout"], chosen["memory_limit"])
    common = Common(chosen["seed"], limits=limited, shapes=shapes_of(chosen["shapes"]), signature=chosen["signature"])
    golden = chosen["golden"]
    if golden:  # other samples than those of the verdicts
        return BenchJob(options, common, places, golden=golden)
    allowed = allowed_by(timed.verdicts)
    return BenchJob(options, common, places, golden_of=timed.golden_of, allowed_of=allowed)


def expand(artifacts: Sequence[Path], console: Console) -> Timed:
    """Bundles replaced by their artifacts.

    Raises:
        IntegrityError: a bundle does not verify.
        RefusedError: a bundle holds no artifact.
    """
    timed = Timed()
    for path in artifacts:
        bundle = bundle_at(path, console)
        members = (path,) if bundle is None else bundle.artifacts
        owner = bundle or _around(path, console)
        if owner is not None and owner.golden is not None:
            timed.golden_of.update(dict.fromkeys(members, owner.golden))
        if owner is not None:
            for row in owner.manifest.verdicts:
                file = PlacedFile(owner.folder / row.artifact, row.target, row.setting)
                if file.path in members:
                    timed.verdicts[file] = row
        timed.paths += members
    return timed


def _around(artifact: Path, console: Console) -> Bundle | None:
    """The bundle that lists an artifact which was given by itself."""
    if not (artifact.parent / GOLDEN).is_file():
        return None
    bundle = bundle_at(artifact.parent, console)
    return bundle if bundle is not None and artifact in bundle.artifacts else None


def keep(bundle: Path, latency: Latency) -> None:
    """Writes `recommended.settings` and `environment.profiles`, seals the manifest again and renders its reports.

    Raises:
        IntegrityError: the bundle does not verify any more.
    """
    from exporter.bundle import open_bundle, rewrite_reports
    from exporter.bundle.disk import write_file
    from exporter.bundle.staging import locked
    from exporter.manifest.schema import MANIFEST
    from exporter.run.bench import kept_profiles, kept_settings

    with locked(bundle):
        manifest = open_bundle(bundle).manifest
        update = {
            "recommended": manifest.recommended | kept_settings(latency),
            "environment": manifest.environment | kept_profiles(latency),
        }
        write_file(bundle / MANIFEST, manifest.model_copy(update=update).with_files(manifest.files).to_bytes())
    rewrite_reports(bundle)
