"""The pre-commit hook: `python -m exporter.cli.hook FILE...`, with the files that a commit changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from converters.artifact import digest
from converters.errors import EdgeportError, IntegrityError
from exporter.bundle import open_bundle
from exporter.manifest.passing import passing
from exporter.manifest.reader import load
from exporter.manifest.schema import MANIFEST, Manifest

_CHECKPOINTS = {".keras", ".h5", ".hdf5"}


def complaints(files: Sequence[Path], root: Path) -> list[str]:
    """Why these files may not be committed to the repository at `root`, in sentences; empty where they may.

    A file of a bundle: the bundle must verify and have passed its gates. A checkpoint: a bundle in the repository whose
    manifest names it must have been made from these very bytes.
    """
    sentences = []
    for folder in sorted({bundle for file in files if (bundle := _bundle_of(file, root))}):
        sentences += _unfit(folder)
    checkpoints = [file for file in files if file.suffix in _CHECKPOINTS and file.is_file()]
    for folder, manifest in _bundles(root) if checkpoints else ():
        for checkpoint in checkpoints:
            names_it = (root / manifest.source.path).resolve() == checkpoint.resolve()
            if names_it and digest(checkpoint) != manifest.source.sha256:
                sentences.append(
                    f"{folder} was made from another {checkpoint.name}: run "
                    f"`edgeport run {manifest.source.path} -o {folder}` again."
                )
    return sentences


def _bundle_of(file: Path, root: Path) -> Path | None:
    """The nearest folder above the file, inside the repository, that has a manifest of ours."""
    for folder in file.parents:
        if (folder / MANIFEST).is_file() and '"edgeport.manifest/' in _beginning(folder / MANIFEST):
            return folder
        if folder.resolve() == root.resolve():
            break
    return None


def _beginning(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(200).decode(errors="replace")


def _unfit(folder: Path) -> list[str]:
    try:
        manifest = open_bundle(folder).manifest
    except IntegrityError as error:
        return [error.message]
    if not passing(manifest).ok:
        return [f"{folder} does not pass its gates: read {folder / 'report.md'}."]
    return []


def _bundles(root: Path) -> Iterator[tuple[Path, Manifest]]:
    for path in sorted(root.rglob(MANIFEST)):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if not hidden and '"edgeport.manifest/' in _beginning(path):
            try:
                yield path.parent, load(path)
            except IntegrityError:
                continue  # it is told of when its own files are committed


def main(arguments: Sequence[str]) -> int:
    """Prints the complaints; 1 where there are any, as pre-commit wants it."""
    try:
        sentences = complaints([Path(argument) for argument in arguments], Path())
    except (EdgeportError, OSError) as error:
        sentences = [str(error)]
    for line in sentences:
        print(f"edgeport: {line}")
    return int(bool(sentences))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
