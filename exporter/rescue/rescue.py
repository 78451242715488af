"""Rescue: a precision that missed its gate keeps the layers that hurt it in float, as few as do.

missed gate -> noise of every operation -> the worst one stays float -> make again -> ... -> take back what buys
nothing -> judged again like any other file
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.checkpoints.parts import parts_of
from converters.errors import EdgeportError
from converters.formats import Format, Precision
from converters.isolation import run_step
from converters.options import Io
from converters.progress import Progress
from converters.reduced_precisions import Conversion, DeriveJob
from converters.stamping import stamped
from exporter.inspection.executed import layer_names
from exporter.rescue.apart import Apart
from exporter.rescue.values import NO_LEVEL, ByMetric, FloatLayer, Goal, MetricGoal, Rescue
from validate.agreement import Agreement, JudgeJob, Verdict
from validate.agreement.compare import compare
from validate.agreement.judging.gates import gate_for
from validate.agreement.losses import LOST
from validate.agreement.rows import DISAGREE

RESCUED = frozenset({Precision.INT8, Precision.INT16X8, Precision.DYNAMIC_INT8, Precision.DYNAMIC_INT4})


@dataclass(frozen=True)
class RescueJob:
    """The settings of a run's rescues.

    Attributes:
        derive: how the artifacts were made, and what a fixed one says of its inputs and outputs.
        judge: how they were judged; its checkpoint is the reference.
        golden: the bundle's golden inputs, which a rescue is tried on besides the calibration data.
        apart: the samples to choose with and to judge by, where the user's metric may fall so far.
    """

    derive: DeriveJob
    judge: JudgeJob
    golden: Path
    apart: Apart | None = None

    @property
    def reference(self) -> Path:
        assert self.judge.checkpoint is not None
        return self.judge.checkpoint.path


@dataclass(frozen=True)
class Rescued:
    """Artifacts and their verdicts, after what missed its gate was rescued and `-p auto` kept what passes.

    Attributes:
        agreement: None where nothing was judged.
        rescues: by artifact, what was done for a precision that missed its gate.
        dropped: by file name, why `-p auto` did not keep it.
    """

    conversion: Conversion
    agreement: Agreement | None
    rescues: Mapping[Path, Rescue] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)


def rescue_missed(
    conversion: Conversion, agreement: Agreement, job: RescueJob, on_progress: Progress
) -> tuple[Conversion, Agreement, Mapping[Path, Rescue]]:
    """Tries to fix every quantized artifact that disagrees or loses too much; those fixed are judged again.

    Returns the artifacts and the verdicts with the fixed ones in their places, and the result of each rescue. A rescue
    that fails leaves its file as it was.
    """
    rescues: dict[Path, Rescue] = {}
    budget = job.derive.options.rescue_budget
    if budget == 0 or not any(v.missed for v in agreement.first_verdicts):
        return conversion, agreement, rescues
    layers, job = layer_names(job.reference), replace(job, apart=Apart.of(job.judge))
    for stricter in _STRICTER:
        fixed: dict[Path, Artifact] = {}
        for artifact, base in _to_rescue(conversion, agreement, rescues):
            on_progress(f"rescuing {artifact.path.name}", 1.0)
            rescue = _try(artifact, base, _goal(artifact, agreement, job, stricter), job, layers)
            if rescue.reached and not rescue.float_layers and job.apart is not None:
                job = replace(job, apart=job.apart.with_all())
                rescue = _try(artifact, base, _goal(artifact, agreement, job, stricter), job, layers)
            earlier = rescues.get(artifact.path)
            rescues[artifact.path] = rescue
            if rescue.reached:
                fixed[artifact.path] = _remade(artifact, rescue, earlier, job.derive)
        if not fixed:
            break
        conversion = replace(conversion, artifacts=tuple(fixed.get(a.path, a) for a in conversion.artifacts))
        agreement = _judged_again(agreement, job, list(fixed))
    return conversion, agreement, rescues


def _to_rescue(
    conversion: Conversion, agreement: Agreement, rescues: Mapping[Path, Rescue]
) -> Iterator[tuple[Artifact, Artifact]]:
    """Artifacts that missed a gate and may be fixed, each with the float32 file that it was made from."""
    paths = {v.artifact for v in agreement.first_verdicts if v.missed and v.outputs}
    for artifact in conversion.artifacts:
        base, earlier = conversion.bases.get(artifact.format), rescues.get(artifact.path)
        unfit = artifact.precision not in RESCUED or artifact.format is Format.ORT
        if artifact.path not in paths or unfit or base is None or (earlier is not None and not earlier.reached):
            continue
        yield artifact, base


def _level_needed(verdict: Verdict) -> float:
    """The decibels at which the file would cost no more than its rounding may, or a step above those at which it lost
    too much; nothing where neither is its fault."""
    loss = verdict.loss
    lost = [loss.sqnr_db + _STEP_DB] if loss and loss.status == LOST and loss.sqnr_db is not None else []
    missed = [
        row.sqnr_db + 20 * math.log10(row.rounding_ratio / row.gate.limit)
        for row in verdict.outputs
        if row.rounding_ratio and row.gate.limit and not row.gate.kept and row.sqnr_db is not None
    ]
    return max((*missed, *lost), default=-math.inf)


_STEP_DB = 3.0
"""What is lost of the user's task cannot be told from decibels: a rescue goes up in such steps until little enough is,
and keeps few layers float."""

_STRICTER = ((0.0, 1.0), (4.0, 0.5))
"""A rescue is tried on few samples. Where all samples say that it fell short, it is tried once more, aiming higher: by
so many decibels, or at so much of the drop."""


def _goal(artifact: Artifact, agreement: Agreement, job: RescueJob, stricter: tuple[float, float]) -> Goal:
    """Decibels for a file that computes otherwise, and the user's metric where there is one that may fall so far."""
    gate, budget = gate_for(artifact.precision, job.judge.options.tolerances), job.derive.options.rescue_budget
    extra_db, share = stricter
    metric = replace(job.apart.goal, max_drop=job.apart.goal.max_drop * share) if job.apart else None
    (verdict,) = (v for v in agreement.first_verdicts if v.artifact == artifact.path)
    if metric is not None and verdict.status != DISAGREE:
        return Goal(NO_LEVEL, 0.0, budget, metric)
    return Goal(max(gate.sqnr_db, _level_needed(verdict)) + extra_db, gate.top1, budget, metric)


