"""Checkpoint: what the user gave us, known by its bytes and not yet opened by any framework."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class SourceKind(StrEnum):
    """What a source is, told by its content."""

    KERAS = "keras"
    H5 = "h5"
    WEIGHTS_H5 = "weights_h5"
    SAVEDMODEL = "savedmodel"


@dataclass(frozen=True)
class Checkpoint:
    """A source that has passed the scan.

    Attributes:
        path: absolute.
        kind: told by the bytes, not by the name.
        name: the stem that artifacts are named after, see `converters.formats.model_name`.
        sha256: see `converters.artifact.digest`.
    """

    path: Path
    kind: SourceKind
    name: str
    sha256: str
