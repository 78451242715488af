"""Opening a bundle: the way in for every command that takes one, and the sentence for one that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.errors import IntegrityError
from exporter.bundle.checking import Problem, examine
from exporter.manifest.schema import GOLDEN, MANIFEST, SCHEMA, Manifest


@dataclass(frozen=True)
class Bundle:
    """A folder and the manifest that it was found to match."""

    folder: Path
    manifest: Manifest

    @property
    def artifacts(self) -> tuple[Path, ...]:
        """Where the artifacts lie, in the manifest's order."""
        return tuple(self.folder / row.path for row in self.manifest.artifacts)

    @property
    def golden(self) -> Path | None:
        """The golden vectors; None where there are none, as in what `edgeport export` wrote."""
        return self.folder / GOLDEN if any(row.path == GOLDEN for row in self.manifest.files) else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user: that it was written by an older version."""
        written = str(self.manifest.schema_version)
        if written == SCHEMA:
            return ()
        return (f"{self.folder} was written by an older edgeport ({written}): what that did not record is left out.",)


def open_bundle(folder: Path, *, whole: bool = True) -> Bundle:
    """Opens a bundle that verifies: nothing in it was edited, is damaged, missing or extra, or lies outside it.

    Args:
        whole: hold every file against the manifest. Without it the manifest alone is checked, and that what it lists
            stays inside the folder: for who is about to write some of the files again.

    Raises:
        UsageError: there is no such folder.
        IntegrityError: see `unfit`.
    """
    manifest, problems = examine(folder, whole=whole)
    if manifest is None or problems:
        raise unfit(folder, problems)
    return Bundle(folder, manifest)


def is_bundle(path: Path) -> bool:
    """Whether a path is a folder with a manifest in it, whatever that is worth."""
    return path.is_dir() and ((path / MANIFEST).exists() or (path / MANIFEST).is_symlink())


def unfit(folder: Path, problems: Sequence[Problem]) -> IntegrityError:
    """The refusal of a bundle with these problems."""
    first, more = problems[0], f"; {len(problems) - 1} more" if len(problems) > 1 else ""
    return IntegrityError(
        f"{folder} does not verify: {first.path} {first.problem.rstrip('.')}{more}.",
        next_step="Make the bundle again, or get an undamaged copy of it.",
        file=folder / first.path,
        step="verify",
    )
