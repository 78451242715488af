"""Further precisions of a source: its float32 files first, then everything that is made from them.

checkpoint -> float32 artifacts (converters.routes) -> other precisions (a light worker, `converters.derivation`)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.artifact import Artifact, files_of
from converters.checkpoints.checkpoint import Checkpoint
from converters.contract import Contract
from converters.errors import EdgeportError, UsageError
from converters.formats import Format, Precision, artifact_name
from converters.isolation import Batch, Limits, Message, Standing, each
from converters.routes import Conversion, ConvertOptions, Failure, Target, convert
from converters.signature import Signature

Progress = Callable[[str, float], None]

CALIBRATED = frozenset({Precision.INT8, Precision.INT16X8})
"""Precisions whose activations are integers of a fixed scale, which only data can tell."""

_FLOAT32_SHARE = 0.6


@dataclass(frozen=True)
class DeriveOptions:
    """How reduced precisions are made.

    Attributes:
        calibration: an `.npz` of checked arrays by input name; None where no precision needs any.
        io: `float`, `int8` or `uint8`: what a fully quantized TFLite file takes and gives.
        device: `cpu` or `tensorrt`: what quantized ONNX files are sized for.
        method: of ONNX calibration: `minmax`, `entropy` or `percentile`.
        keep: by target, operations that stay float (the rescue's finding).
        notes: what is to be said of each calibrated artifact.
        contract: for `.ort` files, which nothing can be written into later.
    """

    calibration: Path | None = None
    io: str = "float"
    device: str = "cpu"
    method: str = "minmax"
    keep: Mapping[Target, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    contract: Contract | None = None
    limits: Limits = field(default_factory=Limits)
    log: Path | None = None


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

    how: Callable[[Conversion], DeriveOptions]
    float32: Callable[[Checkpoint, Path, ConvertOptions, Progress], Conversion] = convert


def convert_all(
    checkpoint: Checkpoint, folder: Path, options: ConvertOptions, makers: Makers, on_progress: Progress | None = None
) -> Derived:
    """Makes every target of `options` in `folder`.

    Float32 files that were not asked for and are needed for others go to `folder/.float32`, which the caller removes.

    Raises:
        EdgeportError: see `converters.routes.convert`.
    """
    report = on_progress or (lambda label, share: None)
    plain = tuple(t for t in options.targets if t == _base_of(t))
    reduced = tuple(t for t in options.targets if t not in plain)
    needed = dict.fromkeys(_base_of(t) for t in reduced)
    hidden = tuple(t for t in needed if t not in plain)
    share = _FLOAT32_SHARE if reduced else 1.0
    place = folder / ".float32" if hidden else folder
    place.mkdir(exist_ok=True)
    made = makers.float32(
        checkpoint, place, replace(options, targets=(*plain, *hidden)), lambda label, done: report(label, share * done)
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
    options: DeriveOptions,
    on_progress: Progress = lambda label, share: None,
) -> None:
    """Makes `targets` from the float32 artifacts and files them in the conversion, in one worker.

    If the worker dies, the target in hand becomes a failure and a fresh worker goes on with the rest.

    Args:
        where: the model's name and the folder for the files.
    """
    name, folder = where
    by_name = {str(target): target for target in targets}
    paths = {key: folder / artifact_name(name, t.precision, t.format) for key, t in by_name.items()}
    done = 0
    with Standing(limits=options.limits, log=options.log) as worker:

        def begin(left: Sequence[str]) -> None:
            request = _request(derived.bases, {by_name[key]: paths[key] for key in left}, options, worker.folder)
            worker.begin("converters.derivation:derive_in_worker", request, step="convert")

        def tell(key: str, _event: Message) -> None:
            on_progress(f"converting to {key}", done / len(by_name))

        for key, outcome in each(Batch(worker, tuple(by_name), begin), on_event=tell):
            done += 1
            if isinstance(outcome, EdgeportError):
                derived.conversion.failures.append(Failure.of(by_name[key], outcome))
            else:
                derived.conversion.artifacts.append(_artifact(by_name[key], paths[key], outcome, options))


def _request(
    bases: Mapping[Format, Artifact], paths: Mapping[Target, Path], options: DeriveOptions, scratch: Path
) -> Message:
    return {
        "bases": {f.value: {"path": str(a.path), "signature": a.signature.to_json()} for f, a in bases.items()},
        "targets": [
            {
                "item": str(t),
                "format": t.format.value,
                "precision": t.precision.value,
                "keep": list(options.keep.get(t, ())),
                "path": str(path),
            }
            for t, path in paths.items()
        ],
        "calibration": str(options.calibration) if options.calibration else None,
        "io": options.io,
        "device": options.device,
        "method": options.method,
        "scratch": str(scratch),
        "contract": options.contract.to_json() if options.contract else None,
    }


def _artifact(target: Target, path: Path, made: Message, options: DeriveOptions) -> Artifact:
    notes = options.notes if target.precision in CALIBRATED else ()
    if options.io != "float" and target.precision is Precision.INT8 and target.format is not Format.TFLITE:
        notes = (*notes, f"--io {options.io} is for TFLite: this file keeps float inputs and outputs.")
    signature = Signature.from_json(made["signature"])
    return Artifact.on_disk(path, target.format, target.precision, signature, road=made["road"], notes=notes)


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
