"""Further precisions of a source: its float32 files first, then everything that is made from them.

checkpoint -> float32 artifacts (converters.convert) -> other precisions (a light worker, `converters.workers.reduced`)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.artifact import Artifact
from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.parts import parts_of
from converters.checks.base import Options, part
from converters.common import Common
from converters.contract import Contract
from converters.convert import STEP, Converter, Failure, Order, filed
from converters.errors import UsageError
from converters.formats import Format, Precision
from converters.isolation import Batch, Message, Standing, each
from converters.options import ConvertOptions, Io, QuantizeOptions
from converters.progress import Progress
from converters.routes import Target

CALIBRATED = frozenset({Precision.INT8, Precision.INT16X8})
"""Precisions whose activations are integers of a fixed scale, which only data can tell."""

HIDDEN = ".float32"
"""The folder for float32 files that nobody asked for but others are made from; the caller removes it."""

FLOAT32_SHARE = 0.6
"""Of a conversion's time, the float32 files' share where others are made from them."""


@dataclass(frozen=True)
class DeriveJob(Options):
    """Settings for making reduced precisions.

    Attributes:
        calibration: an `.npz` of checked arrays by input name; None where no precision needs any.
        keep: by target, operations that stay float (the rescue's finding).
        notes: what is to be said of each calibrated artifact.
        contract: for `.ort` files, which nothing can be written into later.
    """

    options: QuantizeOptions = part(QuantizeOptions)
    common: Common = part(Common)
    calibration: Path | None = None
    keep: Mapping[Target, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    contract: Contract | None = None


@dataclass(frozen=True)
class Orders:
    """The files to make of a source.

    Attributes:
        plain: float32 files that were asked for.
        hidden: float32 files that others are made from.
        reduced: those others.
    """

    plain: tuple[Order, ...]
    hidden: tuple[Order, ...]
    reduced: tuple[Order, ...]

    @classmethod
    def of(cls, targets: Sequence[Target], model: str, folder: Path, hidden: str = HIDDEN) -> Orders:
        """Orders under a model's name in `folder`; what nobody asked for goes to `folder/hidden`."""
        plain = tuple(t for t in targets if t == base_of(t))
        reduced = tuple(t for t in targets if t not in plain)
        bases = dict.fromkeys(base_of(t) for t in reduced if base_of(t) not in plain)
        return cls(
            tuple(Order.named(t, model, folder) for t in plain),
            tuple(Order.named(t, model, folder / hidden) for t in bases),
            tuple(Order.named(t, model, folder) for t in reduced),
        )

    @property
    def float32(self) -> tuple[Order, ...]:
        return (*self.plain, *self.hidden)


@dataclass(frozen=True)
class Conversion:
    """Results of orders.

    Attributes:
        artifacts: what was asked for and made, in the order of the table.
        failures: what was asked for and not made.
        bases: by format, the float32 files that others were made from, which may lie in a hidden folder.
        reused: the file names of those that were there before.
    """

    artifacts: tuple[Artifact, ...] = ()
    failures: tuple[Failure, ...] = ()
    bases: Mapping[Format, Artifact] = field(default_factory=dict)
    reused: frozenset[str] = frozenset()


def base_of(target: Target) -> Target:
    """The float32 file that a target is made from, or is."""
    return Target(Format.ONNX if target.format is Format.ORT else target.format, Precision.FLOAT32)


def convert(
    checkpoint: Checkpoint,
    orders: Orders,
    options: ConvertOptions,
    job: DeriveJob,
    on_progress: Progress = lambda label, share: None,
) -> Conversion:
    """Makes everything of `orders`.

    Raises:
        EdgeportError: the source could not be loaded or traced: nothing can be made of it.
    """
    share = float32_share(orders, on_progress)
    with Converter(checkpoint, orders.float32, options, job.common, share) as source:
        source.open()
        artifacts = tuple(source.float32())
    return completed(orders, artifacts, job, on_progress)


def float32_share(orders: Orders, on_progress: Progress) -> Progress:
    """The progress of the float32 files, as a share of the whole."""
    share = FLOAT32_SHARE if orders.reduced else 1.0
    return lambda label, done: on_progress(label, share * done)


def completed(
    orders: Orders, float32: Iterable[Artifact | Failure], job: DeriveJob, on_progress: Progress
) -> Conversion:
    """The float32 files that were asked for, as they are, and what is made from them all."""
    results = tuple(float32)
    bases: dict[Format, Artifact] = {a.format: a for a in results if isinstance(a, Artifact)}
    bases.pop(Format.SAVEDMODEL, None)
    if Format.ONNX in bases:
        bases[Format.ORT] = bases[Format.ONNX]
    failed = {failure.target: failure for failure in results if isinstance(failure, Failure)}
    lost = [replace(failed[base_of(o.target)], target=o.target) for o in orders.reduced if base_of(o.target) in failed]
    possible = [order for order in orders.reduced if base_of(order.target) not in failed]
    reduced_share = 1 - FLOAT32_SHARE
    reduced = derive(possible, bases, job, lambda label, done: on_progress(label, FLOAT32_SHARE + reduced_share * done))
    targets = {order.target for order in orders.plain}
    plain = [r for r in results if (r.target if isinstance(r, Failure) else Target.of(r)) in targets]
    everything = [*plain, *lost, *reduced]
    return Conversion(
        tuple(result for result in everything if isinstance(result, Artifact)),
        tuple(result for result in everything if isinstance(result, Failure)),
        bases,
    )


def derive(
    orders: Sequence[Order],
    bases: Mapping[Format, Artifact],
    job: DeriveJob,
    on_progress: Progress = lambda label, share: None,
) -> Iterator[Artifact | Failure]:
    """Makes reduced precisions from float32 artifacts in one light worker; yields what became of each.

    If the worker dies, the target in hand becomes a failure and a fresh worker goes on with the rest.
    """
    by_name = {str(order.target): order for order in orders}
    done = 0
    limits, log, folders = job.common.limits, job.common.log, [order.path.parent for order in orders]
    with Standing(limits=limits, log=log, reads=_worker_reads(bases, job), writes=folders) as worker:

        def begin(items: Sequence[str]) -> None:
            request = _request(bases, [by_name[item] for item in items], job, worker.folder)
            worker.begin("converters.workers.reduced:derive_in_worker", request, step=STEP)

        def tell(item: str, _event: Message) -> None:
            on_progress(f"converting to {item}", done / len(by_name))

        for item, outcome in each(Batch(worker, tuple(by_name), begin), on_event=tell):
            order = by_name[item]
            yield filed(order, outcome, _notes(order.target, job))
            done += 1


def _worker_reads(bases: Mapping[Format, Artifact], job: DeriveJob) -> list[Path]:
    """The files that the worker reads: the float32 files and the calibration data."""
    files = [part for artifact in bases.values() for part in parts_of(artifact.path)]
    return [*files, job.calibration] if job.calibration else files


def _request(bases: Mapping[Format, Artifact], orders: Sequence[Order], job: DeriveJob, scratch: Path) -> Message:
    return {
        "bases": {f.value: {"path": str(a.path), "signature": a.signature.to_json()} for f, a in bases.items()},
        "targets": [order.to_json() | {"keep": list(job.keep.get(order.target, ()))} for order in orders],
        "calibration": str(job.calibration) if job.calibration else None,
        "io": job.options.io or Io.FLOAT,
        "device": job.options.target_device,
        "method": job.options.calibration_method,
        "scratch": str(scratch),
        "contract": job.contract.to_json() if job.contract else None,
        "check": job.common.check,
        "ranges": {row.name: row.range for row in job.contract.inputs if row.range} if job.contract else {},
    }


def _notes(target: Target, job: DeriveJob) -> tuple[str, ...]:
    notes, io = job.notes if target.precision in CALIBRATED else (), job.options.io
    if io not in (None, Io.FLOAT) and target.precision is Precision.INT8 and target.format is not Format.TFLITE:
        return (*notes, f"--io {io} is for TFLite: this file keeps float inputs and outputs.")
    return notes


def need_calibration(targets: Sequence[Target]) -> list[Target]:
    return [t for t in targets if t.precision in CALIBRATED]


def refuse_without_calibration(targets: Sequence[Target]) -> None:
    """Raises UsageError where a target needs calibration data."""
    needing = need_calibration(targets)
    if needing:
        raise UsageError(
            f"{', '.join(str(t) for t in needing)} cannot be made without calibration data: the scales of activations "
            "are read off real inputs.",
            next_step="Give --calibration PATH (images, .npz or .npy; 100 samples will do), or accept made-up ones "
            "with --calibration random.",
        )
