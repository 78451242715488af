"""One verdict of many outputs, and of a file that did not run; apart, since a comparison is a story of its own."""

from __future__ import annotations

from pathlib import Path

from converters.errors import EdgeportError
from validate.agreement.losses import KEPT, UNPROVEN
from validate.agreement.results import Ran, Verdict
from validate.agreement.rows import AGREE, DISAGREE, ERROR, INCONCLUSIVE, OutputRow, VerdictStatus
from validate.targets import HOST, Place


def overall(rows: tuple[OutputRow, ...]) -> tuple[VerdictStatus, str]:
    """The worst of the outputs, and its reason."""
    for status in (DISAGREE, INCONCLUSIVE):
        rows_of_status = [row for row in rows if row.status == status]
        if rows_of_status:
            return status, "; ".join(f"{row.name}: {row.reason}" for row in rows_of_status)
    if all(row.gate.dead_passes for row in rows):
        return INCONCLUSIVE, "all that the checkpoint gives are constants, and a dead model would pass too"
    worst = max(rows, key=lambda row: row.noise_ratio or 0.0)
    return AGREE, f"{worst.name}: {worst.reason}"


def settled(row: OutputRow) -> bool:
    """Whether more runs of the ensemble could not turn what the first ones say of an output.

    They can only raise float32's noise. So an error that keeps to the gate goes on to, and a decision that is a tie, or
    has not changed, stays so; a constant that passes by less noise passes by more.
    """
    inconclusive, loss = row.status == INCONCLUSIVE, row.loss
    if row.gate.measure == "noise_ratio" and row.status != AGREE and not inconclusive:
        return False
    if loss is None or loss.status == KEPT or (inconclusive and loss.status == UNPROVEN):
        return True
    return loss.changed is None or not loss.changed.count


def error_verdict(path: Path, error: EdgeportError, place: Place = HOST) -> Verdict:
    return Verdict(path, ERROR, f"{error.message} {error.next_step}", error=error.to_json(), ran=Ran(place))
