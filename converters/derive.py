"""Further precisions of a source: its float32 files first, then everything that is made from them.

checkpoint -> float32 artifacts (converters.routes) -> other precisions (a light worker, `converters.derivation`)
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.artifact import Artifact, files_of
from converters.checked import Options, part
from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.parts import parts_of
from converters.common import Common
from converters.contract import Contract
from converters.errors import EdgeportError, UsageError
from converters.formats import Format, Precision, artifact_name
from converters.isolation import Message, Worker, worker_environment
from converters.options import Io, QuantizeOptions
from converters.routes import Conversion, ConvertJob, Failure, Target, convert
from converters.signature import Signature

Progress = Callable[[str, float], None]

CALIBRATED = frozenset({Precision.INT8, Precision.INT16X8})
"""Precisions whose activations are integers of a fixed scale, which only data can tell."""

_FLOAT32_SHARE = 0.6


@dataclass(frozen=True)
class DeriveJob(Options):
    """The making of reduced precisions.

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


@dataclass
class Derived:
    """A conversion and the float32 files that it was made from, which may lie in a hidden folder."""

    conversion: Conversion
    bases: dict[Format, Artifact]


@dataclass(frozen=True)
class Makers:
    """The two steps of a conversion.

    Attributes:
        how: asked once the float32 files are there, with the conversion that tells their signature.
        float32: makes those files; a caller that keeps finished ones may put its own around it.
    """

    how: Callable[[Conversion], DeriveJob]
    float32: Callable[[Checkpoint, Path, ConvertJob, Progress], Conversion] = convert


def convert_all(
    checkpoint: Checkpoint, folder: Path, job: ConvertJob, makers: Makers, on_progress: Progress | None = None
) -> Derived:
    """Makes every target of `job` in `folder`.

    Float32 files that were not asked for and are needed for others go to `folder/.float32`, which the caller removes.

    Raises:
        EdgeportError: see `converters.routes.convert`.
    """
    report = on_progress or (lambda label, share: None)
    plain = tuple(t for t in job.targets if t == _base_of(t))
    reduced = tuple(t for t in job.targets if t not in plain)
    needed = dict.fromkeys(_base_of(t) for t in reduced)
    hidden = tuple(t for t in needed if t not in plain)
    share = _FLOAT32_SHARE if reduced else 1.0
    place = folder / ".float32" if hidden else folder
    place.mkdir(exist_ok=True)
    made = makers.float32(
        checkpoint, place, replace(job, targets=(*plain, *hidden)), lambda label, done: report(label, share * done)
    )
    if hidden:
        _publish(made, plain, folder)
    bases: dict[Format, Artifact] = {a.format: a for a in made.artifacts if a.format is not Format.SAVEDMODEL}
    if Format.ONNX in bases:
        bases[Format.ORT] = bases[Format.ONNX]
    failed = {failure.target: failure for failure in made.failures}
    made.artifacts = [a for a in made.artifacts if Target(a.format, a.precision) in plain]
    made.failures = [f for f in made.failures if f.target in plain]
    made.failures += [replace(failed[base], target=t) for t in reduced if (base := _base_of(t)) in failed]
    left = [t for t in reduced if _base_of(t) not in failed]
    derived = Derived(made, bases)
    if left:
        where, rest = (checkpoint.name, folder), 1 - share
        derive(derived, left, where, makers.how(made), lambda label, done: report(label, share + rest * done))
    return derived


def _base_of(target: Target) -> Target:
    return Target(Format.ONNX if target.format is Format.ORT else target.format, Precision.FLOAT32)


def _publish(made: Conversion, plain: Sequence[Target], folder: Path) -> None:
    """Moves what was asked for out of the hidden folder."""
    for k, artifact in enumerate(made.artifacts):
        if Target(artifact.format, artifact.precision) in plain:
            path = folder / artifact.path.name
            for file in [artifact.path] if artifact.path.is_dir() else list(files_of(artifact.path)):
                shutil.move(file, folder / file.name)
            made.artifacts[k] = replace(artifact, path=path)


def derive(
    derived: Derived,
    targets: Sequence[Target],
    where: tuple[str, Path],
    job: DeriveJob,
    on_progress: Progress = lambda label, share: None,
) -> None:
    """Makes `targets` from the float32 artifacts and files them in the conversion, in one worker.

    If the worker dies, the target in hand becomes a failure and a fresh worker goes on with the rest.

    Args:
        where: the model's name and the folder for the files.
    """
    name, folder = where
    conversion, left = derived.conversion, list(targets)
    with tempfile.TemporaryDirectory(prefix="edgeport-derive-") as scratch:
        while left:
            in_hand = left[0]
            request = _request(derived.bases, left, where, job, scratch)
            with Worker(
                "converters.derivation:derive_in_worker",
                request,
                step="convert",
                limits=job.common.limits,
                log=job.common.log,
                env=worker_environment(),
                reads=_read(derived.bases, job),
                writes=[folder, Path(scratch)],
            ) as worker:
                try:
                    while event := worker.receive().get("event"):
                        target = Target(Format(event["format"]), Precision(event["precision"]))
                        in_hand = target
                        on_progress(f"converting to {target}", 1 - len(left) / len(targets))
                        if "started" not in event:
                            left.remove(target)
                            path = folder / artifact_name(name, target.precision, target.format)
                            _file(event, target, path, conversion, job)
                    return
                except EdgeportError as error:
                    if not left:
                        return
                    lost = in_hand if in_hand in left else left[0]  # it may die between two targets
                    conversion.failures.append(Failure.of(lost, error))
                    left.remove(lost)


def _read(bases: Mapping[Format, Artifact], job: DeriveJob) -> list[Path]:
    """What the worker reads: the float32 files and the calibration data."""
    files = [part for artifact in bases.values() for part in parts_of(artifact.path)]
    return [*files, job.calibration] if job.calibration else files


def _request(
    bases: Mapping[Format, Artifact],
    left: Sequence[Target],
    where: tuple[str, Path],
    job: DeriveJob,
    scratch: str,
) -> Message:
    name, folder = where
    return {
        "bases": {f.value: {"path": str(a.path), "signature": a.signature.to_json()} for f, a in bases.items()},
        "targets": [
            {
                "format": t.format.value,
                "precision": t.precision.value,
                "keep": list(job.keep.get(t, ())),
                "path": str(folder / artifact_name(name, t.precision, t.format)),
            }
            for t in left
        ],
        "calibration": str(job.calibration) if job.calibration else None,
        "io": job.options.io or Io.FLOAT,
        "device": job.options.target_device,
        "method": job.options.calibration_method,
        "scratch": scratch,
        "contract": job.contract.to_json() if job.contract else None,
    }


def _file(event: Message, target: Target, path: Path, conversion: Conversion, job: DeriveJob) -> None:
    if "failure" in event:
        document = event["failure"]
        conversion.failures.append(
            Failure(
                target,
                document["step"] or "convert",
                document["status"],
                document["message"],
                document["next"],
                int(document["code"]),
            )
        )
        return
    notes = job.notes if target.precision in CALIBRATED else ()
    if (
        job.options.io not in (None, Io.FLOAT)
        and target.precision is Precision.INT8
        and target.format is not Format.TFLITE
    ):
        notes = (*notes, f"--io {job.options.io} is for TFLite: this file keeps float inputs and outputs.")
    conversion.artifacts.append(
        Artifact.on_disk(
            path,
            target.format,
            target.precision,
            Signature.from_json(event["signature"]),
            road=event["road"],
            notes=notes,
        )
    )


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
