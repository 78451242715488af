"""Writes the contract into finished artifacts, in the places where the public readers of each format look.

No framework is loaded and no weight is touched: a `.tflite` file gets a new root table before and a zip archive behind
its old bytes, an ONNX file further fields at its end, a SavedModel files in `assets.extra`. Stamping a stamped file
gives the bytes of stamping it once.
"""

from __future__ import annotations

import json
from pathlib import Path

from converters.artifact import Artifact
from converters.contract import Contract, labels_file, labels_text
from converters.formats import Format
from converters.stamping import onnx, tflite

CONTRACT_FILE = "contract.json"
_TOO_LARGE = "The file is over 2 GiB and carries no metadata: its contract stands in the manifest alone."
ASSETS = "assets.extra"
"""The folder that SavedModel's documentation leaves to those who ship one; no loader reads it."""


def stamped(artifact: Artifact, contract: Contract) -> Artifact:
    """Writes the contract into the artifact and measures it again.

    The contract of a file with shapes or types of its own is its own. An `.ort` file is stamped when it is made.
    """
    file_contract, path, notes = contract.of(artifact.signature), artifact.path, artifact.notes
    if artifact.format is Format.TFLITE:
        if (
            not tflite.stamp(path, file_contract, files_of(file_contract), artifact.path.name.split(".")[0])
            and _TOO_LARGE not in notes
        ):
            notes = (*notes, _TOO_LARGE)
    elif artifact.format is Format.ONNX:
        onnx.stamp(path, onnx.properties(file_contract))
    elif artifact.format is Format.SAVEDMODEL:
        folder = path / ASSETS
        folder.mkdir(exist_ok=True)
        for stale in folder.iterdir():
            stale.unlink()
        for name, content in files_of(file_contract).items():
            (folder / name).write_bytes(content)
    return artifact.measured(notes)


def files_of(contract: Contract) -> dict[str, bytes]:
    """The files that travel with the contract: itself, and the labels of each output that has some, one a line."""
    document = json.dumps(contract.to_json(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    labels = {labels_file(row.name): labels_text(row.labels) for row in contract.outputs if row.labels}
    return {CONTRACT_FILE: document.encode(), **labels}


def plain_copy(path: Path, scratch: Path) -> Path:
    """The file as it was before it was stamped: itself, or a copy in `scratch`.

    What is made from a file must not depend on whether that file was stamped already.
    """
    if path.suffix == ".tflite":
        content = path.read_bytes()
        plain = tflite.plain(content)
        if len(plain) == len(content):
            return path
        copy = scratch / f"plain-{path.name}"
        copy.write_bytes(plain)
        return copy
    return path
