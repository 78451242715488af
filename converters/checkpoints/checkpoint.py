"""Checkpoint: what the user gave us, known by its bytes and not yet opened by any framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.parts import parts_of


class SourceKind(StrEnum):
    """Kind of a source, recognised by its content."""

    KERAS = "keras"
    H5 = "h5"
    WEIGHTS_H5 = "weights_h5"
    SAVEDMODEL = "savedmodel"
    TF_CHECKPOINT = "tf_checkpoint"
    FROZEN_GRAPH = "frozen_graph"
    TFLITE = "tflite"
    ONNX = "onnx"


WEIGHTS = frozenset({SourceKind.WEIGHTS_H5, SourceKind.TF_CHECKPOINT})
"""Kinds that hold weights alone: the user has to name the model they belong to."""

FINISHED = frozenset({SourceKind.TFLITE, SourceKind.ONNX})
"""Kinds that are artifacts already: they are never loaded, further precisions are made from the file."""


@dataclass(frozen=True)
class Checkpoint:
    """A source that has passed the scan.

    Attributes:
        path: absolute.
        kind: recognised by the bytes, not by the name.
        name: the stem that artifacts are named after, see `converters.formats.model_name`.
        sha256: see `converters.artifact.digest`.
        opening: how the user wants it opened.
        scanned: the digest of what lies at `path`, where `sha256` is of what that was made from; else empty.
    """

    path: Path
    kind: SourceKind
    name: str
    sha256: str
    opening: LoadOptions = field(default_factory=LoadOptions)
    scanned: str = ""

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files that a worker reads to open it; see `parts_of`."""
        return parts_of(self.path, self.opening)

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "kind": self.kind.value,
            "name": self.name,
            "sha256": self.sha256,
            "opening": self.opening.to_json(),
            "scanned": self.scanned,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Checkpoint:
        return cls(
            Path(document["path"]),
            SourceKind(document["kind"]),
            document["name"],
            document["sha256"],
            LoadOptions.from_json(document["opening"]),
            document["scanned"],
        )
