"""The folders of a run's profiles, written when its artifacts were judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.contract import Contract
from converters.formats import Format
from converters.reduced_precisions import Conversion
from exporter.options import RunOptions
from exporter.shipping.board import OnBoard
from exporter.shipping.microcontroller import c_name, check_outputs, write_microcontroller
from exporter.shipping.server import write_server
from exporter.shipping.usability import usability
from validate.agreement import Agreement
from validate.agreement.rows import ERROR

FOLDERS = {"server": "server", "microcontroller": "microcontroller"}
"""Under the bundle's folder; `files[]` lists what lies in them. What phones take lies next to the other artifacts."""


@dataclass(frozen=True)
class Shipment:
    """The results of a run that are packed; what disagrees with the checkpoint or loses too much is not.

    Attributes:
        model: the name that artifacts begin with.
        agreement: None where nothing was judged.
        boards: by file name, what TFLM says of the files that are to run on boards.
    """

    model: str
    conversion: Conversion
    contract: Contract
    agreement: Agreement | None
    boards: Mapping[str, OnBoard] = field(default_factory=dict)

    @property
    def refused(self) -> list[str]:
        verdicts = () if self.agreement is None else self.agreement.first_verdicts
        on_boards = (name for name, board in self.boards.items() if board.refusal)
        return sorted({*(v.artifact.name for v in verdicts if v.missed or v.status == ERROR), *on_boards})

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
        boards = [shipment.boards[a.path.name] for a in shipment.artifacts(*Format) if a.path.name in shipment.boards]
        rows["microcontroller"] = [
            write_microcontroller(folder, shipment.model, board.artifact, shipment.contract, board.measured)
            for board in boards
        ]
    if rows and shipment.refused:
        rows["left_out"] = shipment.refused
    return rows or None
