"""A `.tflite` or `.onnx` file as the source: its own float32 file is what further precisions are made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from converters.artifact import Artifact
from converters.checkpoints.checkpoint import FINISHED, Checkpoint, SourceKind
from converters.errors import RefusedError, UsageError
from converters.formats import Format, Precision, artifact_name
from converters.routes import Conversion, ConvertJob, Progress, Target, makeable
from converters.signature import Signature
from exporter.inspection import inspect
from exporter.options import RunOptions
from exporter.reuse import copy_artifact

ROAD = "the source itself"

Maker = Callable[[Checkpoint, Path, ConvertJob, Progress], Conversion]


def targets_from(kind: str, targets: tuple[Target, ...], options: RunOptions) -> tuple[Target, ...]:
    """Those that a source of this kind can give; formats left open are those that it has.

    Raises:
        UsageError: what was asked for cannot be made of it, with what can.
    """
    if kind not in FINISHED:
        return targets
    able = makeable(SourceKind(kind))
    wanted = tuple(target for target in targets if target in able or options.convert.formats is not None)
    impossible = [str(target) for target in wanted if target not in able]
    if impossible or not wanted:
        named = ", ".join(impossible or options.convert.precisions or (Precision.FLOAT32,))
        raise UsageError(
            f"A source of the kind {kind} gives no {named}.",
            next_step=f"Choose from: {', '.join(map(str, able))}; a checkpoint gives the others too.",
        )
    return wanted


def maker_for(checkpoint: Checkpoint, convert: Maker) -> Maker:
    """What makes the float32 files of a source: `convert`, or `adopt` for one that is such a file."""
    return adopt if checkpoint.kind in FINISHED else convert


def adopt(checkpoint: Checkpoint, folder: Path, job: ConvertJob, progress: Progress) -> Conversion:
    """What `converters.routes.convert` gives, with a copy of the source for its float32 artifact. Nothing is converted.

    Raises:
        RefusedError: the file is not in float32, so that no other precision can be made of it.
        UsageError: an option that only a conversion can keep.
    """
    fmt = Format(checkpoint.kind.value)
    found = inspect(checkpoint.path)
    if found["precision"] != Precision.FLOAT32:
        raise RefusedError(
            f"{checkpoint.path} is {found['precision']} already: other precisions are made from a float32 file.",
            next_step="Give the float32 file or the checkpoint that it was made from.",
            file=checkpoint.path,
        )
    asked = job.options
    if asked.batch is not None or asked.opset is not None or asked.allow_flex:
        raise UsageError(
            "--batch, --opset and --allow-flex change a conversion, and a finished file is taken as it is.",
            next_step="Leave them out, or give the checkpoint.",
            file=checkpoint.path,
        )
    progress("reading the source", 0.0)
    signature = Signature.from_json(found)
    path = folder / artifact_name(checkpoint.name, Precision.FLOAT32, fmt)
    source = Artifact.on_disk(checkpoint.path, fmt, Precision.FLOAT32, signature, road=ROAD)
    artifacts = [copy_artifact(source, path)] if job.targets else []
    conversion = Conversion(artifacts, [], signature, int(found["parameters"]))
    if job.on_loaded is not None:
        job.on_loaded(conversion)
    return conversion
