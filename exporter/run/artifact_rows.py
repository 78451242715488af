"""Fields of a quantized artifact's row in the manifest: calibration, integers, rescue, gates of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from converters.calibration import Calibration
from converters.checkpoints.checkpoint import Checkpoint
from converters.reduced_precisions import CALIBRATED
from exporter.inspection.executed import count_all, layer_names
from exporter.inspection.nonfinite_weights import finite_gate, nonfinite_weights
from exporter.manifest.rows import CalibrationRow, Gate, IntegerRow, RescueRow
from exporter.options import RunOptions
from exporter.rescue.rescue import Rescued
from exporter.shipping.board import OnBoard

Notes = Mapping[str, tuple[str, ...]]
"""By artifact file name, what its verdict is to note besides."""


@dataclass(frozen=True)
class Details:
    """The fields of one artifact's row that not every artifact has."""

    integer: IntegerRow | None = None
    calibration: CalibrationRow | None = None
    rescue: RescueRow | None = None
    gates: tuple[Gate, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """The fields that have a value."""
        rows = {"integer": self.integer, "calibration": self.calibration, "rescue": self.rescue}
        document: dict[str, Any] = {name: row.to_document() for name, row in rows.items() if row is not None}
        return document | ({"gates": [gate.to_document() for gate in self.gates]} if self.gates else {})


def artifact_details(
    rescued: Rescued,
    calibration: Calibration | None,
    source: Checkpoint,
    options: RunOptions,
    boards: Mapping[str, OnBoard],
) -> dict[str, Details]:
    """By artifact file name, the further fields of its row.

    Args:
        boards: by artifact file name, what TFLM says of those that are to run on boards.
    """
    reports = count_all(rescued.conversion.artifacts, options.common.limits, options.common.log)
    layers = layer_names(source.path) if reports else ()
    strict = options.judge is not None and not options.judge.allow_nonfinite
    nonfinite = nonfinite_weights(source.path, source.kind) if strict else ()
    details = {}
    for artifact in rescued.conversion.artifacts:
        name, calibrated = artifact.path.name, artifact.precision in CALIBRATED
        report, rescue = reports.get(name), rescued.rescues.get(artifact.path)
        integer = IntegerRow.model_validate(report.to_json(layers), strict=False) if report else None
        gates = (
            _fully_integer(integer) if integer and options.quantize.fully_integer and calibrated else None,
            finite_gate(nonfinite) if nonfinite else None,
            boards[name].gate if name in boards else None,
        )
        details[name] = Details(
            integer,
            _calibrated_on(calibration) if calibration is not None and calibrated else None,
            RescueRow.model_validate(rescue.to_json(), strict=False) if rescue else None,
            tuple(gate for gate in gates if gate is not None),
        )
    return details


def _calibrated_on(calibration: Calibration) -> CalibrationRow:
    return CalibrationRow(source=calibration.source, samples=calibration.samples, findings=calibration.findings)


def _fully_integer(integer: IntegerRow) -> Gate:
    islands = [f"{island.layer} ({island.operation})" for island in integer.islands]
    shown = ", ".join(dict.fromkeys(islands[:8])) + (", ..." if len(islands) > 8 else "")
    some = f"{len(islands)} operation{'s compute' if len(islands) > 1 else ' computes'} in float: {shown}."
    return Gate(gate="fully-integer", passed=not islands, reason=some if islands else "All of it is integer.")


def verdict_notes(rescued: Rescued, calibration: Calibration | None) -> dict[str, tuple[str, ...]]:
    """By artifact file name: doubts about the calibration data, and the result of a rescue."""
    notes = {}
    for artifact in rescued.conversion.artifacts:
        doubts = calibration.findings if calibration and artifact.precision in CALIBRATED else ()
        rescue = rescued.rescues.get(artifact.path)
        notes[artifact.path.name] = (*map(str, doubts), *((rescue.sentence,) if rescue else ()))
    return notes
