"""What a run found out -> the manifest that says it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.checkpoints.checkpoint import Checkpoint
from converters.routes import Conversion, ConvertOptions, Target
from exporter.manifest import SCHEMA, Manifest
from exporter.options import RunOptions
from exporter.reuse import Shelf, key_of
from exporter.sources import Source
from validate.agreement import Agreement
from validate.latency import Latency
from validate.latency.host import host_facts


@dataclass(frozen=True)
class Findings:
    """Everything that the steps of a run returned; None for a step that was left out."""

    source: Source
    checkpoint: Checkpoint
    conversion: Conversion
    agreement: Agreement | None
    latency: Latency | None
    shelf: Shelf


def describe(findings: Findings, staging: Path, options: RunOptions) -> Manifest:
    """The manifest, still without `files[]` and digests. Paths are relative to `staging`."""
    conversion, latency = findings.conversion, findings.latency
    timed = latency.to_json(staging) if latency else {"timings": [], "comparisons": []}
    verdicts = _verdicts(findings.agreement, staging)
    assert conversion.signature is not None
    return Manifest.from_document({
        "schema": SCHEMA,
        "tool": {"name": "edgeport", "version": version("edgeport"), "command": list(options.command)},
        "source": {
            "path": findings.source.given,
            "kind": findings.source.kind,
            "sha256": findings.checkpoint.sha256,
            "parameters": conversion.parameters,
        },
        "signature": conversion.signature.to_json(),
        "preprocessing": _preprocessing(findings.agreement),
        "artifacts": [_artifact_row(artifact, findings, staging, options) for artifact in conversion.artifacts],
        "failures": [failure.to_json() for failure in conversion.failures],
        "verdicts": verdicts,
        "timings": timed["timings"],
        "comparisons": timed["comparisons"],
        "recommended": _recommended(conversion, verdicts, timed["timings"]),
        "environment": {
            "host": latency.host if latency else host_facts(),
            **({"noise": timed["noise"], "controls": timed["controls"]} if latency else {}),
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    })  # fmt: skip


def _artifact_row(artifact: Artifact, findings: Findings, staging: Path, options: RunOptions) -> dict[str, Any]:
    """The row, with the key by which a later run finds the artifact again."""
    conversion = findings.conversion
    asked = ConvertOptions((), batch=options.batch, opset=options.opset, allow_flex=options.allow_flex)
    return artifact.to_json(staging) | {
        "reused": artifact.path.name in findings.shelf.reused,
        "notes": [*conversion.notes, *artifact.notes],
        "own_notes": list(artifact.notes),
        "model_notes": list(conversion.notes),
        "key": key_of(findings.checkpoint, Target(artifact.format, artifact.precision), asked),
    }


def _verdicts(agreement: Agreement | None, staging: Path) -> list[dict[str, Any]]:
    """The verdict rows, with what they were judged on."""
    if agreement is None:
        return []
    document = agreement.to_json()
    judged_on = {key: document[key] for key in ("samples", "seed", "input_range", "oracle_samples")}
    reference = {"reference_accuracy": document["reference_accuracy"]} if document["reference_accuracy"] else {}
    return [
        verdict.to_json() | {"artifact": verdict.artifact.relative_to(staging).as_posix()} | judged_on | reference
        for verdict in agreement.verdicts
    ]


def _preprocessing(agreement: Agreement | None) -> dict[str, Any] | None:
    """What each input expects: the range of its raw values, and where that is known from."""
    if agreement is None:
        return None
    return {name: limits.to_json() for name, limits in agreement.ranges.items()}


def _recommended(
    conversion: Conversion, verdicts: list[dict[str, Any]], timings: list[dict[str, Any]]
) -> dict[str, Any]:
    """The smallest artifact that passed, and the fastest one on each device."""
    passed = {row["artifact"] for row in verdicts if row["status"] == "agree"}
    sizes = {Path(a.path).name: a.size_bytes for a in conversion.artifacts}
    if not passed:
        return {}
    chosen: dict[str, Any] = {"smallest": min(sorted(passed), key=lambda path: sizes[path])}
    fastest: dict[str, dict[str, Any]] = {}
    for row in timings:
        if row["status"] == "ok" and row["artifact"] in passed:
            best = fastest.get(row["device"])
            if best is None or row["p50_ms"]["value"] < best["p50_ms"]["value"]:
                fastest[row["device"]] = row
    return chosen | {"fastest": {device: row["artifact"] for device, row in fastest.items()}}
