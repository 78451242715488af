"""A step of the pipeline, apart as each is: artifacts against their checkpoint; what misses its gate is rescued.

`-p auto` keeps what passes.
"""

from __future__ import annotations

from converters.options import Auto
from converters.reduced_precisions import Conversion, DeriveJob
from exporter.bundle import write_answers, write_golden
from exporter.manifest.schema import ANSWERS, GOLDEN, SCORES
from exporter.rescue.rescue import Rescued, RescueJob, rescue_missed
from exporter.run.plan import Selection, keep_passing
from exporter.run.task import Task
from exporter.shipping.board import proven_on
from validate.agreement import Agreement, JudgeJob, JudgeOptions
from validate.agreement.compare import compare


def judge(task: Task, conversion: Conversion, derive: DeriveJob) -> Agreement | None:
    """Every artifact, opened again from disk, against the checkpoint; writes the golden vectors. None: left out.

    Raises:
        EdgeportError: the checkpoint could not be run. What befalls an artifact is its verdict.
    """
    if task.options.judge is None:
        return None
    paths = [artifact.path for artifact in conversion.artifacts]
    job, progress = _job(task, task.options.judge, derive, conversion), task.place.share("validate")
    agreement = compare(task.checkpoint.path, paths, job, progress)
    write_golden(task.place.staging / GOLDEN, agreement.golden.inputs, agreement.golden.outputs)
    return agreement


def rescue(task: Task, conversion: Conversion, agreement: Agreement | None, derive: DeriveJob) -> Rescued:
    """Fixes what missed its gate; writes each artifact's answers to the golden inputs."""
    if agreement is None or task.options.judge is None:
        return Rescued(conversion, agreement)
    staging, progress = task.place.staging, task.place.share("validate")
    job = RescueJob(derive, _job(task, task.options.judge, derive, conversion), staging / GOLDEN)
    fixed, verdicts, rescues = rescue_missed(conversion, agreement, job, progress)
    auto = Auto.AUTO in (task.options.convert.precisions or ())
    lenient = task.options.judge.allow_inconclusive
    selection = keep_passing(fixed, verdicts, allow_inconclusive=lenient) if auto else Selection(fixed, verdicts)
    write_answers(staging / ANSWERS, {v.artifact.name: v.answers for v in selection.agreement.first_verdicts})
    if scores := {v.artifact.name: v.scores for v in selection.agreement.first_verdicts if v.scores}:
        write_answers(staging / SCORES, scores)
    return Rescued(selection.conversion, selection.agreement, rescues, selection.dropped)


def _job(task: Task, options: JudgeOptions, derive: DeriveJob, conversion: Conversion) -> JudgeJob:
    outputs = derive.contract.outputs if derive.contract is not None else ()
    return JudgeJob(
        options,
        task.options.common,
        task.options.places,
        proven_on={artifact.path: places for artifact, places in proven_on(conversion, task.options).items()},
        fixed_batch=task.options.convert.batch,
        named=frozenset(row.name for row in outputs if row.labels),
        checkpoint=task.checkpoint,
        tensorflow=task.place.tensorflow,
    )
