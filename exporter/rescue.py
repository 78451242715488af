"""Rescue: a precision that missed its gate keeps the layers that hurt it in float, as few as do.

missed gate -> noise of every operation -> the worst one stays float -> make again -> ... -> take back what buys
nothing -> judged again like any other file
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.checkpoints.parts import parts_of
from converters.contract import Contract
from converters.derive import Derived, DeriveJob
from converters.errors import EdgeportError
from converters.formats import Format, Precision
from converters.isolation import run_step
from converters.options import Io
from converters.stamping import stamped
from exporter.inspection.executed import layer_names
from validate.agreement import Agreement, JudgeJob
from validate.agreement.compare import compare
from validate.agreement.gates import gate_for
from validate.agreement.results import DISAGREE

RESCUED = frozenset({Precision.INT8, Precision.INT16X8, Precision.DYNAMIC_INT8, Precision.DYNAMIC_INT4})


@dataclass(frozen=True)
class Goal:
    """When a rescue is done: the gate of the precision, and the share of multiply-adds it may cost."""

    sqnr_db: float
    top1: float
    budget: float


@dataclass(frozen=True)
class Kept:
    """One layer that stays float.

    Attributes:
        sqnr_db_without: of the logits, with this layer quantized again and all others as they are.
    """

    key: str
    layer: str
    operation: str
    macs_share: float
    sqnr_db_without: float

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "operation": self.operation,
            "macs_share": round(self.macs_share, 6),
            "sqnr_db_without": round(self.sqnr_db_without, 2),
        }


@dataclass(frozen=True)
class Rescue:
    """What a rescue came to.

    Attributes:
        reached: the goal is met on the samples that it was tried on; the verdict is given elsewhere.
        sqnr_db: of the logits against the float file: before and after.
    """

    artifact: Path
    reached: bool
    kept: tuple[Kept, ...]
    macs_share: float
    sqnr_db: tuple[float, float]
    reason: str

    def to_json(self) -> dict[str, Any]:
        before, after = (round(value, 2) for value in self.sqnr_db)
        return {
            "reached": self.reached,
            "float_layers": [kept.to_json() for kept in self.kept],
            "float_macs_share": round(self.macs_share, 6),
            "sqnr_db_before": before,
            "sqnr_db_after": after,
            "reason": self.reason,
        }

    @property
    def sentence(self) -> str:
        names = ", ".join(dict.fromkeys(kept.layer for kept in self.kept)) or "no layer"
        if self.reached:
            return (
                f"Rescued by keeping {names} in float ({self.macs_share:.1%} of the multiply-adds): "
                f"{self.sqnr_db[0]:.1f} dB became {self.sqnr_db[1]:.1f} dB."
            )
        return f"A rescue was tried and failed: {self.reason}"


@dataclass(frozen=True)
class Case:
    """What rescues of one run have in common.

    Attributes:
        reference: the checkpoint.
        golden: the bundle's golden inputs, which a rescue is tried on beside the calibration data.
        how: how the artifacts were made.
        compare: how they were judged.
        contract: what a mended file says of its inputs and outputs.
        tell: told what is being done.
    """

    reference: Path
    golden: Path
    how: DeriveJob
    compare: JudgeJob
    contract: Contract
    tell: Callable[[str, float], None] = lambda label, share: None


def rescue_missed(derived: Derived, agreement: Agreement, case: Case) -> tuple[Agreement, dict[Path, Rescue]]:
    """Tries to mend every quantized artifact that disagrees; those mended are judged again.

    `derived.conversion` lists the mended files afterwards. A rescue that fails leaves its file as it was.
    """
    rescues: dict[Path, Rescue] = {}
    budget, tolerances = case.how.options.rescue_budget, case.compare.options.tolerances
    if budget == 0 or all(v.status != DISAGREE for v in agreement.verdicts):
        return agreement, rescues
    layers = layer_names(case.reference)
    for extra_db in _STRICTER:
        missed = {v.artifact for v in agreement.verdicts if v.status == DISAGREE and v.outputs}
        again = []
        for k, artifact in enumerate(derived.conversion.artifacts):
            base = derived.bases.get(artifact.format)
            tried = rescues.get(artifact.path)
            unfit = artifact.precision not in RESCUED or artifact.format is Format.ORT
            if artifact.path not in missed or unfit or base is None:
                continue
            if tried is not None and not tried.reached:
                continue
            case.tell(f"rescuing {artifact.path.name}", 1.0)
            gate = gate_for(artifact.precision, tolerances)
            level = max(gate.sqnr_db, _level_needed(agreement, artifact.path))
            goal = Goal(level + extra_db, gate.top1, budget)
            found = _try(artifact, base, goal, case, layers)
            rescues[artifact.path] = found
            if found.reached:
                derived.conversion.artifacts[k] = stamped(_remade(artifact, found), case.contract)
                again.append(artifact.path)
        if not again:
            break
        agreement = _judged_again(agreement, case, again)
    return agreement, rescues


def _level_needed(agreement: Agreement, path: Path) -> float:
    """The decibels at which the file would cost no more than its rounding may; nothing where that is not its fault."""
    (verdict,) = (v for v in agreement.verdicts if v.artifact == path)
    missed = [
        row.sqnr_db + 20 * math.log10(row.rounding_ratio / row.gate.limit)
        for row in verdict.outputs
        if row.rounding_ratio and row.gate.limit and not row.gate.kept and row.sqnr_db is not None
    ]
    return max(missed, default=-math.inf)


_STRICTER = (0.0, 4.0)
"""A rescue is tried on few samples. Where all samples say that it fell short, it is tried once more, aiming higher."""


def _try(artifact: Artifact, base: Artifact, goal: Goal, case: Case, layers: Collection[str]) -> Rescue:
    try:
        return rescue(artifact, base, goal, case, layers)
    except EdgeportError as error:
        return Rescue(artifact.path, False, (), 0.0, (0.0, 0.0), error.message)


def _remade(artifact: Artifact, found: Rescue) -> Artifact:
    kept = tuple(note for note in artifact.notes if not note.startswith("Rescued"))
    return Artifact.on_disk(
        artifact.path,
        artifact.format,
        artifact.precision,
        artifact.signature,
        road=artifact.road,
        notes=(*kept, found.sentence),
    )


def _judged_again(agreement: Agreement, case: Case, paths: list[Path]) -> Agreement:
    verdicts = {v.artifact: v for v in compare(case.reference, paths, case.compare).verdicts}
    return replace(agreement, verdicts=tuple(verdicts.get(v.artifact, v) for v in agreement.verdicts))


def rescue(artifact: Artifact, base: Artifact, goal: Goal, case: Case, layers: Collection[str]) -> Rescue:
    """Makes `artifact` again with some layers in float and replaces its file where that meets the goal.

    Args:
        base: the float32 file that it was made from.
        layers: the checkpoint's layer names.

    Raises:
        EdgeportError: the worker failed; the artifact is as it was.
    """
    how = case.how
    request = {
        "artifact": str(artifact.path),
        "base": str(base.path),
        "format": artifact.format.value,
        "precision": artifact.precision.value,
        "signature": base.signature.to_json(),
        "io": how.options.io or Io.FLOAT,
        "device": how.options.target_device,
        "method": how.options.calibration_method,
        "golden": str(case.golden),
        "calibration": str(how.calibration) if how.calibration else None,
        "goal": {"sqnr_db": goal.sqnr_db, "top1": goal.top1, "budget": goal.budget},
        "layers": sorted(layers),
    }
    found = run_step(
        "exporter.rescue_search:rescue_in_worker",
        request,
        step="rescue",
        limits=how.common.limits,
        log=how.common.log,
        reads=[*parts_of(base.path), case.golden, *([how.calibration] if how.calibration else [])],
        writes=[artifact.path],
    )
    kept = tuple(Kept(**entry) for entry in found["kept"])
    return Rescue(
        artifact.path,
        bool(found["reached"]),
        kept,
        float(found["macs_share"]),
        (float(found["before"]), float(found["after"])),
        str(found["reason"]),
    )
