"""Artifacts that were made before from the same source, options and versions: found by key, checked by digest, copied.

Per bundle by default: what the bundle that is about to be replaced holds. `--cache DIR` shares them between bundles;
`--no-cache` makes everything afresh. Copies are reflinks where the file system has them, never hard links.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from converters.artifact import Artifact, digest, files_of
from converters.checkpoints.checkpoint import Checkpoint
from converters.errors import IntegrityError
from converters.formats import artifact_name
from converters.routes import Conversion, ConvertOptions, Target
from converters.signature import Signature
from exporter.manifest import MANIFEST, canonical
from exporter.manifest_file import load

_MAKERS = ("edgeport", "tensorflow", "keras", "tf2onnx", "onnx", "numpy")
_FICLONE = 0x40049409  # linux/fs.h
_ENTRY = "artifact.json"


@dataclass(frozen=True)
class Entry:
    """One artifact that can be reused, and what its conversion said of the model."""

    artifact: Artifact
    signature: Signature
    parameters: int
    notes: tuple[str, ...]


@dataclass
class Shelf:
    """Where to look for finished artifacts, and where to keep new ones.

    Attributes:
        bundle: the bundle that is about to be replaced; None does not look there.
        cache: a folder shared between bundles; None has none.
    """

    bundle: Path | None
    cache: Path | None
    reused: set[str] = field(default_factory=set)

    def take(self, checkpoint: Checkpoint, options: ConvertOptions, staging: Path) -> Conversion:
        """Copies what is there into `staging`. Damaged or foreign entries are passed over."""
        conversion = Conversion()
        for target in options.targets:
            name = artifact_name(checkpoint.name, target.precision, target.format)
            entry = self._find(key_of(checkpoint, target, options), name)
            if entry is None:
                continue
            copied = copy_artifact(entry.artifact, staging / name)
            conversion.artifacts.append(copied)
            conversion.signature, conversion.parameters = entry.signature, entry.parameters
            conversion.notes = entry.notes
            self.reused.add(name)
        return conversion

    def keep(self, checkpoint: Checkpoint, options: ConvertOptions, conversion: Conversion) -> None:
        """Puts new artifacts into the shared cache, each whole or not at all."""
        if self.cache is None or conversion.signature is None:
            return
        for artifact in conversion.artifacts:
            if artifact.path.name in self.reused:
                continue
            key = key_of(checkpoint, Target(artifact.format, artifact.precision), options)
            part = self.cache / f".part-{secrets.token_hex(8)}"
            part.mkdir(parents=True)
            copy_artifact(artifact, part / artifact.path.name)
            document = {
                "artifact": artifact.to_json(artifact.path.parent), "signature": conversion.signature.to_json(),
                "parameters": conversion.parameters, "notes": list(conversion.notes),
            }  # fmt: skip
            (part / _ENTRY).write_text(json.dumps(document))
            try:
                part.rename(self.cache / key)
            except OSError:  # another run was first: its entry is as good
                shutil.rmtree(part, ignore_errors=True)

    def _find(self, key: str, name: str) -> Entry | None:
        found = (self._in_bundle(key, name), self._in_cache(key, name))
        return next((e for e in found if e is not None and digest(e.artifact.path) == e.artifact.sha256), None)

    def _in_bundle(self, key: str, name: str) -> Entry | None:
        if self.bundle is None or not (self.bundle / MANIFEST).is_file():
            return None
        try:
            manifest = load(self.bundle / MANIFEST)
        except IntegrityError:
            return None
        row = next((r for r in manifest.artifacts if r.path == name and r.more().get("key") == key), None)
        if row is None or manifest.source.parameters is None or not (self.bundle / name).exists():
            return None
        document = row.model_dump(mode="json")
        more = row.more()
        document["notes"] = more.get("own_notes", [])
        signature = Signature.from_json(manifest.signature.model_dump(mode="json"))
        artifact = Artifact.from_json(document, self.bundle)
        return Entry(artifact, signature, manifest.source.parameters, tuple(more.get("model_notes", ())))

    def _in_cache(self, key: str, name: str) -> Entry | None:
        folder = None if self.cache is None else self.cache / key
        if folder is None or not (folder / _ENTRY).is_file():
            return None
        try:
            document: dict[str, Any] = json.loads((folder / _ENTRY).read_text())
            artifact = Artifact.from_json(document["artifact"] | {"path": document["artifact"]["path"]}, folder)
            signature = Signature.from_json(document["signature"])
            entry = Entry(artifact, signature, int(document["parameters"]), tuple(document["notes"]))
        except (ValueError, KeyError, TypeError):
            return None
        return entry if artifact.path.exists() else None


def key_of(checkpoint: Checkpoint, target: Target, options: ConvertOptions) -> str:
    """SHA-256 over all that decides an artifact's bytes: source, name, target, options and the makers' versions."""
    document = {
        "source": checkpoint.sha256, "kind": checkpoint.kind.value, "name": checkpoint.name, "target": str(target),
        "batch": options.batch, "opset": options.opset, "allow_flex": options.allow_flex,
        "versions": {name: version(name) for name in _MAKERS},
    }  # fmt: skip
    return hashlib.sha256(canonical(document)).hexdigest()


def merged(first: Conversion, second: Conversion, targets: Sequence[Target]) -> Conversion:
    """Reused and new artifacts together, in the order of the targets."""
    artifacts = sorted(
        [*first.artifacts, *second.artifacts], key=lambda a: targets.index(Target(a.format, a.precision))
    )
    known = second if second.signature is not None else first
    return Conversion(artifacts, second.failures, known.signature, known.parameters, known.notes)


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
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            shutil.copyfileobj(reader, writer, 1 << 20)
        os.fsync(writer.fileno())
