"""Readers: a source on disk -> a checked Checkpoint -> a callable model."""

from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.identify import identify
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import load

__all__ = ["Checkpoint", "Loaded", "SourceKind", "identify", "load"]
