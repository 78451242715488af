"""The story of `edgeport run`: a source becomes a checkpoint, the checkpoint artifacts, and they a proven bundle.

find the source -> build it where it is a name -> convert -> compare with the checkpoint -> time -> seal the bundle
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from converters.checkpoints.checkpoint import Checkpoint
from converters.derive import Derived, Makers
from converters.errors import EdgeportError, StepError, error_from_json
from converters.options import Auto
from converters.routes import Conversion, ConvertJob, Target
from exporter.bundle import abandoned, check_output, finish, staged, write_answers, write_golden
from exporter.converting import Finishing, convert_batches, remove_hidden
from exporter.describe import Findings, describe
from exporter.details import Made, artifact_details, verdict_notes
from exporter.finished import maker_for, targets_from
from exporter.locating import locate
from exporter.manifest import ANSWERS, GOLDEN, Manifest
from exporter.options import RunOptions
from exporter.passing import exit_code
from exporter.place import Place, Progress, awaiting_judgement, shares
from exporter.precisions import Calibrating, keep_passing, targets_of
from exporter.rescue import Case, Rescue, rescue_missed
from exporter.reuse import FINISHED, Shelf
from exporter.selfcheck import refuse_names, write_selfcheck
from exporter.shipping.baking import baked
from exporter.shipping.profiles import batch_of, settled
from exporter.shipping.ship import Shipment, check_names, ship
from exporter.shipping.terms import Agreed, Terms
from exporter.sources import find_source, open_source
from exporter.timing import time_artifacts
from validate.agreement import Agreement, JudgeJob
from validate.agreement.compare import compare
from validate.latency import BenchJob, BenchOptions, Latency

LATENCY = "latency"


@dataclass(frozen=True)
class Outcome:
    """The manifest as it was written, and the exit code that it earns."""

    manifest: Manifest
    exit_code: int


@dataclass(frozen=True)
class Judged:
    """What judging came to; without an agreement nothing was judged.

    Attributes:
        rescues: by artifact, what was done for a precision that missed its gate.
        dropped: files that `-p auto` made and did not keep, with the reason.
    """

    agreement: Agreement | None
    rescues: dict[Path, Rescue] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def run(given: str, output: Path, options: RunOptions, progress: Progress = lambda _label, _share: None) -> Outcome:
    """Makes the bundle `output` from the source `given`; an error leaves an older bundle there as it was.

    Raises:
        EdgeportError: the source or the options are refused, nothing could be made, or a required device is missing
            (the bundle is written all the same).
    """
    options = settled(options)
    targets = targets_of(options)
    agreed = Agreed(Terms.of(options))
    source = find_source(given, options.build, options.common)
    source = replace(source, given=options.workspace.source_name or given)
    targets = targets_from(source.kind, targets, options)
    check_output(output, force=options.workspace.force)

    with (
        tempfile.TemporaryDirectory(prefix="edgeport-") as scratch,
        staged(output, force=options.workspace.force) as staging,
        ExitStack() as workers,
    ):
        place = Place(output, staging, Path(scratch), shares(options, progress))
        place.log.touch()  # it is in every bundle, also where the frameworks say nothing
        options = replace(options, common=replace(options.common, log=place.log))
        origin = open_source(source, place.scratch, place.log, place.share("build"))
        baking = options.ship.bake_preprocess
        checkpoint = baked(origin, options.ship.preprocess, options.common, place.scratch) if baking else origin
        place = workers.enter_context(awaiting_judgement(checkpoint, options, place))
        calibrating = Calibrating(targets, options, place.scratch)
        shelf = _shelf(place, options)
        derived = _convert(checkpoint, targets, options, (place, agreed, calibrating, shelf))
        judged = _judge(checkpoint, derived, options, (place, agreed, calibrating))
        located = locate(checkpoint, judged.agreement, options, place)
        shipment = Shipment(checkpoint.name, derived, agreed.contract, judged.agreement)
        shipping = ship(options, shipment, staging)
        latency = None if options.bench is None else _time(derived.conversion, options, options.bench, place)
        remove_hidden(staging)
        made = Made(derived.conversion, calibrating.data, judged.rescues)
        findings = Findings(
            source,
            checkpoint,
            derived.conversion,
            judged.agreement,
            latency,
            shelf,
            artifact_details(made, checkpoint, options),
            located.noted(verdict_notes(made)),
            judged.dropped,
            agreed.contract,
            shipping,
            origin,
            located.rows,
        )
        manifest = _seal(describe(findings, staging, options), options, staging)

    _required_devices(latency, options, output)
    return Outcome(manifest, exit_code(manifest))


def _shelf(place: Place, options: RunOptions) -> Shelf:
    """Where finished artifacts may be taken from."""
    if options.workspace.no_cache or options.common.opening.runs_code:  # what such code depends on has no digest
        return Shelf(None, None)
    return Shelf(
        place.output, options.workspace.cache, abandoned(place.output, place.staging), place.staging / FINISHED
    )


def _convert(
    checkpoint: Checkpoint,
    targets: tuple[Target, ...],
    options: RunOptions,
    means: tuple[Place, Agreed, Calibrating, Shelf],
) -> Derived:
    """Every target in staging. With no artifact there is no bundle: the first failure is the run's."""
    place, agreed, calibrating, shelf = means
    checks = partial(_check, options=options, name=checkpoint.name, agreed=agreed, calibrating=calibrating)
    how = ConvertJob(targets, options.convert, options.common, on_loaded=checks)
    makers = Makers(calibrating.ready, float32=maker_for(checkpoint, shelf.around_convert))
    finishing = Finishing(partial(batch_of, options=options), agreed.stamp, shelf.note_stamped)
    derived = convert_batches(checkpoint, place.staging, how, (makers, finishing), place.share("convert"))
    if not derived.conversion.artifacts:
        first = derived.conversion.failures[0]
        document = {"code": first.exit_code, "message": first.reason, "next": first.next_step, "step": first.step}
        raise error_from_json(document)
    return derived


