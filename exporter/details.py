"""What the manifest says of a quantized artifact beyond its format: calibration, integers, rescue, gates of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.calibration import Calibration
from converters.derive import CALIBRATED
from converters.routes import Conversion
from exporter.inspection.executed import count_all, layer_names
from exporter.options import RunOptions
from exporter.rescue import Rescue

Details = dict[str, dict[str, Any]]
"""By artifact file name, further fields of its row."""


def artifact_details(
    conversion: Conversion, checkpoint: Path, calibration: Calibration | None, rescues: Mapping[Path, Rescue],
    options: RunOptions, log: Path,
) -> Details:  # fmt: skip
    """Further fields of the artifacts' rows: `calibration`, `integer`, `rescue` and `gates`."""
    details: Details = {}
    layers = layer_names(checkpoint)
    reports = count_all(conversion.artifacts, options.limits, log)
    for artifact in conversion.artifacts:
        row: dict[str, Any] = {}
        report = reports.get(artifact.path.name)
        if report is not None:
            row["integer"] = report.to_json(layers)
        if calibration is not None and artifact.precision in CALIBRATED:
            row["calibration"] = {
                "source": calibration.source, "samples": calibration.samples,
                "findings": [{"name": f.name, "message": f.message, "mend": f.mend} for f in calibration.findings],
            }  # fmt: skip
        if artifact.path in rescues:
            row["rescue"] = rescues[artifact.path].to_json()
        if options.fully_integer and artifact.precision in CALIBRATED and report is not None:
            row["gates"] = [_fully_integer(row["integer"])]
        if row:
            details[artifact.path.name] = row
    return details


def _fully_integer(integer: Mapping[str, Any]) -> dict[str, Any]:
    places = [f"{island['layer']} ({island['operation']})" for island in integer["islands"]]
    shown = ", ".join(dict.fromkeys(places[:8])) + (", ..." if len(places) > 8 else "")
    some = f"{len(places)} operation{'s compute' if len(places) > 1 else ' computes'} in float: {shown}."
    return {"gate": "fully-integer", "passed": not places, "reason": some if places else "All of it is integer."}


def verdict_notes(conversion: Conversion, calibration: Calibration | None, rescues: Mapping[Path, Rescue]) -> Details:
    """By artifact file name, `notes` for its verdict: doubts about the calibration data, and what a rescue came to."""
    notes: Details = {}
    for artifact in conversion.artifacts:
        said: list[str] = []
        if calibration is not None and artifact.precision in CALIBRATED:
            said += [str(finding) for finding in calibration.findings]
        if artifact.path in rescues:
            said.append(rescues[artifact.path].sentence)
        if said:
            notes[artifact.path.name] = {"notes": said}
    return notes
