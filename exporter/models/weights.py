"""Weights from a file or from keras.applications into a built model, with errors that name the layer."""

from __future__ import annotations

import errno
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, is_zipfile

from converters.errors import RefusedError, StepError, UsageError

if TYPE_CHECKING:
    import keras

IMAGENET = "imagenet"

# Keras says which layer and which shapes in its message only; two loaders, two wordings.
_LAYER = re.compile(r"for object <\w+ name=([^,>]+)|layer #\d+ \(named ([^)\s]+)|[Ll]ayer '([^']+)'")
_SHAPES = (
    re.compile(r"variable\.shape=(?P<model>\([^)]*\)), Received: value\.shape=(?P<file>\([^)]*\))"),
    re.compile(r"expects shape (?P<model>\([^)]*\)).*?saved weight with shape (?P<file>\([^)]*\))", re.DOTALL),
)


def check_weights(weights: str | None) -> None:
    """Raises UsageError where `weights` is neither None, `imagenet` nor a file that is there."""
    if weights is None or weights == IMAGENET or Path(weights).is_file():
        return
    what = "is a folder" if Path(weights).is_dir() else "is not there"
    raise UsageError(
        f"The weights file {weights} {what}.",
        next_step="Give --weights the path of a .weights.h5, .h5 or .keras file, or `imagenet`.", file=weights,
    )  # fmt: skip


def load_weights(model: keras.Model, path: Path) -> None:
    """Loads a `.keras`, `.weights.h5` or legacy `.h5` file into `model`; the bytes say which, not the name.

    Raises:
        RefusedError: the file is damaged or none of these.
        StepError: it does not fit; names the layer and both shapes.
    """
    import numpy as np

    suffix = _suffix(path)
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
            raise _unfit(path, _reason(str(cause))) from cause
        except (OSError, KeyError, BadZipFile) as cause:
            raise _damaged(path) from cause
    missing = next((v for v in floats if np.isnan(np.asarray(v)).all()), None)
    if missing is not None:
        shape = tuple(missing.shape)
        raise _unfit(path, f"it holds no numbers for `{missing.path}`, which has shape {shape} in the model")


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
        next_step="Save or copy it again, then check its size.", file=path, step="weights",
    )  # fmt: skip


def _reason(message: str) -> str:
    """Which layer, with which shapes, out of Keras' message."""
    layer = _LAYER.search(message)
    name = next((group for group in layer.groups() if group), None) if layer else None
    shapes = next((found for pattern in _SHAPES if (found := pattern.search(message))), None)
    why = f"layer `{name}`" if name else " ".join(message.split())[:300].rstrip(".")
    if shapes:
        why += f" has shape {shapes['model']} in the model and {shapes['file']} in the file"
    elif name:
        why += " has other weights in the file than in the model"
    return why


def _unfit(path: Path, why: str) -> StepError:
    return StepError(
        f"The weights file {path} does not fit: {why}.",
        next_step="Build with the --classes, --input-shape and --set that the weights were made with.",
        file=path, step="weights",
    )  # fmt: skip


def share_download_cache(user_home: str | None) -> None:
    """Points the `models` folder of this process' empty KERAS_HOME at the user's, so that a download is kept.

    Must run before keras is imported. Does nothing where the user's folder cannot be made.
    """
    own = os.environ.get("KERAS_HOME")
    if not own or not user_home or own == user_home:
        return
    cache = Path(user_home) / "models"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        Path(own).mkdir(parents=True, exist_ok=True)
        (Path(own) / "models").symlink_to(cache, target_is_directory=True)
    except OSError:
        return


@contextmanager
def downloads(timeout_s: float = 60.0) -> Iterator[None]:
    """Turns a failed download by keras.applications into a StepError; a silent connection fails after `timeout_s`."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_s)
    try:
        yield
    except Exception as cause:
        text = " ".join(str(cause).split())
        # keras.utils.get_file raises a bare Exception, or ValueError on a wrong digest
        if not (type(cause) is Exception or isinstance(cause, OSError) or "corrupted file" in text):
            raise
        if isinstance(cause, OSError) and cause.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise StepError(
            f"The ImageNet weights could not be downloaded ({text[:300].rstrip('.')}).",
            next_step="Check the network and run again, or give the file itself with --weights PATH.", step="weights",
        ) from cause  # fmt: skip
    finally:
        socket.setdefaulttimeout(before)
