"""What `edgeport bench` is given: artifacts and bundles, options, and where tuned settings are kept."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.common import Common
from converters.errors import RefusedError
from exporter.cli.latency_options import taken_variants
from exporter.cli.running import limits

if TYPE_CHECKING:
    from validate.latency import BenchJob, Latency


def bench_job(chosen: Mapping[str, Any], golden_of: Mapping[Path, Path]) -> BenchJob:
    """The command line's words as a BenchJob. Raises UsageError."""
    from validate.latency import BenchJob, BenchOptions, Device

    threads, batches = (tuple(itertools.chain(*chosen[name])) for name in ("threads", "batches"))
    options = BenchOptions(
        devices=chosen["devices"] or (Device.CPU,),
        threads=threads or None,
        batches=batches or None,
        variants=taken_variants(dict(chosen)),
        **{name: chosen[name] for name in ("cold_starts", "max_seconds", "require")},
        tune=chosen["tuning"],
        profile=chosen["profiling"],
    )
    common = Common(chosen["seed"], limits=limits(chosen["timeout"], chosen["memory_limit"]))
    golden = chosen["golden"]
    return BenchJob(options, common, golden=golden, golden_of={} if golden else golden_of)


def expand(artifacts: Sequence[Path]) -> tuple[list[Path], dict[Path, Path]]:
    """Bundles replaced by their artifacts, and the golden vectors of every artifact that lies in a bundle.

    Raises:
        RefusedError: a manifest is damaged, or lists what lies outside its bundle.
    """
    paths: list[Path] = []
    golden_of: dict[Path, Path] = {}
    for given in artifacts:
        members = _members(given) if (given / "manifest.json").is_file() else [given]
        bundle = given if members != [given] else given.parent
        golden = bundle / "golden.npz"
        if (bundle / "manifest.json").is_file() and golden.is_file():
            golden_of.update(dict.fromkeys(members, golden))
        paths += members
    return paths, golden_of


def keep(bundle: Path, latency: Latency) -> None:
    """Writes `recommended.settings` and `environment.profiles`, seals the manifest again and renders its reports.

    Raises:
        IntegrityError: the manifest does not match its own digest.
    """
    from exporter.bundle import rewrite_reports
    from exporter.bundle.disk import write_file
    from exporter.bundle.staging import locked
    from exporter.manifest import MANIFEST
    from exporter.manifest_file import load
    from exporter.timing import kept_profiles, kept_settings

    with locked(bundle):
        manifest = load(bundle / MANIFEST)
        update = {
            "recommended": manifest.recommended | kept_settings(latency),
            "environment": manifest.environment | kept_profiles(latency),
        }
        write_file(bundle / MANIFEST, manifest.model_copy(update=update).with_files(manifest.files).to_bytes())
    rewrite_reports(bundle)


def _members(bundle: Path) -> list[Path]:
    """The artifacts that a bundle's manifest lists."""
    manifest = bundle / "manifest.json"
    try:
        listed = [Path(row["path"]) for row in json.loads(manifest.read_text(encoding="utf-8"))["artifacts"]]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RefusedError(
            f"{manifest} cannot be read as a manifest ({type(cause).__name__}: {cause}).",
            next_step="Check the bundle with edgeport verify.",
            file=manifest,
        ) from cause
    for path in listed:
        if path.is_absolute() or ".." in path.parts:
            raise RefusedError(
                f"{manifest} lists {path}, which lies outside the bundle.",
                next_step="Do not use this bundle: its manifest was not written by edgeport.",
                file=manifest,
            )
    if not listed:
        raise RefusedError(f"{manifest} lists no artifact.", next_step="Make the bundle again.", file=manifest)
    return [bundle / path for path in listed]