def _try(artifact: Artifact, base: Artifact, goal: Goal, job: RescueJob, layers: Collection[str]) -> Rescue:
    try:
        return _rescue(artifact, base, goal, job, layers)
    except EdgeportError as error:
        return Rescue(artifact.path, False, (), 0.0, (0.0, 0.0), error.message)


def _remade(artifact: Artifact, rescue: Rescue, earlier: Rescue | None, job: DeriveJob) -> Artifact:
    """The artifact as it is on disk now, without the note of an earlier try."""
    notes = tuple(note for note in artifact.notes if earlier is None or note != earlier.sentence)
    remade = artifact.measured((*notes, rescue.sentence))
    return stamped(remade, job.contract) if job.contract else remade


def _judged_again(agreement: Agreement, job: RescueJob, paths: list[Path]) -> Agreement:
    """The same with the verdicts on these files, at every place, in the place of the former ones.

    The metric of what was chosen with some of the samples is told from the others.
    """
    chosen_with = job.apart.goal.samples if job.apart is not None and job.apart.judged_on else 0
    again = compare(job.reference, paths, replace(job.judge, chosen_with=chosen_with)).verdicts
    verdicts = [
        verdict
        for first in agreement.first_verdicts
        for verdict in (again if first.artifact in paths else agreement.verdicts)
        if verdict.artifact == first.artifact
    ]
    return replace(agreement, verdicts=tuple(verdicts))


def _rescue(artifact: Artifact, base: Artifact, goal: Goal, job: RescueJob, layers: Collection[str]) -> Rescue:
    """Makes `artifact` again with some layers in float and replaces its file where that meets the goal.

    Args:
        base: the float32 file that it was made from.
        layers: the checkpoint's layer names.

    Raises:
        EdgeportError: the worker failed; the artifact is as it was.
    """
    derive, apart, metric = job.derive, job.apart, goal.metric
    request = {
        "artifact": str(artifact.path),
        "base": str(base.path),
        "format": artifact.format.value,
        "precision": artifact.precision.value,
        "signature": base.signature.to_json(),
        "io": derive.options.io or Io.FLOAT,
        "device": derive.options.target_device,
        "method": derive.options.calibration_method,
        "golden": str(job.golden),
        "calibration": str(derive.calibration) if derive.calibration else None,
        "goal": asdict(goal),
        "layers": sorted(layers),
    }
    answer = run_step(
        "exporter.rescue.search:rescue_in_worker",
        request,
        step="rescue",
        limits=derive.common.limits,
        log=derive.common.log,
        reads=[
            *parts_of(base.path),
            job.golden,
            *([derive.calibration] if derive.calibration else []),
            *(apart.reads if apart else ()),
        ],
        writes=[artifact.path],
    )
    float_layers = tuple(FloatLayer(**entry) for entry in answer["kept"])
    return Rescue(
        artifact.path,
        bool(answer["reached"]),
        float_layers,
        float(answer["macs_share"]),
        (float(answer["before"]), float(answer["after"])),
        str(answer["reason"]),
        None if metric is None or apart is None else _by_metric(answer, metric, apart),
    )


def _by_metric(answer: Mapping[str, Any], metric: MetricGoal, apart: Apart) -> ByMetric:
    before, after = (round(float(drop or 0.0), 6) for drop in answer["drops"])
    return ByMetric(metric.name, before, after, metric.samples, apart.judged_on, int(answer["tries"]))
