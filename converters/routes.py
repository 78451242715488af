"""The support matrix as one table, and `convert`, which takes its roads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.checked import Options, part
from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.ranges import Range
from converters.common import Common
from converters.conversion_progress import ConversionProgress
from converters.errors import CrashError, EdgeportError, ResourceError, StepTimeoutError, UnsupportedError, UsageError
from converters.formats import Format, Precision, artifact_name
from converters.isolation import Message, Worker, worker_environment
from converters.options import ConvertOptions
from converters.signature import Signature

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Target:
    """One artifact to make."""

    format: Format
    precision: Precision

    @classmethod
    def of(cls, artifact: Artifact) -> Target:
        """What an artifact is."""
        return cls(artifact.format, artifact.precision)

    def __str__(self) -> str:
        return f"{self.format.value} {self.precision.value}"


@dataclass(frozen=True)
class Route:
    """How a target is made: from what, and its share of a conversion's time (for progress)."""

    target: Target
    made_from: str
    cost: float


ROUTES: tuple[Route, ...] = (
    #     format             precision                made from            cost
    Route(Target(Format.SAVEDMODEL, Precision.FLOAT32), "traced function", 0.25),
    Route(Target(Format.TFLITE, Precision.FLOAT32), "traced function or SavedModel", 0.40),
    Route(Target(Format.ONNX, Precision.FLOAT32), "traced function", 0.25),
    Route(Target(Format.TFLITE, Precision.FLOAT16), "float32 TFLite", 0.02),
    Route(Target(Format.TFLITE, Precision.DYNAMIC_INT8), "float32 TFLite", 0.02),
    Route(Target(Format.TFLITE, Precision.INT8), "float32 TFLite", 0.20),
    Route(Target(Format.TFLITE, Precision.INT16X8), "float32 TFLite", 0.05),
    Route(Target(Format.TFLITE, Precision.DYNAMIC_INT4), "float32 TFLite", 0.02),
    Route(Target(Format.TFLITE, Precision.DYNAMIC_INT4_B32), "float32 TFLite", 0.02),
    Route(Target(Format.ONNX, Precision.FLOAT16), "float32 ONNX", 0.05),
    Route(Target(Format.ONNX, Precision.DYNAMIC_INT8), "float32 ONNX", 0.05),
    Route(Target(Format.ONNX, Precision.INT8), "float32 ONNX", 0.40),
    Route(Target(Format.ORT, Precision.FLOAT32), "float32 ONNX", 0.02),
    Route(Target(Format.ORT, Precision.DYNAMIC_INT8), "float32 ONNX", 0.05),
    Route(Target(Format.ORT, Precision.INT8), "float32 ONNX", 0.40),
)
"""Every pair of format and precision that can be made, in the order in which they are made."""

_EVERY = frozenset(Format)
SOURCES: Mapping[SourceKind, tuple[frozenset[Format], str]] = {
    # source                  gives    by which road
    SourceKind.KERAS:         (_EVERY, "Keras 3 builds it; ONNX is converted without its weights"),
    SourceKind.H5:            (_EVERY, "as .keras; configs of Keras 2 are rewritten"),
    SourceKind.WEIGHTS_H5:    (_EVERY, "into what --architecture or --model-code builds"),
    SourceKind.TF_CHECKPOINT: (_EVERY, "into what --architecture or --model-code builds"),
    SourceKind.SAVEDMODEL:    (_EVERY, "one signature, restored, or frozen by the version 1 loader; ONNX frozen"),
    SourceKind.FROZEN_GRAPH:  (_EVERY, "imported; ONNX frozen"),
    SourceKind.TFLITE:        (frozenset({Format.TFLITE}), "the file itself, and what is made of it"),
    SourceKind.ONNX:          (frozenset({Format.ONNX, Format.ORT}), "the file itself, and what is made of it"),
}  # fmt: skip
"""Which formats each kind of source gives; in which precisions, `ROUTES` says."""

_COSTS = {str(route.target): route.cost for route in ROUTES}
_STATUS = {CrashError: "crashed", StepTimeoutError: "timeout", ResourceError: "oom", UnsupportedError: "unsupported"}


@dataclass(frozen=True)
class ConvertJob(Options):
    """One conversion.

    Attributes:
        targets: what to make, as it follows from the formats and precisions of `options`.
        on_loaded: given the conversion as soon as it tells the signature, ranges and facts of the source; what it
            raises ends the conversion before anything is made.
        on_made: told of the conversion after each artifact that is whole on disk, its newest the last.
    """

    targets: tuple[Target, ...]
    options: ConvertOptions = part(ConvertOptions)
    common: Common = part(Common)
    on_loaded: Callable[[Conversion], None] | None = None
    on_made: Callable[[Conversion], None] | None = None


@dataclass(frozen=True)
class Failure:
    """A target that was not made; the manifest's row."""

    target: Target
    step: str
    status: str
    reason: str
    next_step: str
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        return {
            "format": self.target.format.value,
            "precision": self.target.precision.value,
            "step": self.step,
            "status": self.status,
            "reason": self.reason,
            "next": self.next_step,
            "exit_code": self.exit_code,
        }

    @classmethod
    def of(cls, target: Target, error: EdgeportError) -> Failure:
        status = next((word for kind, word in _STATUS.items() if isinstance(error, kind)), "failed")
        return cls(target, error.step or "convert", status, error.message, error.next_step, error.exit_code)


@dataclass
class Conversion:
    """What came out: artifacts on disk, a row for each target that is not, `facts` of `checkpoints.interface`."""

    artifacts: list[Artifact] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    signature: Signature | None = None
    parameters: int = 0
    notes: tuple[str, ...] = ()
    ranges: dict[str, Range] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def makeable(kind: SourceKind) -> tuple[Target, ...]:
    """What can be made of a kind of source, in the table's order."""
    formats, _ = SOURCES[kind]
    return tuple(route.target for route in ROUTES if route.target.format in formats)


