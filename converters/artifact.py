"""Artifact: the one noun that flows from converters through validate to the bundle."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.formats import Format, Precision
from converters.signature import Signature

_CHUNK = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h


@dataclass(frozen=True)
class Artifact:
    """A file (or SavedModel folder) on disk that a runtime can open.

    Attributes:
        path: where it lies.
        signature: names, shapes and dtypes as the checkpoint has them.
        size_bytes: the sum over its files.
        sha256: of the file; for a folder see `digest`.
        conversion_path: how it was made, for example `weightless-tf2onnx` or `saved-model`.
        notes: what the maker has to say about it, in sentences.
        checked: it was opened and run once when it was made (`converters.trial`).
    """

    path: Path
    format: Format
    precision: Precision
    signature: Signature
    size_bytes: int
    sha256: str
    conversion_path: str = ""
    notes: tuple[str, ...] = ()
    checked: bool = False

    @classmethod
    def on_disk(
        cls,
        path: Path,
        fmt: Format,
        precision: Precision,
        signature: Signature,
        *,
        conversion_path: str = "",
        notes: tuple[str, ...] = (),
    ) -> Artifact:
        """Measures and digests what lies at `path`."""
        return cls(path, fmt, precision, signature, size_of(path), digest(path), conversion_path, notes)

    def measured(self, notes: tuple[str, ...]) -> Artifact:
        """The artifact as it lies on disk now."""
        return replace(self, size_bytes=size_of(self.path), sha256=digest(self.path), notes=notes)

    def to_json(self, base: Path | None = None) -> dict[str, Any]:
        """The manifest's row, `path` relative to `base` in POSIX form."""
        path = self.path.relative_to(base) if base else self.path
        return {
            "path": path.as_posix(),
            "format": self.format.value,
            "precision": self.precision.value,
            "signature": self.signature.to_json(),
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "road": self.conversion_path,
            "notes": list(self.notes),
            "checked": self.checked,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], base: Path | None = None) -> Artifact:
        path = Path(document["path"])
        return cls(
            path=base / path if base else path,
            format=Format(document["format"]),
            precision=Precision(document["precision"]),
            signature=Signature.from_json(document["signature"]),
            size_bytes=int(document["size_bytes"]),
            sha256=str(document["sha256"]),
            conversion_path=str(document.get("road", "")),
            notes=tuple(document.get("notes", ())),
            checked=bool(document.get("checked", False)),
        )


def files_of(path: Path) -> Iterator[Path]:
    """The regular files that make up an artifact, sorted by POSIX path. An ONNX file's external data counts too."""
    if path.is_dir():
        yield from sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.relative_to(path).as_posix())
        return
    yield path
    external = path.with_name(path.name + ".data")
    if path.suffix == ".onnx" and external.is_file():
        yield external


def size_of(path: Path) -> int:
    """Bytes on disk, all files of the artifact together."""
    return sum(p.stat().st_size for p in files_of(path))


def digest_file(path: Path) -> str:
    """SHA-256 of one file, in hexadecimal."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, the SHA-256 over its sorted lines `<sha256>  <relative POSIX path>\\n`."""
    if not path.is_dir():
        return digest_file(path)
    sha = hashlib.sha256()
    for file in files_of(path):
        sha.update(f"{digest_file(file)}  {file.relative_to(path).as_posix()}\n".encode())
    return sha.hexdigest()


def copy_artifact(artifact: Artifact, destination: Path) -> Artifact:
    """Copies an artifact's files beside `destination`, and returns it as it lies there."""
    for source, target in _pairs(artifact.path, destination):
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(source, target)
    return Artifact.from_json(artifact.to_json(artifact.path.parent) | {"path": destination.name}, destination.parent)


def _pairs(source: Path, destination: Path) -> Iterable[tuple[Path, Path]]:
    for file in files_of(source):
        if source.is_dir():
            yield file, destination / file.relative_to(source)
        else:  # external data lies beside its .onnx, under the name that stands in it
            yield file, destination.with_name(destination.name + file.name.removeprefix(source.name))


def _copy_file(source: Path, target: Path) -> None:
    import fcntl  # not on every system that boards have

    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            shutil.copyfileobj(reader, writer, 1 << 20)
        os.fsync(writer.fileno())
