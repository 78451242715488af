"""Weights from a file or from keras.applications into a built model, with errors that name the layer."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converters.errors import StepError, UsageError

IMAGENET = "imagenet"


def check_weights(weights: str | None) -> None:
    """Raises UsageError where `weights` is neither None, `imagenet` nor a file that is there."""
    if weights is None or weights == IMAGENET or Path(weights).is_file():
        return
    what = "is a folder" if Path(weights).is_dir() else "is not there"
    raise UsageError(
        f"The weights file {weights} {what}.",
        next_step="Give --weights the path of a .weights.h5, .h5 or .keras file, or `imagenet`.",
        file=weights,
    )


def share_download_cache(user_home: str | None) -> None:
    """Points the `models` folder of this process' empty KERAS_HOME at the user's, so that a download is kept.

    Must run before keras is imported. Does nothing where the user's folder cannot be made.
    """
    process_home = os.environ.get("KERAS_HOME")
    if not process_home or not user_home or process_home == user_home:
        return
    cache = Path(user_home) / "models"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        Path(process_home).mkdir(parents=True, exist_ok=True)
        (Path(process_home) / "models").symlink_to(cache, target_is_directory=True)
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
            next_step="Check the network and run again, or give the file itself with --weights PATH.",
            step="weights",
        ) from cause
    finally:
        socket.setdefaulttimeout(before)
