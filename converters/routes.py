"""The support matrix as one table, and `convert`, which takes its roads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.ranges import Range
from converters.conversion_progress import ConversionProgress
from converters.errors import CrashError, EdgeportError, ResourceError, StepTimeoutError, UnsupportedError, UsageError
from converters.formats import Format, Precision, artifact_name
from converters.isolation import Batch, Limits, Message, Outcome, Standing, each
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
class ConvertOptions:
    """What to make and within which limits.

    Attributes:
        batch: the fixed batch size; None keeps the batch dynamic.
        opset: ONNX opset; None takes the default.
        allow_flex: TFLite may use TensorFlow's Flex operations.
        jobs: workers at a time; with 2 and more, ONNX is made beside SavedModel and TFLite.
        log: file for what the frameworks say.
        on_loaded: given the conversion as soon as it tells the signature, ranges and facts of the source; what it
            raises ends the conversion before anything is made.
        on_made: told of the conversion after each artifact that is whole on disk, its newest the last.
    """

    targets: tuple[Target, ...]
    batch: int | None = None
    opset: int | None = None
    allow_flex: bool = False
    jobs: int = 1
    limits: Limits = field(default_factory=Limits)
    log: Path | None = None
    on_loaded: Callable[[Conversion], None] | None = None
    on_made: Callable[[Conversion], None] | None = None


@dataclass(frozen=True)
class Failure:
    """A target that was not made, and the error that says why; the manifest's row."""

    target: Target
    error: EdgeportError

    def to_json(self) -> dict[str, Any]:
        error = self.error
        return {
            "format": self.target.format.value,
            "precision": self.target.precision.value,
            "step": error.step,
            "status": next((word for kind, word in _STATUS.items() if isinstance(error, kind)), "failed"),
            "reason": error.message,
            "next": error.next_step,
            "exit_code": error.exit_code,
        }

    @classmethod
    def of(cls, target: Target, error: EdgeportError) -> Failure:
        error.step = error.step or "convert"
        return cls(target, error)


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


def resolve_targets(formats: Sequence[str], precisions: Sequence[str]) -> tuple[Target, ...]:
    """The targets that the words ask for, in the table's order.

    Raises:
        UsageError: an unknown word, or a pair that cannot be made, with the pairs that can.
    """
    known = {route.target for route in ROUTES}
    wanted = {Target(_word(Format, f, "format"), _word(Precision, p, "precision")) for f in formats for p in precisions}
    impossible = sorted(str(t) for t in wanted - known)
    if impossible:
        raise UsageError(
            f"These cannot be made: {', '.join(impossible)}.",
            next_step=f"Choose from: {', '.join(sorted(str(t) for t in known))}.",
        )
    return tuple(route.target for route in ROUTES if route.target in wanted)


def _word(kind: type[Format] | type[Precision], given: str, what: str) -> Any:
    from difflib import get_close_matches

    words = [member.value for member in kind]
    if given in words:
        return kind(given)
    near = get_close_matches(given, words, n=1)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    raise UsageError(f"There is no {what} `{given}`.", next_step=f"{hint}Choose from: {', '.join(words)}.")


def convert(
    checkpoint: Checkpoint, folder: Path, options: ConvertOptions, on_progress: Progress | None = None
) -> Conversion:
    """Makes the targets in `folder`, in one worker that loads and traces once.

    If the worker dies, the target in hand becomes a failure and a fresh worker goes on with the rest.

    Raises:
        EdgeportError: the source could not be loaded or traced: nothing can be made of it.
    """
    job = _Job(checkpoint, folder, options, ConversionProgress(options.targets, _COSTS, on_progress))
    groups = _side_by_side(options.targets) if options.jobs > 1 else [options.targets]
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Standing(limits=options.limits, log=options.log)) for _ in groups]
        batches = [job.batch(worker, group) for worker, group in zip(workers, groups, strict=True)]
        for key, outcome in each(*batches, on_event=job.begun):
            job.settle(key, outcome)
    order = [route.target for route in ROUTES]
    job.conversion.artifacts.sort(key=lambda a: order.index(Target.of(a)))
    return job.conversion


def _side_by_side(targets: Sequence[Target]) -> Sequence[Sequence[Target]]:
    """TFLite may be made from the SavedModel; ONNX needs neither."""
    groups = [[t for t in targets if t.format is not Format.ONNX], [t for t in targets if t.format is Format.ONNX]]
    return [group for group in groups if group]


class _Job:
    """One conversion under way, and what has come of it."""

    def __init__(
        self, checkpoint: Checkpoint, folder: Path, options: ConvertOptions, progress: ConversionProgress
    ) -> None:
        self.conversion = Conversion()
        self._checkpoint, self._folder, self._options, self._progress = checkpoint, folder, options, progress
        self._by_name = {str(target): target for target in options.targets}

    def batch(self, worker: Standing, targets: Sequence[Target]) -> Batch:
        """The targets of one worker, which loads the source first: that fails for all of them."""

        def begin(left: Sequence[str]) -> None:
            request = _request(self._checkpoint, self._folder, self._options, [self._by_name[key] for key in left])
            worker.begin("converters.conversion:convert_in_worker", request, step="convert")
            self._load(worker.receive()["event"]["loaded"])

        return Batch(worker, tuple(map(str, targets)), begin)

    def _load(self, loaded: Message) -> None:
        self.conversion.signature = Signature.from_json(loaded["signature"])
        self.conversion.parameters = int(loaded["parameters"])
        self.conversion.notes = tuple(loaded["notes"])
        self.conversion.facts = dict(loaded["facts"])
        self.conversion.ranges = {name: Range.from_json(limits) for name, limits in loaded["ranges"].items()}
        if self._options.on_loaded:
            self._options.on_loaded(self.conversion)
        self._progress.loaded()

    def begun(self, key: str, _event: Message) -> None:
        self._progress.begun(key)

    def settle(self, key: str, outcome: Outcome) -> None:
        """Files what became of a target."""
        target = self._by_name[key]
        self._progress.done(key)
        if isinstance(outcome, EdgeportError):
            self.conversion.failures.append(Failure.of(target, outcome))
            return
        path = self._folder / artifact_name(self._checkpoint.name, target.precision, target.format)
        signature = Signature.from_json(outcome["signature"])
        road, notes = outcome["road"], tuple(outcome["notes"])
        artifact = Artifact.on_disk(path, target.format, target.precision, signature, road=road, notes=notes)
        self.conversion.artifacts.append(artifact)
        if self._options.on_made:
            self._options.on_made(self.conversion)


def _request(checkpoint: Checkpoint, folder: Path, options: ConvertOptions, left: Sequence[Target]) -> Message:
    return {
        "checkpoint": checkpoint.to_json(),
        "folder": str(folder),
        "targets": [{"item": str(t), "format": t.format.value, "precision": t.precision.value} for t in left],
        "batch": options.batch,
        "opset": options.opset,
        "allow_flex": options.allow_flex,
    }
