"""The arithmetic of quantized artifacts, their calibration data, and what a rescue kept in float."""

from __future__ import annotations

from typing import Literal

from exporter.manifest.rows import ArtifactRow, CalibrationRow, IntegerRow, RescueRow
from exporter.manifest.schema import Manifest
from exporter.report import wording as say

HEADERS: tuple[tuple[str, Literal["text", "name", "number", "status"]], ...] = (
    ("Artifact", "name"),
    ("Integer multiply-adds", "number"),
    ("Hybrid", "number"),
    ("Float operations", "text"),
    ("Calibrated on", "text"),
    ("Rescue", "text"),
)
NOTE = (
    "Hybrid: integer weights, activations quantized on the fly. Float operations are told by their Keras layer; those "
    "of ONNX files by the graph that ONNX Runtime executes."
)
_SHOWN = 6


def rows(manifest: Manifest) -> list[list[str]]:
    """One row for each artifact that says what it computes in."""
    return [_row(artifact, artifact.integer) for artifact in manifest.artifacts if artifact.integer]


def _row(artifact: ArtifactRow, integer: IntegerRow) -> list[str]:
    calibration, rescue = artifact.calibration, artifact.rescue
    return [
        artifact.path,
        say.percent(integer.integer_macs_share),
        say.percent(integer.hybrid_macs_share),
        _islands(integer),
        _calibrated(calibration) if calibration else say.NONE,
        _rescued(rescue) if rescue else say.NONE,
    ]


def _islands(integer: IntegerRow) -> str:
    names = list(dict.fromkeys(f"{i.layer} ({i.operation})" for i in integer.islands))
    if not names:
        return "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(integer.islands)} of {integer.operations}: {', '.join(names[:_SHOWN])}{more}"


def _calibrated(calibration: CalibrationRow) -> str:
    doubts = ", ".join(finding.name for finding in calibration.findings)
    return calibration.source + (f"; doubts: {doubts}" if doubts else "")


def _rescued(rescue: RescueRow) -> str:
    if not rescue.reached:
        return f"tried and failed: {rescue.reason}"
    layers = ", ".join(f"{row.layer} ({row.sqnr_db_without:.1f} dB without)" for row in rescue.float_layers)
    change = f"{rescue.sqnr_db_before:.1f} to {rescue.sqnr_db_after:.1f} dB"
    return f"{change} with {say.percent(rescue.float_macs_share)} of the multiply-adds in float: {layers}"