def resolve_targets(formats: Sequence[Format], precisions: Sequence[Precision]) -> tuple[Target, ...]:
    """The targets that are asked for, in the table's order.

    Raises:
        UsageError: a pair that cannot be made, with the pairs that can.
    """
    known = {route.target for route in ROUTES}
    wanted = {Target(fmt, precision) for fmt in formats for precision in precisions}
    impossible = sorted(str(t) for t in wanted - known)
    if impossible:
        raise UsageError(
            f"These cannot be made: {', '.join(impossible)}.",
            next_step=f"Choose from: {', '.join(sorted(str(t) for t in known))}.",
        )
    return tuple(route.target for route in ROUTES if route.target in wanted)


def convert(checkpoint: Checkpoint, folder: Path, job: ConvertJob, on_progress: Progress | None = None) -> Conversion:
    """Makes the targets in `folder`, in one worker that loads and traces once.

    If the worker dies, the target in hand becomes a failure and a fresh worker goes on with the rest.

    Raises:
        EdgeportError: the source could not be loaded or traced: nothing can be made of it.
    """
    making = _Making(checkpoint, folder, job, ConversionProgress(job.targets, _COSTS, on_progress))
    left = list(job.targets)
    while left:
        groups = _side_by_side(left) if job.options.jobs > 1 else [left]
        with contextlib.ExitStack() as stack:  # workers are started here: they die with the thread that starts them
            workers = [stack.enter_context(making.start(group)) for group in groups]
            _drain_all(making, workers)
        left = [target for target in left if target not in making.settled]
    order = [route.target for route in ROUTES]
    making.conversion.artifacts.sort(key=lambda a: order.index(Target(a.format, a.precision)))
    return making.conversion


def _drain_all(making: _Making, workers: Sequence[Worker]) -> None:
    if len(workers) == 1:
        making.drain(workers[0])
        return
    pool = ThreadPoolExecutor(len(workers))
    try:
        list(pool.map(making.drain, workers))
    except BaseException:  # Ctrl-C too: the threads end when their workers do
        for worker in workers:
            worker.close()
        raise
    finally:
        pool.shutdown()


def _side_by_side(targets: Sequence[Target]) -> list[list[Target]]:
    """TFLite may be made from the SavedModel; ONNX needs neither."""
    groups = [[t for t in targets if t.format is not Format.ONNX], [t for t in targets if t.format is Format.ONNX]]
    return [group for group in groups if group]


class _Making:
    """One conversion under way: the workers that make it, and what has come of them."""

    def __init__(self, checkpoint: Checkpoint, folder: Path, job: ConvertJob, progress: ConversionProgress) -> None:
        self.conversion = Conversion()
        self.settled: set[Target] = set()
        self._checkpoint, self._folder, self._job, self._progress = checkpoint, folder, job, progress

    def start(self, targets: Sequence[Target]) -> Worker:
        return Worker(
            "converters.conversion:convert_in_worker",
            _request(self._checkpoint, self._folder, self._job, targets),
            step="convert",
            limits=self._job.common.limits,
            log=self._job.common.log,
            env=worker_environment(),
            reads=self._checkpoint.parts,
            writes=[self._folder],
        )

    def drain(self, worker: Worker) -> None:
        """Files a worker's events until it ends; where it dies, the target in hand is a failure."""
        in_hand: Target | None = None
        try:
            while (message := worker.receive()).get("event"):
                in_hand = self._file(message["event"])
                if self._job.on_loaded and self.conversion.signature and "loaded" in message["event"]:
                    self._job.on_loaded(self.conversion)
                self._progress.show(message["event"])
        except EdgeportError as error:
            if in_hand is None:
                raise
            self.conversion.failures.append(Failure.of(in_hand, error))
            self.settled.add(in_hand)

    def _file(self, event: Message) -> Target | None:
        """Files one event; returns the target now in hand."""
        if "loaded" in event:
            loaded = event["loaded"]
            self.conversion.signature = Signature.from_json(loaded["signature"])
            self.conversion.parameters = int(loaded["parameters"])
            self.conversion.notes = tuple(loaded["notes"])
            self.conversion.facts = dict(loaded["facts"])
            self.conversion.ranges = {name: Range.from_json(limits) for name, limits in loaded["ranges"].items()}
            return None
        target = Target(Format(event["format"]), Precision(event["precision"]))
        if "started" in event:
            return target
        self.settled.add(target)
        if "failure" in event:
            document = event["failure"]
            self.conversion.failures.append(
                Failure(
                    target,
                    document["step"] or "convert",
                    document["status"],
                    document["message"],
                    document["next"],
                    int(document["code"]),
                )
            )
            return None
        path = self._folder / artifact_name(self._checkpoint.name, target.precision, target.format)
        self.conversion.artifacts.append(
            Artifact.on_disk(
                path,
                target.format,
                target.precision,
                Signature.from_json(event["signature"]),
                road=event["road"],
                notes=tuple(event["notes"]),
            )
        )
        if self._job.on_made:
            self._job.on_made(self.conversion)
        return None


def _request(checkpoint: Checkpoint, folder: Path, job: ConvertJob, left: Sequence[Target]) -> Message:
    return {
        "checkpoint": checkpoint.to_json(),
        "folder": str(folder),
        "targets": [[t.format.value, t.precision.value] for t in left],
        "batch": job.options.batch,
        "opset": job.options.opset,
        "allow_flex": job.options.allow_flex,
    }
