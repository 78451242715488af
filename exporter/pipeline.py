"""The story of `edgeport run`: a source becomes a checkpoint, the checkpoint artifacts, and they a proven bundle.

    find the source -> build it where it is a name -> convert -> compare with the checkpoint -> time -> seal the bundle
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from converters.derive import Makers
from converters.errors import EdgeportError, StepError, error_from_json
from converters.routes import Conversion, ConvertOptions, Target
from converters.stamping import stamped
from exporter.bundle import abandoned, check_output, finish, staged, write_golden
from exporter.converting import Finishing, convert_batches, remove_hidden
from exporter.describe import Findings, describe
from exporter.details import Made, artifact_details, verdict_notes
from exporter.finished import maker_for, targets_from
from exporter.manifest import GOLDEN, Manifest
from exporter.options import RunOptions
from exporter.outcome import exit_code
from exporter.precisions import AUTO, Calibrating, keep_passing, targets_of
from exporter.rescue import Case, Rescue, rescue_missed
from exporter.reuse import FINISHED, Shelf
from exporter.selfcheck import write_selfcheck
from exporter.shipping.baking import baked
from exporter.shipping.profiles import batch_of, settled
from exporter.shipping.ship import Shipment, check_names, ship
from exporter.shipping.terms import Agreed, Terms
from exporter.sources import find_source, open_source
from validate.agreement import Agreement, CompareOptions, compare
from validate.latency import Latency, MeasureOptions, measure
from validate.latency.host import physical_cores

Progress = Callable[[str, float], None]

LOG = "edgeport.log"
LATENCY = "latency"


@dataclass(frozen=True)
class Outcome:
    """The manifest as it was written, and the exit code that it earns."""

    manifest: Manifest
    exit_code: int


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
    targets = targets_from(source.kind, targets, options)
    check_output(output, force=options.force)

    with tempfile.TemporaryDirectory(prefix="edgeport-") as scratch, staged(output, force=options.force) as staging:
        log = staging / LOG
        log.touch()
        share = _shares(options, progress)
        checkpoint = origin = open_source(source, Path(scratch), log, share("build"))
        if options.bake_preprocess:
            checkpoint = baked(origin, options, Path(scratch), log)
        calibrating = Calibrating(targets, options, Path(scratch), log)
        checks = partial(_check, agreed=agreed, calibrating=calibrating, named=(options.profiles, checkpoint.name))
        how = _convert_options(targets, options, log, checks)
        shelf = _shelf(output, staging, options)
        makers = Makers(calibrating.ready, float32=maker_for(checkpoint, shelf.around_convert))
        finishing = Finishing(
            partial(batch_of, options=options), lambda artifact: stamped(artifact, agreed.contract), shelf.note_stamped
        )
        derived = convert_batches(checkpoint, staging, how, (makers, finishing), share("convert"))
        conversion = derived.conversion
        _something_was_made(conversion)
        agreement = _judge(checkpoint.path, conversion, staging, options, share("validate")) if options.judge else None
        rescues: dict[Path, Rescue] = {}
        dropped: dict[str, str] = {}
        if agreement is not None:
            judged = _compare_options(staging, options)
            case = Case(
                checkpoint.path, staging / GOLDEN, calibrating.how(), judged, agreed.contract, share("validate")
            )
            agreement, rescues = rescue_missed(derived, agreement, case, options)
            if AUTO in options.precisions:
                agreement, dropped = keep_passing(conversion, agreement)
        shipping = ship(options, Shipment(checkpoint.name, derived, agreed.contract, agreement, log), staging)
        latency = _time(conversion, staging, options, share("bench")) if options.time else None
        remove_hidden(staging)
        made = Made(conversion, calibrating.data, rescues)
        details = artifact_details(made, checkpoint, options, log)
        findings = Findings(
            source, checkpoint, conversion, agreement, latency, shelf, details, verdict_notes(made), dropped,
            agreed.contract, shipping, origin,
        )
        described = describe(findings, staging, options)
        if options.selfcheck:
            write_selfcheck(staging, described, options.tolerances)
        manifest = finish(staging, described)

    _required_devices(latency, options, output)
    return Outcome(manifest, exit_code(manifest, allow_inconclusive=options.allow_inconclusive))


def _shelf(output: Path, staging: Path, options: RunOptions) -> Shelf:
    if options.no_cache or options.opening.runs_code:  # what such code depends on has no digest
        return Shelf(None, None)
    return Shelf(output, options.cache, abandoned(output, staging), staging / FINISHED)


def _convert_options(
    targets: tuple[Target, ...], options: RunOptions, log: Path, on_loaded: Callable[[Conversion], None]
) -> ConvertOptions:
    return ConvertOptions(
        targets=targets, batch=options.batch, opset=options.opset, allow_flex=options.allow_flex, jobs=options.jobs,
        limits=options.limits, log=log, on_loaded=on_loaded,
    )  # fmt: skip


def _check(
    loaded: Conversion, agreed: Agreed, calibrating: Calibrating, named: tuple[tuple[str, ...], str]
) -> None:
    """What the user gave, against what the source turns out to be: before anything is converted."""
    agreed.on_loaded(loaded)
    check_names(*named, agreed.contract)
    calibrating.contract = agreed.contract
    calibrating.on_loaded(loaded)


def _something_was_made(conversion: Conversion) -> None:
    """With no artifact there is no bundle: the first failure is the run's."""
    if not conversion.artifacts:
        first = conversion.failures[0]
        document = {"code": first.exit_code, "message": first.reason, "next": first.next_step, "step": first.step}
        raise error_from_json(document)


