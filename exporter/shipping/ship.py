"""The folders of a run's profiles, written when its artifacts were judged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.contract import Contract
from converters.formats import Format, Precision
from converters.reduced_precisions import Conversion
from exporter.manifest.rows import Gate
from exporter.options import RunOptions
from exporter.shipping.microcontroller import c_name, check_outputs, missing_kernels, write_microcontroller
from exporter.shipping.server import write_server
from exporter.shipping.usability import usability
from validate.agreement import Agreement
from validate.agreement.results import ERROR

FOLDERS = {"server": "server", "microcontroller": "microcontroller"}
"""Under the bundle's folder; `files[]` lists what lies in them. What phones take lies next to the other artifacts."""


@dataclass(frozen=True)
class Shipment:
    """The results of a run that are packed; what disagrees with the checkpoint or loses too much is not.

    Attributes:
        model: the name that artifacts begin with.
        agreement: None where nothing was judged.
    """

    model: str
    conversion: Conversion
    contract: Contract
    agreement: Agreement | None

    @property
    def refused(self) -> list[str]:
        verdicts = () if self.agreement is None else self.agreement.first_verdicts
        return sorted(v.artifact.name for v in verdicts if v.missed or v.status == ERROR)

    def artifacts(self, *formats: Format) -> list[Artifact]:
        refused = self.refused
        return [a for a in self.conversion.artifacts if a.format in formats and a.path.name not in refused]


def check_names(profiles: Collection[str], model: str, contract: Contract) -> None:
    """Raises UsageError for names that a profile's language cannot hold: before anything is converted."""
    if "microcontroller" in profiles:
        c_name(model)
        check_outputs(contract)


def ship(options: RunOptions, shipment: Shipment, staging: Path) -> dict[str, Any] | None:
    """Writes the profiles' folders and returns the manifest's `shipping`, by profile; None without any profile."""
    rows: dict[str, Any] = {}
    if "mobile" in options.ship.profiles:
        phones = shipment.artifacts(Format.TFLITE, Format.ORT)
        base = shipment.conversion.bases.get(Format.ORT)
        rows["mobile"] = {"usability": usability(phones, base, options.common.limits, options.common.log)}
    if "server" in options.ship.profiles:
        artifacts = shipment.artifacts(Format.ONNX, Format.SAVEDMODEL)
        rows["server"] = write_server(staging / FOLDERS["server"], shipment.model, artifacts, shipment.contract)
    if "microcontroller" in options.ship.profiles:
        folder = staging / FOLDERS["microcontroller"]
        boards = [a for a in shipment.artifacts(Format.TFLITE) if a.precision is Precision.INT8]
        rows["microcontroller"] = [write_microcontroller(folder, shipment.model, a, shipment.contract) for a in boards]
    if rows and shipment.refused:
        rows["left_out"] = shipment.refused
    return rows or None


def board_gates(profiles: Collection[str], conversion: Conversion) -> dict[str, Gate]:
    """By file name, a gate of its own for int8 files that are to run on a board: TFLM has all of their kernels."""
    if "microcontroller" not in profiles:
        return {}
    gates = {}
    for artifact in conversion.artifacts:
        if artifact.format is Format.TFLITE and artifact.precision is Precision.INT8:
            missing = missing_kernels(artifact.path)
            reason = (
                f"TensorFlow Lite for Microcontrollers has no kernel for {', '.join(missing)}."
                if missing
                else "TensorFlow Lite for Microcontrollers has all of its kernels."
            )
            gates[artifact.path.name] = Gate(gate="microcontroller", passed=not missing, reason=reason)
    return gates
