"""Bundles on the command line, where an artifact may stand too."""

from __future__ import annotations

from pathlib import Path

from converters.errors import RefusedError
from exporter.bundle import Bundle, is_bundle, open_bundle
from exporter.cli.console import Console


def bundle_at(path: Path, console: Console) -> Bundle | None:
    """The bundle that a path is, with its notes told; None for any other path.

    Raises:
        IntegrityError: it does not verify.
        RefusedError: it holds no artifact.
    """
    if not is_bundle(path):
        return None
    bundle = open_bundle(path)
    for note in bundle.notes:
        console.note(note)
    if not bundle.artifacts:
        raise RefusedError(f"{path} holds no artifact.", next_step="Make the bundle again.", file=path)
    return bundle


def artifacts_of(path: Path, console: Console) -> tuple[Path, ...]:
    """The artifacts of a bundle, or the path itself. Raises what `bundle_at` does."""
    bundle = bundle_at(path, console)
    return (path,) if bundle is None else bundle.artifacts
