"""The story of `edgeport run`: a source becomes a checkpoint, the checkpoint artifacts, and they a proven bundle.

source -> facts -> artifacts -> verdicts -> timings -> manifest
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converters.calibration import Calibration
from converters.contract import Contract
from converters.errors import EdgeportError, StepError
from converters.facts import Facts
from converters.progress import Progress
from converters.reduced_precisions import DeriveJob
from converters.shapes import check_shapes
from exporter.bundle import finish
from exporter.manifest.passing import exit_code
from exporter.manifest.schema import GOLDEN, Manifest
from exporter.options import RunOptions
from exporter.rescue.rescue import Rescued
from exporter.run.artifact_rows import artifact_details
from exporter.run.bench import allowed_of, time_artifacts
from exporter.run.convert import convert, open_targets, remove_hidden
from exporter.run.describe import Findings, describe
from exporter.run.judge import judge, rescue
from exporter.run.localize import locate
from exporter.run.plan import calibrated
from exporter.run.task import Task, planned, working
from exporter.selfcheck import refuse_names, write_selfcheck
from exporter.shipping.board import tried_on_board
from exporter.shipping.ship import Shipment, check_names, ship
from exporter.shipping.terms import Terms, contract_of
from validate.agreement import Agreement
from validate.agreement.metric import UserMetric
from validate.latency import BenchJob, Latency
from validate.runtimes import fixed_batch

LATENCY = "latency"


@dataclass(frozen=True)
class Outcome:
    """The manifest as it was written, and the exit code that it earns."""

    manifest: Manifest
    exit_code: int


def run(
    name_or_path: str, output: Path, options: RunOptions, progress: Progress = lambda _label, _share: None
) -> Outcome:
    """Makes the bundle `output` from the source `name_or_path`; an error leaves an older bundle there as it was.

    Raises:
        EdgeportError: the source or the options are refused, nothing could be made, or a required device is missing
            (the bundle is written all the same).
    """
    plan = planned(name_or_path, output, options)
    with working(plan, progress) as task, open_targets(task) as source:
        facts = source.facts
        contract = agree(task, facts)
        calibration = calibrate(task, facts)
        job = derivation(task, contract, calibration)
        artifacts = convert(task, source, job)
        verdicts = judge(task, artifacts, job)
        rescued = rescue(task, artifacts, verdicts, job)
        located = locate(task.checkpoint, rescued.agreement, task.options, task.place)
        boards = tried_on_board(rescued.conversion, rescued.agreement, task.options)
        shipping = ship(
            task.options,
            Shipment(task.checkpoint.name, rescued.conversion, contract, rescued.agreement, boards),
            task.place.staging,
        )
        timings = time(task, rescued)
        manifest = write(task, Findings(facts, contract, calibration, rescued, located, boards, shipping, timings))
    _required_devices(rescued.agreement, timings, plan.options, output)
    return Outcome(manifest, exit_code(manifest))


def agree(task: Task, facts: Facts) -> Contract:
    """The contract that the files carry: the user's terms, checked against the facts of the source.

    Raises:
        UsageError, RefusedError: they contradict each other, the user's metric does not work, or a name is one that a
            profile or a program cannot hold.
    """
    options, signature = task.options, facts.signature
    check_shapes(signature, options.common.shapes)
    contract = contract_of(facts, Terms.of(options))
    check_names(options.ship.profiles, task.checkpoint.name, contract)
    metric = UserMetric.of(options.judge, options.common) if options.judge is not None else None
    if metric is not None:
        metric.check(signature)
    if options.ship.selfcheck and options.judge is not None:
        refuse_names((*signature.input_names, *signature.output_names))
    return contract


def calibrate(task: Task, facts: Facts) -> Calibration | None:
    """The checked calibration data, kept for the workers too; None where no target needs any."""
    calibration = calibrated(facts, task.targets, task.options)
    if calibration is not None:
        calibration.save(_calibration_file(task))
    return calibration


def derivation(task: Task, contract: Contract, calibration: Calibration | None) -> DeriveJob:
    """The job that makes the reduced precisions."""
    return DeriveJob(
        task.options.quantize,
        task.options.common,
        calibration=_calibration_file(task) if calibration else None,
        notes=calibration.notes() if calibration else (),
        contract=contract,
    )


def _calibration_file(task: Task) -> Path:
    return task.place.scratch / "calibration.npz"


def time(task: Task, rescued: Rescued) -> Latency | None:
    """Every artifact in a process of its own, rounds interleaved, answers checked against the golden ones."""
    bench, golden, artifacts = task.options.bench, task.place.staging / GOLDEN, rescued.conversion.artifacts
    if bench is None:
        return None
    stated = {fixed_batch(artifact.signature) for artifact in artifacts}
    job = BenchJob(
        bench,
        task.options.common,
        task.options.places,
        batch=task.options.convert.batch or (stated.pop() if len(stated) == 1 else None),
        golden=golden if golden.is_file() else None,
        allowed_of=allowed_of(rescued.agreement),
    )
    latency = time_artifacts([artifact.path for artifact in artifacts], job, task.place.share("bench"))
    return latency.save_samples(task.place.staging / LATENCY)


def write(task: Task, findings: Findings) -> Manifest:
    """The self-check, the reports and, last, the manifest with the digests of everything."""
    staging, options = task.place.staging, task.options
    remove_hidden(staging)
    details = artifact_details(findings.rescued, findings.calibration, task.checkpoint, options, findings.boards)
    manifest = describe(task, findings, details)
    if options.ship.selfcheck:
        write_selfcheck(staging, manifest, options.judge.tolerances if options.judge else {})
    return finish(staging, manifest)


def _required_devices(agreement: Agreement | None, latency: Latency | None, options: RunOptions, output: Path) -> None:
    """Raises where a required device was there neither to judge on nor to time on."""
    for device in options.places.require:
        missing = (
            next((row for row in agreement.unavailable if row.place.device == device), None) if agreement else None
        )
        if missing is not None:
            raise _missing(device, output, missing.reason, missing.next)
        if latency is not None and latency.lacks(device):
            row = next((t for t in latency.timings if t.row.device == device), None)
            raise _missing(device, output, row.reason if row else "", row.next_step if row else "")


def _missing(device: str, output: Path, reason: str, next_step: str) -> EdgeportError:
    return StepError(
        f"{device} is required and cannot be used: {reason} The bundle {output} was written without it.",
        next_step=next_step or "Run `edgeport doctor`.",
        file=output,
        step="bench",
    )
