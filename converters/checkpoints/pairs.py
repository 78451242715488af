"""`model.json` and its weights, the commonest pair of Keras 1 and 2: joined into one archive. No framework is used."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from converters.errors import RefusedError, UsageError
from converters.formats import model_name
from converters.readers.facts import refusing
from converters.readers.keras_file import parse_config
from converters.readers.sniff import FileKind, sniff

WEIGHTS_FILE = "weights_file"
"""In the metadata of a joined archive: the name of the file that errors about its weights are to name."""
_BESIDE = ("{}.weights.h5", "{}.h5", "{}_weights.h5", "{}-weights.h5", "{}.hdf5", "{}_weights.hdf5")
"""Names of weights that belong to `{}.json`, the surest first."""


@dataclass(frozen=True)
class Pair:
    """An architecture as `model.to_json()` wrote it, and the HDF5 file that has its weights."""

    config: Path
    weights: Path

    @property
    def name(self) -> str:
        return model_name(self.config.with_suffix(".keras"))

    def written(self, folder: Path) -> Path:
        """The archive of both, in a folder; the same bytes each time."""
        document = json.loads(self.config.read_text("utf-8"))
        version = document.pop("keras_version", None) or ("3" if "module" in document else "1")
        document.pop("backend", None)
        metadata = {"keras_version": version, WEIGHTS_FILE: self.weights.name}
        path = folder / f"{self.name}.keras"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (("config.json", document), ("metadata.json", metadata)):
                archive.writestr(zipfile.ZipInfo(name), json.dumps(content))
            member = zipfile.ZipInfo("model.weights.h5")
            with self.weights.open("rb") as reading, archive.open(member, "w", force_zip64=True) as writing:
                shutil.copyfileobj(reading, writing, 1 << 20)
        return path


def is_architecture(path: Path) -> bool:
    """Whether a path is meant as an architecture in JSON."""
    return path.suffix.lower() == ".json" and path.is_file() and sniff(path) is FileKind.TEXT


def pair_of(path: Path, weights: str | None = None) -> Pair:
    """The architecture and its weights: those that are named, else those found beside it.

    Raises:
        RefusedError: the JSON is no Keras model.
        UsageError: there are no weights, more than one file could be meant, or it is no HDF5 file.
    """
    with refusing(path, "Keras architecture in JSON"):
        document = parse_config(path.read_bytes(), "text")
    if not isinstance(document.get("class_name"), str) or "config" not in document:
        raise RefusedError(
            f"{path} is JSON, but not the architecture of a Keras model.",
            next_step="Give what model.to_json() wrote, or the model in one file (model.save).",
            file=path,
            step="scan",
        )
    found = Path(weights) if weights else _beside(path)
    if sniff(found) is not FileKind.HDF5:
        raise UsageError(
            f"{found} is no HDF5 file, so it cannot be the weights of {path}.",
            next_step="Give what model.save_weights('model.weights.h5') wrote.",
            file=found,
            step="scan",
        )
    return Pair(path.absolute(), found.absolute())


def _beside(path: Path) -> Path:
    by_name = [path.with_name(pattern.format(path.stem)) for pattern in _BESIDE]
    named = [candidate for candidate in by_name if candidate.is_file()]
    others = sorted(p for p in path.parent.iterdir() if p.suffix.lower() in {".h5", ".hdf5"} and p.is_file())
    if named or len(others) == 1:
        return (named or others)[0]
    what = f"{len(others)} files could be its weights: {', '.join(p.name for p in others[:5])}" if others else ""
    raise UsageError(
        f"{path} holds an architecture without weights{f', and {what}' if what else ''}.",
        next_step=f"Name its weights: --weights PATH (an HDF5 file), or lay them beside it as {path.stem}.weights.h5.",
        file=path,
        step="scan",
    )
