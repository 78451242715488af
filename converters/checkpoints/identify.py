"""A path -> a Checkpoint: what kind of source it is, by its bytes, and that it is safe and whole enough to load.

No framework is imported here: a bad file is refused in well under a second.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from converters.artifact import digest
from converters.checkpoints.checkpoint import FINISHED, Checkpoint, SourceKind
from converters.checkpoints.keras_files import ModelConfig, config_of_archive, config_of_h5
from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.scan import Trust
from converters.errors import RefusedError, UsageError
from converters.formats import model_name
from converters.readers.facts import refusing
from converters.readers.graph_file import GraphFacts, chosen_tensors, read_graph_file
from converters.readers.h5_file import H5Facts, read_h5
from converters.readers.keras_file import read_keras
from converters.readers.onnx_file import read_onnx
from converters.readers.saved_model_file import SavedModelFacts, read_saved_model
from converters.readers.saved_model_file import Signature as SavedSignature
from converters.readers.sniff import FileKind, sniff
from converters.readers.tensor_bundle import INDEX, missing_data, read_bundle, shards_beside
from converters.readers.tflite_file import read_tflite
from converters.signature import SIGNATURE_KEY

SOURCES = (
    "a .keras or .h5 file, a SavedModel folder, a frozen .pb graph, a .tflite or .onnx file, or weights (.weights.h5 "
    "or a TensorFlow checkpoint) with --architecture or --model-code"
)


def identify(path: Path, opening: LoadOptions = LoadOptions()) -> Checkpoint:
    """Tells the kind of a source by its content, scans it and digests it.

    An `.h5` that is named `.keras`, or the other way round, is what its bytes say. A TensorFlow checkpoint may be given
    by its prefix or any of its files.

    Raises:
        UsageError: nothing is there, it is not a readable file or folder, or `opening` asks for what it does not have.
        RefusedError: it is damaged, unsafe, or not a checkpoint.
    """
    path = Path(path)
    if checkpoint_index(path) is not None:
        return _tf_checkpoint(path, opening)
    kind = _scanned(path, sniff(path), opening)
    name = model_name(path).removesuffix(".float32") if kind in FINISHED else model_name(path)
    return Checkpoint(path.absolute(), kind, name, digest(path), opening)


def confirm(checkpoint: Checkpoint) -> None:
    """Compares a checkpoint with its scan, just before it is opened: the bytes must still be those scanned.

    Raises:
        UsageError: it is not there any more, or cannot be read.
        RefusedError: it was changed since.
    """
    path = checkpoint.path
    sniff(path)  # a digest of a pipe or a device might have no end
    try:
        current = _digest_of_tf(path) if checkpoint.kind is SourceKind.TF_CHECKPOINT else digest(path)
    except OSError as cause:
        raise _usage(path, f"cannot be read any more ({cause.strerror})", "Run again.") from cause
    if current != (checkpoint.scanned or checkpoint.sha256):
        raise RefusedError(
            f"{path} was changed after its scan.",
            next_step="Run again when nothing writes to it any more.",
            file=path,
            step="scan",
        )


def checkpoint_index(path: Path) -> Path | None:
    """The index of the TensorFlow checkpoint that a path means by its prefix, which may be empty, or by a file of it.

    None where it means none.
    """
    name = re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", path.name)
    try:
        index = path.with_name(name + INDEX)
        return index if index.is_file() and not (name == path.name and path.exists()) else None
    except (OSError, ValueError):  # no name that the file system takes
        return None


def _tf_checkpoint(path: Path, opening: LoadOptions) -> Checkpoint:
    index = check_tf_checkpoint(path)
    name = model_name(index.name.removesuffix(INDEX) or index.absolute().parent.name)
    return Checkpoint(index.absolute(), SourceKind.TF_CHECKPOINT, name, _digest_of_tf(index), opening)


def _digest_of_tf(index: Path) -> str:
    """SHA-256 of a TensorFlow checkpoint: over a line for each data file, then one for the index."""
    sha = hashlib.sha256()
    for file in [*shards_beside(index), index]:
        sha.update(f"{digest(file)}  {file.name}\n".encode())
    return sha.hexdigest()


def check_tf_checkpoint(path: Path) -> Path:
    """Reads a TensorFlow checkpoint's index, which it gives, and refuses one with data missing. Raises RefusedError."""
    index = checkpoint_index(path) or path
    with refusing(index, "TensorFlow checkpoint index"):
        bundle = read_bundle(index)
        problem = missing_data(index, bundle)
    if problem:
        raise _refused(path, f"is not a whole TensorFlow checkpoint: {problem}", "Copy all of its files again.")
    return index


