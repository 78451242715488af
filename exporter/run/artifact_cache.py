"""Artifacts that were made before from the same source, options and versions: found by key, checked by digest, copied.

Per bundle by default: what the bundle that is about to be replaced holds, and what a run that was killed had finished.
`--cache DIR` shares them between bundles; `--no-cache` makes everything afresh. Copies are reflinks where the file
system has them, never hard links.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from converters.artifact import Artifact, copy_artifact, digest
from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.ranges import Range
from converters.convert import Order
from converters.errors import IntegrityError
from converters.facts import Facts
from converters.formats import Format, Precision
from converters.options import ConvertOptions
from converters.reduced_precisions import HIDDEN
from converters.routes import Target
from converters.signature import Signature
from exporter.bundle.disk import write_file
from exporter.manifest.reader import load
from exporter.manifest.schema import MANIFEST, canonical

_MAKERS = ("edgeport", "tensorflow", "keras", "tf2onnx", "onnx", "numpy")
_ENTRY = "artifact.json"
FINISHED = ".finished"
"""A folder in staging: notes of what is finished."""


@dataclass(frozen=True)
class Entry:
    """One artifact that can be reused, and what the source said when it was made."""

    artifact: Artifact
    facts: Facts


@dataclass(frozen=True)
class Taken:
    """The artifacts that were on the shelf; without one, the source's facts are not known yet."""

    artifacts: tuple[Artifact, ...] = ()
    facts: Facts | None = None


@dataclass(frozen=True)
class Shelf:
    """Where to look for finished artifacts of a checkpoint, and where to keep new ones.

    Attributes:
        bundle: the bundle that is about to be replaced; None does not look there.
        cache: a folder shared between bundles; None has none.
        abandoned: staging folders of runs that were killed.
        finished: where to note what is finished, for the run after one that is killed; None notes nothing.
        check: what was never tried is made again.
    """

    checkpoint: Checkpoint
    bundle: Path | None = None
    cache: Path | None = None
    abandoned: tuple[Path, ...] = ()
    finished: Path | None = None
    check: bool = False

    def take(self, orders: Sequence[Order], options: ConvertOptions) -> Taken:
        """Copies what is there to where it was ordered. Damaged or foreign entries are passed over."""
        entries = [
            (order, self._find(key_of(self.checkpoint, order.target, options), order.path.name)) for order in orders
        ]
        hits = [(order, entry) for order, entry in entries if entry is not None]
        artifacts = tuple(copy_artifact(entry.artifact, order.path) for order, entry in hits)
        return Taken(artifacts, hits[-1][1].facts if hits else None)

    def note(self, artifacts: Sequence[Artifact], facts: Facts, options: ConvertOptions) -> None:
        """Writes down what a later run must know of artifacts that are complete on disk."""
        if self.finished is None:
            return
        for artifact in artifacts:
            key = key_of(self.checkpoint, Target.of(artifact), options)
            self.finished.mkdir(exist_ok=True)
            write_file(self.finished / f"{key}.json", json.dumps(_document(artifact, facts, key)).encode())

    def note_stamped(self, artifacts: Sequence[Artifact], facts: Facts, options: ConvertOptions) -> None:
        """Writes down anew what stamping has changed."""
        bases = [a for a in artifacts if a.precision is Precision.FLOAT32 and a.format is not Format.ORT]
        self.note(bases, facts, options)

    def keep(self, artifacts: Sequence[Artifact], facts: Facts, options: ConvertOptions) -> None:
        """Puts new artifacts into the shared cache, each whole or not at all."""
        if self.cache is None:
            return
        for artifact in artifacts:
            key = key_of(self.checkpoint, Target.of(artifact), options)
            part = self.cache / f".part-{secrets.token_hex(8)}"
            part.mkdir(parents=True)
            copy_artifact(artifact, part / artifact.path.name)
            (part / _ENTRY).write_text(json.dumps(_document(artifact, facts, key)))
            try:
                part.rename(self.cache / key)
            except OSError:  # another run was first: its entry is as good
                shutil.rmtree(part, ignore_errors=True)

    def _find(self, key: str, name: str) -> Entry | None:
        entries = (self._in_bundle(key, name), self._in_cache(key, name), *self._in_abandoned(key, name))
        good = (e for e in entries if e is not None and (e.artifact.checked or not self.check))
        return next((e for e in good if digest(e.artifact.path) == e.artifact.sha256), None)

    def _in_bundle(self, key: str, name: str) -> Entry | None:
        if self.bundle is None or not (self.bundle / MANIFEST).is_file():
            return None
        try:
            manifest = load(self.bundle / MANIFEST)
        except IntegrityError:
            return None
        row = next((r for r in manifest.artifacts if r.path == name), None)
        if row is None or row.reuse is None or manifest.source.parameters is None or not (self.bundle / name).exists():
            return None
        reuse = row.reuse.to_document()
        document = {
            "artifact": row.to_document(),
            "signature": reuse["signature"],
            "parameters": manifest.source.parameters,
            "reuse": reuse,
        }
        return _entry(document, key, self.bundle)

    def _in_cache(self, key: str, name: str) -> Entry | None:
        return None if self.cache is None else _read_entry(self.cache / key / _ENTRY, key, self.cache / key)

    def _in_abandoned(self, key: str, name: str) -> Iterator[Entry | None]:
        for staging in self.abandoned:
            for folder in (staging, *staging.glob(f"{HIDDEN}*")):
                yield _read_entry(staging / FINISHED / f"{key}.json", key, folder)


