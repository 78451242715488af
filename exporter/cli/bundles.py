"""Bundles on the command line, where an artifact may stand too."""

from __future__ import annotations

from pathlib import Path

from converters.errors import RefusedError
from exporter.bundle import Bundle, is_bundle, open_bundle
from exporter.cli.console import Console


def bundle_at(given: Path, console: Console) -> Bundle | None:
    """The bundle that a path is, with its notes told; None for any other path.

    Raises:
        IntegrityError: it does not verify.
        RefusedError: it holds no artifact.
    """
    if not is_bundle(given):
        return None
    bundle = open_bundle(given)
    for note in bundle.notes:
        console.note(note)
    if not bundle.artifacts:
        raise RefusedError(f"{given} holds no artifact.", next_step="Make the bundle again.", file=given)
    return bundle


def artifacts_of(given: Path, console: Console) -> tuple[Path, ...]:
    """The artifacts of a bundle, or the path itself. Raises what `bundle_at` does."""
    bundle = bundle_at(given, console)
    return (given,) if bundle is None else bundle.artifacts