def trust_in(opening: LoadOptions) -> Trust:
    """The parts of a model's config that pass because of the user's options."""
    return Trust(later=bool(opening.custom_objects), lambdas=opening.allow_unsafe)


def _scanned(path: Path, file_kind: FileKind, opening: LoadOptions) -> SourceKind:
    suffix = path.suffix.lower()
    if file_kind is FileKind.FOLDER:
        facts = check_saved_model(path, allow_unsafe=opening.allow_unsafe)
        chosen_signature(path, facts, opening.signature)
        return SourceKind.SAVEDMODEL
    trust = trust_in(opening)
    if file_kind is FileKind.ZIP:
        config_of_archive(path, read_keras(path), opening, trust)
        return SourceKind.KERAS
    if file_kind is FileKind.HDF5:
        h5 = read_h5(path)
        check_h5(path, h5, opening, trust)
        return SourceKind.H5 if h5.model_config is not None else SourceKind.WEIGHTS_H5
    if file_kind is FileKind.TFLITE:
        check_tflite_signature(path, opening.signature)
        return SourceKind.TFLITE
    if file_kind is FileKind.UNKNOWN and suffix == ".onnx":
        onnx = read_onnx(path)
        if onnx.foreign_ops:
            raise _refused(
                path,
                f"needs operations that ONNX Runtime does not have, or compiled ones: {', '.join(onnx.foreign_ops)}",
                "Export it again without custom operations and without compiled contexts.",
            )
        return SourceKind.ONNX
    if file_kind in (FileKind.UNKNOWN, FileKind.TEXT) and suffix == ".pb":
        check_frozen_graph(path, opening)
        return SourceKind.FROZEN_GRAPH
    raise _no_checkpoint(path, file_kind)


def check_h5(
    path: Path, facts: H5Facts, opening: LoadOptions = LoadOptions(), trust: Trust = Trust()
) -> ModelConfig | None:
    """Scans the model of a whole-model file; None for a weights file. Raises RefusedError."""
    if facts.model_config is not None:
        return config_of_h5(path, facts, opening, trust)
    if not facts.is_keras:
        raise _refused(path, "is an HDF5 file that Keras did not write", f"Give {SOURCES}.")
    return None


def check_saved_model(folder: Path, *, allow_unsafe: bool = False) -> SavedModelFacts:
    """Reads a SavedModel folder and refuses one that reaches for the host's files. Raises RefusedError."""
    if not (folder / "saved_model.pb").exists():
        if (folder / "saved_model.pbtxt").exists():
            raise _refused(folder, "is a SavedModel in text form", "Save it again in binary form (saved_model.pb).")
        index = next(iter(sorted(folder.glob("*.index"))), None)
        next_step = f"Give the checkpoint in it: {index.with_suffix('')}." if index else f"Give {SOURCES}."
        raise _refused(folder, "is a folder without a saved_model.pb, so it is no SavedModel", next_step)
    for file in folder.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(folder.resolve()):
            raise _refused(folder, f"has the link {file.name!r} to a file outside it", "Copy the files themselves.")
    facts = read_saved_model(folder)
    if facts.host_ops and not allow_unsafe:
        raise _foreign(folder, facts.host_ops)
    return facts