def _document(artifact: Artifact, facts: Facts, key: str) -> dict[str, Any]:
    return {
        "artifact": artifact.to_json(artifact.path.parent),
        "signature": facts.signature.to_json(),
        "parameters": facts.parameters,
        "reuse": reuse_row(artifact, facts, key),
    }


def _read_entry(file: Path, key: str, folder: Path) -> Entry | None:
    """The entry that `file` describes and whose artifact lies in `folder`; None where either is not there."""
    try:
        document: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    entry = _entry(document, key, folder)
    return entry if entry is not None and entry.artifact.path.exists() else None


def _entry(document: dict[str, Any], key: str, folder: Path) -> Entry | None:
    """The entry that a document describes; None where it is of another key or not as edgeport writes it."""
    try:
        reuse = document["reuse"]
        if reuse["key"] != key:
            return None
        facts = Facts(
            Signature.from_json(document["signature"]),
            int(document["parameters"]),
            tuple(reuse["model_notes"]),
            {name: Range.from_json(limits) for name, limits in reuse["ranges"].items()},
            dict(reuse["facts"]),
            {name: tuple(sizes) for name, sizes in reuse["shapes"].items()},
        )
        return Entry(Artifact.from_json(document["artifact"] | {"notes": reuse["notes"]}, folder), facts)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def reuse_row(artifact: Artifact, facts: Facts, key: str) -> dict[str, Any]:
    """The fields of a manifest's row by which a later run reuses the artifact without loading the source."""
    return {
        "key": key,
        "signature": facts.signature.to_json(),
        "notes": list(artifact.notes),
        "model_notes": list(facts.notes),
        "ranges": {name: limits.to_json() for name, limits in facts.ranges.items()},
        "facts": dict(facts.interface),
        "shapes": dict(facts.shapes),
    }


def key_of(checkpoint: Checkpoint, target: Target, options: ConvertOptions) -> str:
    """SHA-256 over all that decides an artifact's bytes: source, name, target, options and the makers' versions."""
    document = {
        "source": checkpoint.sha256,
        "kind": checkpoint.kind.value,
        "name": checkpoint.name,
        "target": str(target),
        "batch": options.batch,
        "opset": options.opset,
        "allow_flex": options.allow_flex,
        "opening": checkpoint.opening.told(),
        "versions": {name: version(name) for name in _MAKERS},
    }
    return hashlib.sha256(canonical(document)).hexdigest()
