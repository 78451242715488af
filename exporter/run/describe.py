"""The findings of a run -> its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.calibration import Calibration
from converters.contract import Contract
from converters.facts import Facts
from converters.formats import Format, Precision
from converters.isolation import sandbox
from converters.routes import Target
from exporter.manifest.passing import passing
from exporter.manifest.schema import SCHEMA, Manifest
from exporter.rescue.rescue import Rescued
from exporter.run.artifact_cache import key_of, reuse_row
from exporter.run.artifact_rows import Details, Notes, verdict_notes
from exporter.run.bench import kept_profiles, kept_settings
from exporter.run.localize import Located
from exporter.run.recommend import recommend
from exporter.run.task import Task
from exporter.shipping.board import OnBoard
from exporter.shipping.profiles import batch_of
from validate.agreement import Agreement
from validate.latency import Latency
from validate.latency.host.facts import host_facts
from validate.written import written


@dataclass(frozen=True)
class Findings:
    """The findings of a run's steps; None for a step that was left out.

    Attributes:
        contract: what a device feeds and reads.
        rescued: the artifacts and their verdicts.
        boards: by file name, what TFLM says of the files that are to run on boards.
        shipping: what lies in the profiles' folders.
    """

    facts: Facts
    contract: Contract
    calibration: Calibration | None
    rescued: Rescued
    located: Located
    boards: Mapping[str, OnBoard]
    shipping: dict[str, Any] | None
    latency: Latency | None


def describe(task: Task, findings: Findings, details: Mapping[str, Details]) -> Manifest:
    """The manifest, still without `files[]` and digests. Paths are relative to the staging folder.

    Args:
        details: further fields of artifacts' rows, by file name.
    """
    options, staging, agreement, latency = (
        task.options,
        task.place.staging,
        findings.rescued.agreement,
        findings.latency,
    )
    timings = latency.to_json(staging) if latency else {"timings": [], "comparisons": []}
    verdicts = _verdicts(
        agreement, staging, findings.located.noted(verdict_notes(findings.rescued, findings.calibration))
    )
    artifacts = [
        _artifact_row(artifact, task, findings) | details.get(artifact.path.name, Details()).to_document()
        for artifact in findings.rescued.conversion.artifacts
    ]
    manifest = Manifest.from_document(
        {
            "schema": SCHEMA,
            "tool": {"name": "edgeport", "version": version("edgeport"), "command": list(options.workspace.command)},
            "source": {
                "path": task.source.given,
                "kind": task.source.kind,
                "sha256": task.origin.sha256,
                "parameters": findings.facts.parameters,
                "opening": task.checkpoint.opening.told(),
            },
            "signature": findings.facts.signature.to_json(),
            "preprocessing": _preprocessing(agreement),
            "contract": findings.contract.to_json(),
            "shipping": findings.shipping,
            "artifacts": artifacts,
            "failures": [failure.to_json() for failure in findings.rescued.conversion.failures],
            "verdicts": verdicts,
            "timings": timings["timings"],
            "comparisons": timings["comparisons"],
            "environment": {
                "host": latency.host if latency else host_facts(),
                "isolation": sandbox.current(),
                **({"localized": list(findings.located.rows)} if findings.located.rows else {}),
                **(
                    {"noise": timings["noise"], "controls": timings["controls"], **kept_profiles(latency)}
                    if latency
                    else {}
                ),
            },
            "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
    )
    allow = options.judge is not None and options.judge.allow_inconclusive
    recommended = recommend(manifest, options.choice, allow_inconclusive=allow)
    recommended |= {"dropped": dict(findings.rescued.dropped)} if findings.rescued.dropped else {}
    recommended |= kept_settings(latency) if latency else {}
    manifest = manifest.model_copy(update={"recommended": recommended})
    return manifest.model_copy(update={"passing": passing(manifest, allow_inconclusive=allow)})


def _artifact_row(artifact: Artifact, task: Task, findings: Findings) -> dict[str, Any]:
    """The row, with the key by which a later run finds a float32 artifact again."""
    facts, options = findings.facts, task.options
    row = artifact.to_json(task.place.staging) | {
        "reused": artifact.path.name in findings.rescued.conversion.reused,
        "notes": [*facts.notes, *artifact.notes],
    }
    if artifact.precision is Precision.FLOAT32 and artifact.format is not Format.ORT:
        batch = batch_of(artifact.format, options)
        convert_options = replace(options.convert, batch=batch)
        artifact_facts = facts if batch == options.convert.batch else replace(facts, signature=artifact.signature)
        row["reuse"] = reuse_row(
            artifact, artifact_facts, key_of(task.checkpoint, Target.of(artifact), convert_options)
        )
    return row


def _verdicts(agreement: Agreement | None, staging: Path, notes: Notes) -> list[dict[str, Any]]:
    """The verdict rows, with what else there is to note of their artifacts."""
    rows = agreement.rows(staging) if agreement is not None else ()
    return [written(replace(row, notes=(*row.notes, *notes.get(row.artifact, ())))) for row in rows]


def _preprocessing(agreement: Agreement | None) -> dict[str, Any] | None:
    """By input, the range of its raw values and the source of that range, or of its texts."""
    if agreement is None:
        return None
    return agreement.inputs_told
