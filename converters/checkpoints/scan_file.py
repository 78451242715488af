"""The scan of any model file, before a framework opens it: what in it would harm, and what is worth knowing.

`check` is the door that every file passes on its way to a worker; `scan` says the same for people to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.checkpoints.identify import (
    check_frozen_graph,
    check_h5,
    check_saved_model,
    check_tf_checkpoint,
    checkpoint_index,
    chosen_signature,
    trust_in,
)
from converters.checkpoints.keras_files import config_of_archive
from converters.checkpoints.load_options import LoadOptions
from converters.errors import EdgeportError, RefusedError, UsageError
from converters.readers.h5_file import read_h5
from converters.readers.keras_file import read_keras
from converters.readers.onnx_file import OnnxFacts, read_onnx
from converters.readers.sniff import FileKind, sniff
from converters.readers.tflite_file import read_tflite


@dataclass(frozen=True)
class Finding:
    """Why a file is refused, in a sentence, and what the user can do about it."""

    message: str
    next_step: str

    def to_json(self) -> dict[str, str]:
        return {"message": self.message, "next": self.next_step}


@dataclass(frozen=True)
class Scan:
    """Result of a scan.

    Attributes:
        kind: `keras`, `h5`, `tf_checkpoint`, `savedmodel`, `frozen_graph`, `tflite`, `onnx`, `ort` or `unknown`.
        findings: why it is refused; empty for a file that passes.
        notes: what it needs or holds that is harmless and worth knowing.
    """

    path: Path
    kind: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "format": self.kind,
            "clean": self.clean,
            "findings": [finding.to_json() for finding in self.findings],
            "notes": list(self.notes),
        }


def scan(path: Path, opening: LoadOptions = LoadOptions()) -> Scan:
    """Scans any model file, TensorFlow checkpoint or SavedModel; what `opening` lets pass is a note.

    Raises:
        UsageError: nothing is there, it cannot be read, or `opening` asks for what it does not have.
    """
    if checkpoint_index(path) is not None:
        return _scan_of(path, "tf_checkpoint", opening)
    file_kind = sniff(path)
    try:
        kind = _kind(path, file_kind)
    except RefusedError as error:
        return Scan(path, "unknown", (Finding(error.message, error.next_step),))
    return _scan_of(path, kind, opening)


def _scan_of(path: Path, kind: str, opening: LoadOptions) -> Scan:
    try:
        notes = _CHECKS[kind](path, opening)
    except UsageError:
        raise
    except EdgeportError as error:
        return Scan(path, kind, (Finding(error.message, error.next_step),))
    return Scan(path, kind, (), tuple(notes))


def check(path: Path) -> None:
    """Refuses what `scan` finds. Raises RefusedError, UsageError."""
    _CHECKS[_kind(path, sniff(path))](path, LoadOptions())


def _kind(path: Path, file_kind: FileKind) -> str:
    kinds = {
        FileKind.FOLDER: "savedmodel",
        FileKind.ZIP: "keras",
        FileKind.HDF5: "h5",
        FileKind.TFLITE: "tflite",
        FileKind.ORT: "ort",
    }
    suffix = path.suffix.lower()
    if file_kind in kinds:
        return kinds[file_kind]
    if file_kind is FileKind.UNKNOWN and suffix not in (".keras", ".h5"):  # ONNX has no mark of its own
        return {".tflite": "tflite", ".pb": "frozen_graph"}.get(suffix, "onnx")
    raise RefusedError(
        f"{path} is {file_kind.value}, which holds no model.",
        next_step="Give a .keras, .h5, .tflite or .onnx file, or a SavedModel folder.",
        file=path,
        step="scan",
    )


def _trust_notes(opening: LoadOptions) -> list[str]:
    """Notes on what passes by the user's word alone, which a scan that runs nothing cannot look into."""
    custom = ", ".join(map(str, opening.custom_objects))
    notes = [f"Classes that Keras does not know pass unseen: they are looked for in {custom}."] if custom else []
    if opening.model_code:
        notes.append(f"The model comes from {opening.model_code}, which is run when it is opened.")
    return [*notes, "Python code in the file passes: --allow-unsafe runs it."] if opening.allow_unsafe else notes


def _keras(path: Path, opening: LoadOptions) -> list[str]:
    config = config_of_archive(path, read_keras(path), opening, trust_in(opening))
    return [*config.report.notes, *config.notes, *_trust_notes(opening)]


def _h5(path: Path, opening: LoadOptions) -> list[str]:
    facts = read_h5(path)
    config = check_h5(path, facts, opening, trust_in(opening))
    if config is None:
        return ["The file holds weights alone.", *_trust_notes(opening)]
    return [*config.report.notes, *config.notes, *_trust_notes(opening)]


def _tf_checkpoint(path: Path, opening: LoadOptions) -> list[str]:
    check_tf_checkpoint(path)
    return ["It holds variables alone.", *_trust_notes(opening)]


def _saved_model(path: Path, opening: LoadOptions) -> list[str]:
    facts = check_saved_model(path, allow_unsafe=opening.allow_unsafe)
    if opening.signature is not None:
        chosen_signature(path, facts, opening.signature)
    return _host_operations(facts.host_ops)


def _host_operations(operations: list[tuple[str, str]]) -> list[str]:
    passed = ", ".join(sorted({operation for operation, _ in operations}))
    return [f"Operations that may reach the host pass by --allow-unsafe: {passed}."] if passed else []


def _frozen_graph(path: Path, opening: LoadOptions) -> list[str]:
    facts = check_frozen_graph(path, opening)
    note = "It is a frozen graph: its inputs and outputs are told by its placeholders and ends."
    return [note, *_host_operations(facts.foreign)]


def _tflite(path: Path, _opening: LoadOptions) -> list[str]:
    custom = ", ".join(read_tflite(path).custom_ops)
    return [f"It needs operations that are not TFLite's own: {custom}."] if custom else []


def flex_operations(path: Path) -> list[str]:
    """The TensorFlow operations that a `.tflite` asks the Flex delegate for. Raises RefusedError, UsageError."""
    return [operation for operation in read_tflite(path).custom_ops if operation.startswith("Flex")]


def _onnx(path: Path, _opening: LoadOptions) -> list[str]:
    facts = read_onnx(path)
    check_operations(path, facts)
    return [f"It uses operations of ONNX Runtime's own: {', '.join(facts.custom_ops)}."] if facts.custom_ops else []


def check_operations(path: Path, facts: OnnxFacts) -> None:
    """Refuses operations that would need foreign code to be loaded. Raises RefusedError."""
    if facts.foreign_ops:
        raise RefusedError(
            f"{path} needs operations that ONNX Runtime does not have or that are compiled programs: "
            f"{', '.join(facts.foreign_ops)}.",
            next_step="Export it again without custom operations and without compiled contexts.",
            file=path,
            step="scan",
        )


def _ort(path: Path, _opening: LoadOptions) -> list[str]:
    return ["An .ort file is checked by ONNX Runtime when it is opened, in a worker process."]


_CHECKS = {
    "keras": _keras,
    "h5": _h5,
    "savedmodel": _saved_model,
    "frozen_graph": _frozen_graph,
    "tflite": _tflite,
    "onnx": _onnx,
    "ort": _ort,
    "tf_checkpoint": _tf_checkpoint,
}
