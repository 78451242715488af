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
from converters.errors import EdgeportError, StepError
from converters.routes import Conversion, ConvertOptions, Target
from exporter.bundle import abandoned, check_output, finish, staged, write_answers, write_golden
from exporter.converting import Finishing, convert_batches, remove_hidden
from exporter.describe import Findings, describe
from exporter.details import Made, artifact_details, verdict_notes
from exporter.finished import maker_for, targets_from
from exporter.locating import locate
from exporter.manifest import ANSWERS, GOLDEN, Manifest
from exporter.options import RunOptions
from exporter.outcome import exit_code
from exporter.place import Place, Progress, awaiting_judgement, shares
from exporter.precisions import AUTO, Calibrating, keep_passing, targets_of
from exporter.rescue import Case, Rescue, rescue_missed
from exporter.reuse import FINISHED, Shelf
from exporter.selfcheck import refuse_names, write_selfcheck
from exporter.shipping.baking import baked
from exporter.shipping.profiles import batch_of, settled
from exporter.shipping.ship import Shipment, check_names, ship
from exporter.shipping.terms import Agreed, Terms
from exporter.sources import find_source, open_source
from exporter.timing import time_artifacts
from validate.agreement import Agreement, CompareOptions, compare
from validate.latency import Latency

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
    source = find_source(given, options.build, options.seed, options.opening)
    source = replace(source, given=options.source_name or given)
    targets = targets_from(source.kind, targets, options)
    check_output(output, force=options.force)

    with (
        tempfile.TemporaryDirectory(prefix="edgeport-") as scratch,
        staged(output, force=options.force) as staging,
        ExitStack() as workers,
    ):
        place = Place(output, staging, Path(scratch), shares(options, progress))
        origin = open_source(source, place.scratch, place.log, place.share("build"))
        checkpoint = baked(origin, options, place.scratch, place.log) if options.bake_preprocess else origin
        place = workers.enter_context(awaiting_judgement(checkpoint, options, place))
        calibrating = Calibrating(targets, options, place.scratch, place.log)
        shelf = _shelf(place, options)
        derived = _convert(checkpoint, targets, options, (place, agreed, calibrating, shelf))
        judged = _judge(checkpoint, derived, options, (place, agreed, calibrating))
        located = locate(checkpoint, judged.agreement, options, place)
        shipment = Shipment(checkpoint.name, derived, agreed.contract, judged.agreement, place.log)
        shipping = ship(options, shipment, staging)
        latency = _time(derived.conversion, options, place) if options.time else None
        remove_hidden(staging)
        made = Made(derived.conversion, calibrating.data, judged.rescues)
        findings = Findings(
            source,
            checkpoint,
            derived.conversion,
            judged.agreement,
            latency,
            shelf,
            artifact_details(made, checkpoint, options, place.log),
            located.noted(verdict_notes(made)),
            judged.dropped,
            agreed.contract,
            shipping,
            origin,
            located.rows,
        )
        manifest = _seal(describe(findings, staging, options), options, staging)

    _required_devices(latency, options, output)
    return Outcome(manifest, exit_code(manifest, allow_inconclusive=options.allow_inconclusive))


def _shelf(place: Place, options: RunOptions) -> Shelf:
    """Where finished artifacts may be taken from."""
    if options.no_cache or options.opening.runs_code:  # what such code depends on has no digest
        return Shelf(None, None)
    return Shelf(place.output, options.cache, abandoned(place.output, place.staging), place.staging / FINISHED)


def _convert(
    checkpoint: Checkpoint,
    targets: tuple[Target, ...],
    options: RunOptions,
    means: tuple[Place, Agreed, Calibrating, Shelf],
) -> Derived:
    """Every target in staging. With no artifact there is no bundle: the first failure is the run's."""
    place, agreed, calibrating, shelf = means
    checks = partial(_check, options=options, name=checkpoint.name, agreed=agreed, calibrating=calibrating)
    how = ConvertOptions(
        targets=targets,
        batch=options.batch,
        opset=options.opset,
        allow_flex=options.allow_flex,
        jobs=options.jobs,
        limits=options.limits,
        log=place.log,
        on_loaded=checks,
    )
    makers = Makers(calibrating.ready, float32=maker_for(checkpoint, shelf.around_convert))
    finishing = Finishing(partial(batch_of, options=options), agreed.stamp, shelf.note_stamped)
    derived = convert_batches(checkpoint, place.staging, how, (makers, finishing), place.share("convert"))
    if not derived.conversion.artifacts:
        raise derived.conversion.failures[0].error
    return derived


def _check(loaded: Conversion, options: RunOptions, name: str, agreed: Agreed, calibrating: Calibrating) -> None:
    """What the user gave, against what the source turns out to be: before anything is converted."""
    agreed.on_loaded(loaded)
    check_names(options.profiles, name, agreed.contract)
    if options.selfcheck and options.judge and loaded.signature is not None:
        refuse_names((*loaded.signature.input_names, *loaded.signature.output_names))
    calibrating.contract = agreed.contract
    calibrating.on_loaded(loaded)


def _judge(
    checkpoint: Checkpoint, derived: Derived, options: RunOptions, means: tuple[Place, Agreed, Calibrating]
) -> Judged:
    """Every artifact, opened again from disk, against the checkpoint; what misses its gate is rescued.

    Writes the golden vectors, and each artifact's answers to them.
    """
    if not options.judge:
        return Judged(None)
    place, agreed, calibrating = means
    progress, golden = place.share("validate"), place.staging / GOLDEN
    how = CompareOptions(
        inputs=options.inputs,
        samples=options.samples,
        seed=options.seed,
        input_range=options.input_range,
        limits=options.limits,
        log=place.log,
        tolerances=options.tolerances,
        fixed_batch=options.batch,
        opening=options.opening,
        checkpoint=checkpoint,
        tensorflow=place.tensorflow,
    )
    agreement = compare(checkpoint.path, [a.path for a in derived.conversion.artifacts], how, progress)
    write_golden(golden, agreement.golden.inputs, agreement.golden.outputs)
    case = Case(checkpoint.path, golden, calibrating.how(), how, agreed.contract, progress)
    agreement, rescues = rescue_missed(derived, agreement, case, options)
    dropped: dict[str, str] = {}
    if AUTO in options.precisions:
        agreement, dropped = keep_passing(derived.conversion, agreement)
    write_answers(place.staging / ANSWERS, {v.artifact.name: v.answers for v in agreement.verdicts})
    return Judged(agreement, rescues, dropped)


def _time(conversion: Conversion, options: RunOptions, place: Place) -> Latency:
    """Every artifact in a process of its own, rounds interleaved, answers checked against the golden ones."""
    latency = time_artifacts(conversion, place.staging, options, place.log, place.share("bench"))
    latency.save_samples(place.staging / LATENCY)
    return latency


def _seal(described: Manifest, options: RunOptions, staging: Path) -> Manifest:
    """The self-check, the reports and, last, the manifest with the digests of everything."""
    if options.selfcheck:
        write_selfcheck(staging, described, options.tolerances)
    return finish(staging, described)


def _required_devices(latency: Latency | None, options: RunOptions, output: Path) -> None:
    for device in options.require:
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
