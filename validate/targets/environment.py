"""Environments of installed targets: where each lies, and what its record says is in it.

Each lies in a folder of its own in the user's cache and shares nothing with the user's Python. `exporter.environments`
makes them; here they are read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORD = "environment.json"
SCHEMA = "edgeport.environment/1"


def environments_folder() -> Path:
    """Where environments lie: what EDGEPORT_TARGETS names, or `edgeport/targets` in the user's cache folder (XDG)."""
    if (own := os.environ.get("EDGEPORT_TARGETS", "")).startswith("/"):
        return Path(own)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else Path.home() / ".cache") / "edgeport" / "targets"


@dataclass(frozen=True)
class Environment:
    """What was installed for a target.

    Attributes:
        folder: where it lies.
        python: its interpreter, as a path of the file system in `root`.
        versions: of what is in it, by name.
        files: what it was unpacked from: `{name, sha256}` each.
        trust: who vouched for these files.
        size_bytes: of all that lies there.
    """

    folder: Path
    python: str
    versions: Mapping[str, str]
    files: tuple[Mapping[str, str], ...] = ()
    trust: str = ""
    size_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The record, without the folder: an environment may be moved."""
        return {
            "schema": SCHEMA,
            "python": self.python,
            "versions": dict(self.versions),
            "files": [dict(file) for file in self.files],
            "trust": self.trust,
            "size_bytes": self.size_bytes,
        }

    def lacks(self, parts: tuple[str, ...]) -> str:
        """The first of these parts of the folder that is gone; empty where all are there."""
        return next((part for part in parts if not (self.folder / part).exists()), "")


def environment_at(folder: Path) -> Environment | None:
    """The environment in a folder; None where there is none, or none that was made to its end."""
    try:
        record = json.loads((folder / RECORD).read_text())
        if record["schema"] != SCHEMA:
            return None
        return Environment(
            folder,
            str(record["python"]),
            {str(name): str(version) for name, version in record["versions"].items()},
            tuple({str(k): str(v) for k, v in file.items()} for file in record["files"]),
            str(record["trust"]),
            int(record["size_bytes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def environment_of(name: str) -> Environment | None:
    """The environment of a target, by the target's name; None where it is not installed."""
    return environment_at(environments_folder() / name)