def check_frozen_graph(path: Path, opening: LoadOptions = LoadOptions()) -> GraphFacts:
    """Reads a `.pb` file; refuses a graph that is not frozen or reaches for the host's files. Raises RefusedError."""
    if path.name == "saved_model.pb":
        raise _refused(path, "is the graph of a SavedModel", f"Give its folder: {path.parent}.")
    facts = read_graph_file(path)
    if facts.foreign and not opening.allow_unsafe:
        raise _foreign(path, facts.foreign)
    if facts.has_variables:
        raise _refused(
            path,
            "is a graph that is not frozen: it has variables, whose values are not in it",
            "Freeze it where its checkpoint is (tf.compat.v1.graph_util.convert_variables_to_constants), or save a "
            "SavedModel.",
        )
    chosen_tensors(path, facts, [option.partition("=")[0] for option in opening.inputs], opening.outputs)
    return facts


def chosen_signature(path: Path, facts: SavedModelFacts, key: str | None) -> SavedSignature:
    """The signature to convert.

    Keras writes the same function as `serve` and `serving_default`, which count as one. `serving_default` is the one
    that is taken where none is named: so does whoever serves the folder.

    Raises:
        UsageError: there is none, none of that name, or several without a default and none was named.
    """
    by_key = {signature.key: signature for signature in facts.signatures}
    names = ", ".join(sorted(by_key)) or "none"
    if key is not None:
        if key not in by_key:
            raise _usage(path, f"has no signature `{key}`", f"It has: {names}.")
        return by_key[key]
    if not by_key:
        raise _refused(
            path,
            "has no signature, so nothing says what goes in and what comes out",
            "Save it again with one: tf.saved_model.save(module, folder, signatures=...).",
        )
    if SIGNATURE_KEY in by_key:
        return by_key[SIGNATURE_KEY]
    if len(by_key) > 1:
        raise _usage(path, f"has several signatures: {names}", "Choose one with --signature NAME.")
    return next(iter(by_key.values()))


def check_tflite_signature(path: Path, key: str | None) -> None:
    """Raises UsageError where a `.tflite` has no such signature, or several of which none is meant."""
    facts = read_tflite(path)
    if key is not None and not facts.signatures:
        raise _usage(path, f"has no signature `{key}`, and no other", "Leave --signature out.")
    if key is not None and len(facts.signatures) == 1 and facts.signatures[0].key != key:
        raise _usage(path, f"has no signature `{key}`; it has: {facts.keys}", "Leave --signature out.")
    facts.chosen(path, key)


def needs_reader(folder: Path, opening: LoadOptions) -> bool:
    """Whether `tf.saved_model.load` and its `serving_default` are not what this SavedModel is meant to be opened by."""
    facts = read_saved_model(folder)
    return opening.signature not in {None, SIGNATURE_KEY} or not facts.has_objects or len(facts.tags) > 1


def _usage(path: Path, reason: str, next_step: str) -> UsageError:
    return UsageError(f"{path} {reason}.", next_step=next_step, file=path, step="scan")


def _foreign(path: Path, operations: list[tuple[str, str]]) -> RefusedError:
    ops = ", ".join(sorted({f"{op} ({node})" for op, node in operations})[:5])
    return _refused(
        path,
        f"has operations that make up no model: they may reach files, the network or Python of this machine: {ops}",
        "Save the inference graph alone, without those operations; --allow-unsafe takes it as it is.",
    )


def _no_checkpoint(path: Path, file_kind: FileKind) -> RefusedError:
    if file_kind is FileKind.ORT:
        return _refused(
            path,
            "is an ONNX Runtime model, an artifact that is already converted",
            "The commands inspect and bench take it; give the .onnx file or checkpoint that it was made from here.",
        )
    names = {".keras": ".keras archive", ".h5": "HDF5 file", ".hdf5": "HDF5 file"}
    description = names.get(path.suffix.lower(), "checkpoint")
    return _refused(path, f"is {file_kind.value}, not a complete {description}", f"Give {SOURCES}.")


def _refused(path: Path, reason: str, next_step: str) -> RefusedError:
    return RefusedError(f"{path} {reason}.", next_step=next_step, file=path)
