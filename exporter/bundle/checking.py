"""`verify`: does a bundle hold exactly the files that its manifest lists, each as it was written?"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from converters.errors import EdgeportError, IntegrityError, UsageError
from exporter.bundle.disk import irregular, walk
from exporter.manifest.reader import read_unchecked
from exporter.manifest.rows import ArtifactRow, FileRow
from exporter.manifest.schema import MANIFEST, Manifest, content_digest

EXEMPT = frozenset({MANIFEST, "model.sig"})
"""Files that `files[]` does not list: a file cannot hold its own digest, and a signature is made after the manifest."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; `path` is POSIX and relative to the bundle."""

    path: str
    problem: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def verify(folder: Path) -> list[Problem]:
    """Every difference between a bundle and its manifest; an empty list means that there is none.

    Found: a manifest that is missing, damaged or edited; files that are changed, missing, extra or of another size;
    links, devices, names that differ only in case, paths that leave the bundle; artifact rows that their files do not
    match. Nothing is executed and no framework is loaded.

    Raises:
        UsageError: there is no such folder.
    """
    return examine(folder)[1]


def examine(folder: Path, *, whole: bool = True) -> tuple[Manifest | None, list[Problem]]:
    """A bundle's manifest, None where it cannot be read, and what `verify` finds.

    Args:
        whole: look at the files too, and not at the manifest alone.

    Raises:
        UsageError: there is no such folder.
    """
    require_folder(folder)
    try:
        manifest, claimed, actual = read_unchecked(folder / MANIFEST)
    except IntegrityError as error:
        return None, [Problem(MANIFEST, _without_path(error, folder / MANIFEST))]
    problems = _unsafe_paths(manifest)
    if claimed != actual:
        problems.append(Problem(MANIFEST, "does not match its own digest: it was edited or damaged"))
    if manifest.content_digest != content_digest(manifest):
        problems.append(Problem(MANIFEST, "its content digest does not match what it lists"))
    problems += [p for artifact in manifest.artifacts if (p := artifact_mismatch(artifact, manifest.files))]
    if whole:
        problems += _file_problems(folder, manifest)
    return manifest, sorted({Problem(_text(p.path), p.problem) for p in problems}, key=lambda p: (p.path, p.problem))


def require_folder(folder: Path) -> None:
    """Raises UsageError where a bundle's folder is not there."""
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder.", next_step="Name the folder that `edgeport run -o` wrote.", file=folder
        )


def _file_problems(folder: Path, manifest: Manifest) -> list[Problem]:
    try:
        present = dict(walk(folder))
    except OSError as cause:
        return [Problem(".", f"cannot be read ({cause.strerror})")]
    problems = [Problem(name, why) for name, status in present.items() if (why := irregular(status))]
    problems += _extra(manifest.files, present)
    return problems + [p for row in _once(manifest.files) if (p := _change(folder, row, present))]


def foreign_files(folder: Path, manifest: Manifest) -> list[str]:
    """The files of a folder that its manifest does not list."""
    return [problem.path for problem in _extra(manifest.files, dict(walk(folder)))]


def is_safe(path: str) -> bool:
    """True for a relative POSIX path in its normal form that stays in the bundle."""
    pure = PurePosixPath(path)
    plain = bool(path) and "\\" not in path and "\0" not in path
    return plain and not pure.is_absolute() and ".." not in pure.parts and pure.as_posix() == path and path != "."


def _unsafe_paths(manifest: Manifest) -> list[Problem]:
    problems, paths, folded = [], set[str](), dict[str, str]()
    for row in manifest.files:
        if not is_safe(row.path):
            problems.append(Problem(row.path, "is not a path inside the bundle"))
        elif row.path in EXEMPT:
            problems.append(Problem(row.path, "may not be listed"))
        if row.path in paths:
            problems.append(Problem(row.path, "is listed twice"))
        paths.add(row.path)
        key = unicodedata.normalize("NFC", row.path).casefold()
        if folded.setdefault(key, row.path) != row.path:
            problems.append(Problem(row.path, f"differs only in case from {folded[key]}"))
    return problems + [
        Problem(artifact.path, "is not a path inside the bundle")
        for artifact in manifest.artifacts
        if not is_safe(artifact.path)
    ]


def _extra(rows: Sequence[FileRow], present: Mapping[str, os.stat_result]) -> list[Problem]:
    listed = {row.path for row in rows} | EXEMPT
    return [Problem(name, "is extra: the manifest does not list it") for name in present if name not in listed]


def _once(rows: Sequence[FileRow]) -> list[FileRow]:
    return list({row.path: row for row in rows if is_safe(row.path)}.values())


def _change(folder: Path, row: FileRow, present: Mapping[str, os.stat_result]) -> Problem | None:
    status = present.get(row.path)
    if status is None:
        return Problem(row.path, "is missing")
    if irregular(status) and status.st_nlink == 1:
        return None  # named already, and never opened
    if status.st_size != row.size_bytes:
        return Problem(row.path, f"is changed: {status.st_size} bytes instead of {row.size_bytes}")
    try:
        sha256 = _digest_no_follow(folder / row.path)
    except OSError as cause:
        return Problem(row.path, f"cannot be read ({cause.strerror})")
    return None if sha256 == row.sha256 else Problem(row.path, "is changed: its SHA-256 is not the listed one")


def _digest_no_follow(path: Path) -> str:
    """SHA-256 of a file that may have become a link or a pipe since it was listed: fails then, and never blocks."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    sha = hashlib.sha256()
    with os.fdopen(fd, "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def artifact_mismatch(artifact: ArtifactRow, rows: Sequence[FileRow]) -> Problem | None:
    """The problem of an artifact's row that differs from its files' (`converters.artifact.digest`, `size_of`)."""
    files = {row.path: row for row in rows if row.path == artifact.path}
    members = sorted(
        (row.path[len(artifact.path) + 1 :], row) for row in rows if row.path.startswith(f"{artifact.path}/")
    )
    if not files and not members:
        return Problem(artifact.path, "is an artifact without a file")
    if files:
        external = [row for row in rows if artifact.path.endswith(".onnx") and row.path == f"{artifact.path}.data"]
        sha, size = files[artifact.path].sha256, sum(row.size_bytes for row in (*files.values(), *external))
    else:
        lines = "".join(f"{row.sha256}  {name}\n" for name, row in members)
        sha, size = hashlib.sha256(lines.encode()).hexdigest(), sum(row.size_bytes for _, row in members)
    if (sha, size) != (artifact.sha256, artifact.size_bytes):
        return Problem(artifact.path, "its artifact row does not match its files")
    return None


def _without_path(error: EdgeportError, path: Path) -> str:
    return error.message.removeprefix(f"{path} ").removesuffix(".")


def _text(name: str) -> str:
    """A file name that may hold bytes that are not UTF-8, as text that can be printed."""
    return name.encode("utf-8", "backslashreplace").decode()