def _check(loaded: Conversion, options: RunOptions, name: str, agreed: Agreed, calibrating: Calibrating) -> None:
    """What the user gave, against what the source turns out to be: before anything is converted."""
    agreed.on_loaded(loaded)
    check_names(options.ship.profiles, name, agreed.contract)
    if options.ship.selfcheck and options.judge is not None and loaded.signature is not None:
        refuse_names((*loaded.signature.input_names, *loaded.signature.output_names))
    calibrating.contract = agreed.contract
    calibrating.on_loaded(loaded)


def _judge(
    checkpoint: Checkpoint, derived: Derived, options: RunOptions, means: tuple[Place, Agreed, Calibrating]
) -> Judged:
    """Every artifact, opened again from disk, against the checkpoint; what misses its gate is rescued.

    Writes the golden vectors, and each artifact's answers to them.
    """
    if options.judge is None:
        return Judged(None)
    place, agreed, calibrating = means
    progress, golden = place.share("validate"), place.staging / GOLDEN
    how = JudgeJob(
        options.judge,
        options.common,
        fixed_batch=options.convert.batch,
        checkpoint=checkpoint,
        tensorflow=place.tensorflow,
    )
    agreement = compare(checkpoint.path, [a.path for a in derived.conversion.artifacts], how, progress)
    write_golden(golden, agreement.golden.inputs, agreement.golden.outputs)
    case = Case(checkpoint.path, golden, calibrating.how(), how, agreed.contract, progress)
    agreement, rescues = rescue_missed(derived, agreement, case)
    dropped: dict[str, str] = {}
    if Auto.AUTO in (options.convert.precisions or ()):
        allow = options.judge.allow_inconclusive
        agreement, dropped = keep_passing(derived.conversion, agreement, allow_inconclusive=allow)
    write_answers(place.staging / ANSWERS, {v.artifact.name: v.answers for v in agreement.verdicts})
    return Judged(agreement, rescues, dropped)


def _time(conversion: Conversion, options: RunOptions, bench: BenchOptions, place: Place) -> Latency:
    """Every artifact in a process of its own, rounds interleaved, answers checked against the golden ones."""
    golden = place.staging / GOLDEN
    job = BenchJob(bench, options.common, batch=options.convert.batch, golden=golden if golden.is_file() else None)
    latency = time_artifacts([artifact.path for artifact in conversion.artifacts], job, place.share("bench"))
    latency.save_samples(place.staging / LATENCY)
    return latency


def _seal(described: Manifest, options: RunOptions, staging: Path) -> Manifest:
    """The self-check, the reports and, last, the manifest with the digests of everything."""
    if options.ship.selfcheck:
        write_selfcheck(staging, described, options.judge.tolerances if options.judge else {})
    return finish(staging, described)


def _required_devices(latency: Latency | None, options: RunOptions, output: Path) -> None:
    for device in options.bench.require if options.bench else ():
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
