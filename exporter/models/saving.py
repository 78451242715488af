"""Writing a `.keras` checkpoint whole or not at all, and with the same bytes for the same model."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip member can carry


def save_checkpoint(model: keras.Model, path: Path) -> None:
    """Writes `model` to `path` as `.keras`, without optimizer state when the model was not compiled.

    Same model, same bytes: Keras writes the time of saving and the memory addresses of shared objects; both are
    replaced here, the time by a fixed one, the addresses by 1, 2, 3. The file appears under its name only when it is
    whole. Raises OSError where it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        raw, whole = Path(folder) / "raw.keras", Path(folder) / "whole.keras"
        model.save(raw)
        _normalize(raw, whole)
        whole.replace(path)


def _normalize(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in sorted(before.namelist()):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            if name == "metadata.json":
                metadata = json.loads(before.read(name)) | {"date_saved": "1980-01-01@00:00:00"}
                after.writestr(info, json.dumps(metadata))
            elif name == "config.json":
                after.writestr(info, json.dumps(_renumbered(json.loads(before.read(name)), {})))
            else:
                with before.open(name) as reading, after.open(info, "w", force_zip64=True) as writing:
                    while chunk := reading.read(1 << 20):
                        writing.write(chunk)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def _renumbered(node: Any, numbers: dict[int, int]) -> Any:
    """The config with every `shared_object_id` replaced by the order in which it first appears."""
    if isinstance(node, dict):
        return {
            key: numbers.setdefault(value, len(numbers) + 1)
            if key == "shared_object_id" and isinstance(value, int)
            else _renumbered(value, numbers)
            for key, value in node.items()
        }
    return [_renumbered(item, numbers) for item in node] if isinstance(node, list) else node