def _judge(
    reference: Path, conversion: Conversion, staging: Path, options: RunOptions, progress: Progress
) -> Agreement:
    """Every artifact, opened again from disk, against the checkpoint; writes the golden vectors."""
    paths = [a.path for a in conversion.artifacts]
    agreement = compare(reference, paths, _compare_options(staging, options), progress)
    write_golden(staging / GOLDEN, agreement.golden.inputs, agreement.golden.outputs)
    return agreement


def _compare_options(staging: Path, options: RunOptions) -> CompareOptions:
    return CompareOptions(
        inputs=options.inputs, samples=options.samples, seed=options.seed, input_range=options.input_range,
        limits=options.limits, log=staging / LOG, tolerances=options.tolerances, fixed_batch=options.batch,
        opening=options.opening,
    )  # fmt: skip


def _time(conversion: Conversion, staging: Path, options: RunOptions, progress: Progress) -> Latency:
    """Every artifact in a process of its own, rounds interleaved, answers checked against the golden ones."""
    golden = staging / GOLDEN
    measure_options = MeasureOptions(
        devices=tuple(dict.fromkeys([*options.devices, *options.require])), batches=(options.batch or 1,),
        max_seconds=options.max_seconds, seed=options.seed, golden=golden if golden.is_file() else None,
        limits=options.limits, log=staging / LOG, threads=options.threads or (physical_cores(),),
    )  # fmt: skip
    latency = measure([a.path for a in conversion.artifacts], measure_options, progress)
    latency.save_samples(staging / LATENCY)
    return latency


def _required_devices(latency: Latency | None, options: RunOptions, output: Path) -> None:
    for device in options.require:
        if latency is not None and latency.lacks(device):
            row = next((t for t in latency.timings if t.row.device == device), None)
            raise _missing(device, output, row.reason if row else "", row.next_step if row else "")


def _missing(device: str, output: Path, reason: str, next_step: str) -> EdgeportError:
    return StepError(
        f"{device} is required and cannot be used: {reason} The bundle {output} was written without it.",
        next_step=next_step or "Run `edgeport doctor`.", file=output, step="bench",
    )  # fmt: skip


_COSTS = {"build": 0.15, "convert": 0.3, "validate": 0.25, "bench": 0.3}
"""How the time of a run is spent, roughly: for the progress bar only."""


def _shares(options: RunOptions, progress: Progress) -> Callable[[str], Progress]:
    """Progress callbacks for the steps, each with its share of the whole bar."""
    taken = {"build": True, "convert": True, "validate": options.judge, "bench": options.time}
    steps = [step for step in _COSTS if taken[step]]
    whole = sum(_COSTS[step] for step in steps)

    def of(step: str) -> Progress:
        before = sum(_COSTS[s] for s in steps[: steps.index(step)]) / whole
        return lambda label, fraction: progress(
            f"{step}: {label}" if step not in label else label, before + fraction * _COSTS[step] / whole
        )

    return of
