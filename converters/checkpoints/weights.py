"""Weights from a file into a model that is built, with errors that name the layer. Runs in workers only."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, is_zipfile

from converters.errors import RefusedError, StepError
from converters.readers.tensor_bundle import INDEX

if TYPE_CHECKING:
    import keras

# Keras says which layer and which shapes in its message only; two loaders, two wordings.
_LAYER = re.compile(r"for object <\w+ name=([^,>]+)|layer #\d+ \(named ([^)\s]+)|[Ll]ayer '([^']+)'")
_SHAPES = (
    re.compile(r"variable\.shape=(?P<model>\([^)]*\)), Received: value\.shape=(?P<file>\([^)]*\))"),
    re.compile(r"expects shape (?P<model>\([^)]*\)).*?saved weight with shape (?P<file>\([^)]*\))", re.DOTALL),
)


def load_weights(model: keras.Model, path: Path, archive: Path | None = None) -> None:
    """Loads a `.keras`, `.weights.h5`, legacy `.h5` or TensorFlow checkpoint; the bytes say which, not the name.

    A TensorFlow checkpoint is given by its `.index` file.

    Args:
        archive: the file that was given, of which `path` is a part: it is the one that errors name.

    Raises:
        RefusedError: the file is damaged or none of these.
        StepError: it does not fit; names the layer and both shapes.
    """
    import numpy as np

    if path.name.endswith(INDEX):
        from converters.checkpoints.tf_checkpoint import load_tf_checkpoint

        load_tf_checkpoint(model, path)
        return
    suffix, named = _suffix(path), archive or path
    floats = [variable for variable in model.weights if "float" in variable.dtype]
    for variable in floats:
        # Keras only warns where a file lacks a group: what it left alone must not pass for loaded.
        variable.assign(np.full(variable.shape, np.nan, np.float32))
    with tempfile.TemporaryDirectory(prefix="edgeport-weights-") as folder:
        # Keras chooses its reader by the name: give it one that tells the truth.
        link = Path(folder) / f"weights{suffix}"
        link.symlink_to(path.resolve())
        try:
            model.load_weights(str(link))
        except ValueError as cause:
            raise _unfit(
                named, _reason(str(cause).replace(str(link), str(named))), whole=archive is not None
            ) from cause
        except (OSError, KeyError, BadZipFile) as cause:
            raise _damaged(named) from cause
    missing = next((v for v in floats if np.isnan(np.asarray(v)).all()), None)
    if missing is not None:
        why = f"it holds no numbers for `{missing.path}`, which has shape {tuple(missing.shape)} in the model"
        raise _unfit(named, why, whole=archive is not None)


def _suffix(path: Path) -> str:
    import h5py

    if is_zipfile(path):
        return ".keras"
    if not h5py.is_hdf5(path):
        raise _damaged(path)
    try:
        with h5py.File(path, "r") as file:
            legacy = "layer_names" in file.attrs or "model_weights" in file
    except OSError as cause:
        raise _damaged(path) from cause
    return ".h5" if legacy else ".weights.h5"


def _damaged(path: Path) -> RefusedError:
    return RefusedError(
        f"The weights file {path} is damaged, or no .keras or HDF5 file.",
        next_step="Save or copy it again, then check its size.",
        file=path,
        step="weights",
    )


def _reason(message: str) -> str:
    """The layer and the shapes that Keras' message names."""
    layer = _LAYER.search(message)
    name = next((group for group in layer.groups() if group), None) if layer else None
    shapes = next((match for pattern in _SHAPES if (match := pattern.search(message))), None)
    why = f"layer `{name}`" if name else " ".join(message.split()).rstrip(".")
    if shapes:
        why += f" has shape {shapes['model']} in the model and {shapes['file']} in the file"
    elif name:
        why += " has other weights in the file than in the model"
    return why


def _unfit(path: Path, why: str, *, whole: bool = False) -> StepError:
    if whole:
        return StepError(
            f"The weights in {path} do not fit the model: {why}.",
            next_step="Load it with the Keras that made it and save it again as .h5, or by model.export(FOLDER).",
            file=path,
            step="weights",
        )
    return StepError(
        f"The weights file {path} does not fit: {why}.",
        next_step="Build the model that the weights were made with (--classes, --input-shape, --set, or its code).",
        file=path,
        step="weights",
    )
