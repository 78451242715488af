"""What the manifest says of a quantized artifact beyond its format: calibration, integers, rescue, gates of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.calibration import Calibration
from converters.checkpoints.checkpoint import Checkpoint
from converters.derive import CALIBRATED
from exporter.finite import finite_gate, nonfinite_weights
from exporter.inspection.executed import count_all, layer_names
from exporter.options import RunOptions
from exporter.rescue import Rescued
from exporter.shipping.ship import board_gates

Details = dict[str, dict[str, Any]]
"""By artifact file name, further fields of its row."""


def artifact_details(
    rescued: Rescued, calibration: Calibration | None, source: Checkpoint, options: RunOptions
) -> Details:
    """Further fields of the artifacts' rows: `calibration`, `integer`, `rescue` and `gates`."""
    details: Details = {}
    boards = board_gates(options.ship.profiles, rescued.conversion)
    reports = count_all(rescued.conversion.artifacts, options.common.limits, options.common.log)
    layers = layer_names(source.path) if reports else ()
    strict = options.judge is not None and not options.judge.allow_nonfinite
    nonfinite = nonfinite_weights(source.path, source.kind) if strict else ()
    for artifact in rescued.conversion.artifacts:
        name = artifact.path.name
        row: dict[str, Any] = {}
        calibrated = artifact.precision in CALIBRATED
        if name in reports:
            row["integer"] = reports[name].to_json(layers)
            if options.quantize.fully_integer and calibrated:
                row["gates"] = [_fully_integer(row["integer"])]
        if nonfinite:
            row["gates"] = [*row.get("gates", ()), finite_gate(nonfinite)]
        if name in boards:
            row.setdefault("gates", []).append(boards[name])
        if calibration is not None and calibrated:
            row["calibration"] = _calibrated_on(calibration)
        if artifact.path in rescued.rescues:
            row["rescue"] = rescued.rescues[artifact.path].to_json()
        if row:
            details[name] = row
    return details


def _calibrated_on(calibration: Calibration) -> dict[str, Any]:
    return {
        "source": calibration.source,
        "samples": calibration.samples,
        "findings": [{"name": f.name, "message": f.message, "mend": f.mend} for f in calibration.findings],
    }


def _fully_integer(integer: Mapping[str, Any]) -> dict[str, Any]:
    places = [f"{island['layer']} ({island['operation']})" for island in integer["islands"]]
    shown = ", ".join(dict.fromkeys(places[:8])) + (", ..." if len(places) > 8 else "")
    some = f"{len(places)} operation{'s compute' if len(places) > 1 else ' computes'} in float: {shown}."
    return {"gate": "fully-integer", "passed": not places, "reason": some if places else "All of it is integer."}


def verdict_notes(rescued: Rescued, calibration: Calibration | None) -> Details:
    """By artifact file name, `notes` for its verdict: doubts about the calibration data, and what a rescue came to."""
    notes: Details = {}
    for artifact in rescued.conversion.artifacts:
        said: list[str] = []
        if calibration is not None and artifact.precision in CALIBRATED:
            said += [str(finding) for finding in calibration.findings]
        if artifact.path in rescued.rescues:
            said.append(rescued.rescues[artifact.path].sentence)
        if said:
            notes[artifact.path.name] = {"notes": said}
    return notes
