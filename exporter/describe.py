"""What a run found out -> the manifest that says it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from converters import sandbox
from converters.artifact import Artifact
from converters.checkpoints.checkpoint import Checkpoint
from converters.contract import Contract
from converters.formats import Format, Precision
from converters.routes import Conversion, Target
from exporter.details import Details
from exporter.manifest import SCHEMA, Manifest
from exporter.options import RunOptions
from exporter.passing import passing
from exporter.recommend import recommend
from exporter.reuse import Shelf, key_of, reuse_row
from exporter.shipping.profiles import batch_of
from exporter.sources import Source
from exporter.timing import kept_profiles, kept_settings
from validate.agreement import Agreement
from validate.latency import Latency
from validate.latency.host import host_facts


@dataclass(frozen=True)
class Findings:
    """Everything that the steps of a run returned; None for a step that was left out.

    Attributes:
        details: further fields of artifacts' rows, `notes`: of their verdicts; both by file name.
        contract: what a device feeds and reads.
        origin: the checkpoint as it was given, where another was made of it (`--bake-preprocess`).
        shipping: what lies in the profiles' folders.
        localized: layers of artifacts, see `exporter.locating`.
        dropped: files that `-p auto` made and did not keep, with the reason.
    """

    source: Source
    checkpoint: Checkpoint
    conversion: Conversion
    agreement: Agreement | None
    latency: Latency | None
    shelf: Shelf
    details: Details = field(default_factory=dict)
    notes: Details = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    contract: Contract | None = None
    shipping: dict[str, Any] | None = None
    origin: Checkpoint | None = None
    localized: tuple[dict[str, Any], ...] = ()


def describe(findings: Findings, staging: Path, options: RunOptions) -> Manifest:
    """The manifest, still without `files[]` and digests. Paths are relative to `staging`."""
    conversion, latency = findings.conversion, findings.latency
    timed = latency.to_json(staging) if latency else {"timings": [], "comparisons": []}
    verdicts = _verdicts(findings.agreement, staging, findings.notes)
    artifacts = [
        _artifact_row(artifact, findings, staging, options) | findings.details.get(artifact.path.name, {})
        for artifact in conversion.artifacts
    ]
    assert conversion.signature is not None
    described = Manifest.from_document(
        {
            "schema": SCHEMA,
            "tool": {"name": "edgeport", "version": version("edgeport"), "command": list(options.workspace.command)},
            "source": {
                "path": findings.source.given,
                "kind": findings.source.kind,
                "sha256": (findings.origin or findings.checkpoint).sha256,
                "parameters": conversion.parameters,
                "opening": findings.checkpoint.opening.told(),
            },
            "signature": conversion.signature.to_json(),
            "preprocessing": _preprocessing(findings.agreement),
            "contract": findings.contract.to_json() if findings.contract else None,
            "shipping": findings.shipping,
            "artifacts": artifacts,
            "failures": [failure.to_json() for failure in conversion.failures],
            "verdicts": verdicts,
            "timings": timed["timings"],
            "comparisons": timed["comparisons"],
            "environment": {
                "host": latency.host if latency else host_facts(),
                "isolation": sandbox.current(),
                **({"localized": list(findings.localized)} if findings.localized else {}),
                **(
                    {"noise": timed["noise"], "controls": timed["controls"], **kept_profiles(latency)}
                    if latency
                    else {}
                ),
            },
            "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
    )
    allow = options.judge is not None and options.judge.allow_inconclusive
    recommended = recommend(described, options.choice, allow_inconclusive=allow)
    recommended |= {"dropped": findings.dropped} if findings.dropped else {}
    recommended |= kept_settings(latency) if latency else {}
    described = described.model_copy(update={"recommended": recommended})
    return described.model_copy(update={"passing": passing(described, allow_inconclusive=allow)})


def _artifact_row(artifact: Artifact, findings: Findings, staging: Path, options: RunOptions) -> dict[str, Any]:
    """The row, with the key by which a later run finds a float32 artifact again."""
    conversion = findings.conversion
    row = artifact.to_json(staging) | {
        "reused": artifact.path.name in findings.shelf.reused,
        "notes": [*conversion.notes, *artifact.notes],
    }
    if artifact.precision is Precision.FLOAT32 and artifact.format is not Format.ORT:
        batch = batch_of(artifact.format, options)
        asked = replace(options.convert, batch=batch)
        own = conversion if batch == options.convert.batch else replace(conversion, signature=artifact.signature)
        row["reuse"] = reuse_row(artifact, own, key_of(findings.checkpoint, Target.of(artifact), asked))
    return row


def _verdicts(agreement: Agreement | None, staging: Path, notes: Details) -> list[dict[str, Any]]:
    """The verdict rows, with what they were judged on."""
    if agreement is None:
        return []
    document = agreement.to_json()
    judged_on = {key: document[key] for key in ("samples", "seed", "suites", "input_range", "oracle_samples")}
    reference = {"reference_accuracy": document["reference_accuracy"]} if document["reference_accuracy"] else {}
    rows = []
    for verdict in agreement.verdicts:
        row = verdict.to_json()
        row["notes"] = [*row["notes"], *notes.get(verdict.artifact.name, {}).get("notes", ())]
        rows.append(row | {"artifact": verdict.artifact.relative_to(staging).as_posix()} | judged_on | reference)
    return rows


def _preprocessing(agreement: Agreement | None) -> dict[str, Any] | None:
    """What each input expects: the range of its raw values, and where that is known from."""
    if agreement is None:
        return None
    return {name: limits.to_json() for name, limits in agreement.ranges.items()}
