"""A path -> a Checkpoint: what kind of source it is, by its bytes, and that it is safe and whole enough to load.

No framework is imported here: a bad file is refused in well under a second.
"""

from __future__ import annotations

from pathlib import Path

from converters.artifact import digest
from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.scan import scan_config
from converters.errors import RefusedError, UsageError
from converters.formats import model_name
from converters.readers.facts import refusing
from converters.readers.h5_file import H5Facts, read_h5
from converters.readers.keras_file import parse_config, read_keras
from converters.readers.saved_model_file import SavedModelFacts, read_saved_model
from converters.readers.sniff import FileKind, sniff

SOURCES = "a .keras or .h5 file, a SavedModel folder, or a .weights.h5 with --architecture"


def identify(path: Path) -> Checkpoint:
    """Tells the kind of a source by its content, scans it and digests it.

    An `.h5` that is named `.keras`, or the other way round, is what its bytes say.

    Raises:
        UsageError: nothing is there, or it is no readable file or folder.
        RefusedError: it is damaged, unsafe, or no checkpoint.
    """
    path = Path(path)
    try:
        kind = _scanned(path, sniff(path))
    except UsageError:
        _explain_prefix(path)
        raise
    return Checkpoint(path.absolute(), kind, model_name(path), digest(path))


def _scanned(path: Path, found: FileKind) -> SourceKind:
    if found is FileKind.FOLDER:
        check_saved_model(path)
        return SourceKind.SAVEDMODEL
    if found is FileKind.ZIP:
        archive = read_keras(path)
        scan_config(archive.config, path, archive.weights.stored_elements)
        return SourceKind.KERAS
    if found is FileKind.HDF5:
        facts = read_h5(path)
        check_h5(path, facts)
        return SourceKind.H5 if facts.model_config is not None else SourceKind.WEIGHTS_H5
    raise _no_checkpoint(path, found)


def check_h5(path: Path, facts: H5Facts) -> None:
    """Scans the model of a whole-model file; a weights file passes. Raises RefusedError."""
    if facts.model_config is not None:
        with refusing(path, "Keras .h5 file"):
            config = parse_config(facts.model_config, "model_config")
            scan_config(config, path, facts.stored_elements)
    elif not facts.is_keras:
        raise _refused(path, "is an HDF5 file that Keras did not write", f"Give {SOURCES}.")


def check_saved_model(folder: Path) -> SavedModelFacts:
    """Reads a SavedModel folder and refuses one that reaches for the host's files. Raises RefusedError."""
    if not (folder / "saved_model.pb").exists():
        if (folder / "saved_model.pbtxt").exists():
            raise _refused(folder, "is a SavedModel in text form", "Save it again in binary form (saved_model.pb).")
        raise _refused(folder, "is a folder without a saved_model.pb, so it is no SavedModel", f"Give {SOURCES}.")
    for file in folder.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(folder.resolve()):
            raise _refused(folder, f"has the link {file.name!r} to a file outside it", "Copy the files themselves.")
    facts = read_saved_model(folder)
    if facts.host_ops:
        ops = ", ".join(sorted({f"{op} ({node})" for op, node in facts.host_ops})[:5])
        raise _refused(
            folder, f"uses operations that do more than compute (files, Python, other processes) or are unknown: {ops}",
            "Save the model again without those operations.",
        )  # fmt: skip
    return facts


def _no_checkpoint(path: Path, found: FileKind) -> RefusedError:
    suffix = path.suffix.lower()
    artifact = found in (FileKind.TFLITE, FileKind.ORT) or (suffix == ".onnx" and found is FileKind.UNKNOWN)
    if artifact:
        what = "an ONNX model" if suffix == ".onnx" else found.value
        return _refused(
            path, f"is {what}, an artifact that is already converted and no checkpoint",
            "The commands inspect, validate and bench take it; give the checkpoint that it was made from here.",
        )  # fmt: skip
    if suffix in (".ckpt", ".index") or ".data-0" in suffix:
        return _refused_prefix(path)
    named = {".keras": ".keras archive", ".h5": "HDF5 file", ".hdf5": "HDF5 file"}.get(suffix, "checkpoint")
    return _refused(path, f"is {found.value}, not a complete {named}", f"Give {SOURCES}.")


def _explain_prefix(path: Path) -> None:
    """A TensorFlow checkpoint is named by a prefix, at which itself nothing lies."""
    try:
        is_prefix = path.with_name(path.name + ".index").is_file()
    except (OSError, ValueError):  # no name that the file system takes
        return
    if is_prefix:
        raise _refused_prefix(path)


def _refused_prefix(path: Path) -> RefusedError:
    return _refused(
        path, "is a TensorFlow checkpoint, which holds weights and no model",
        "Load it in the code that built the model, then save that with model.save('model.keras').",
    )  # fmt: skip


def _refused(path: Path, reason: str, next_step: str) -> RefusedError:
    return RefusedError(f"{path} {reason}.", next_step=next_step, file=path)
