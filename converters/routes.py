"""The support matrix as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converters.artifact import Artifact
from converters.checkpoints.checkpoint import SourceKind
from converters.errors import UsageError
from converters.formats import Format, Precision


@dataclass(frozen=True)
class Target:
    """One artifact to make."""

    format: Format
    precision: Precision

    @classmethod
    def of(cls, artifact: Artifact) -> Target:
        """The target of an artifact."""
        return cls(artifact.format, artifact.precision)

    def __str__(self) -> str:
        return f"{self.format.value} {self.precision.value}"


@dataclass(frozen=True)
class Route:
    """Way to make a target: its sources, and its share of a conversion's time (for progress)."""

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
    # source                  gives    by which way
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

COSTS = {str(route.target): route.cost for route in ROUTES}
"""By a target's words, its share of a conversion's time."""


def makeable(kind: SourceKind) -> tuple[Target, ...]:
    """The targets that can be made of a kind of source, in the table's order."""
    formats, _ = SOURCES[kind]
    return tuple(route.target for route in ROUTES if route.target.format in formats)


def resolve_targets(formats: Sequence[Format], precisions: Sequence[Precision]) -> tuple[Target, ...]:
    """The targets that are asked for, in the table's order.

    Raises:
        UsageError: a pair that cannot be made, with the pairs that can.
    """
    possible = {route.target for route in ROUTES}
    targets = {Target(fmt, precision) for fmt in formats for precision in precisions}
    impossible = sorted(str(t) for t in targets - possible)
    if impossible:
        raise UsageError(
            f"These cannot be made: {', '.join(impossible)}.",
            next_step=f"Choose from: {', '.join(sorted(str(t) for t in possible))}.",
        )
    return tuple(route.target for route in ROUTES if route.target in targets)
