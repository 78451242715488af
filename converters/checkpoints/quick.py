"""Importing Keras and loading with it, without the work that nothing here needs."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator


def import_keras() -> None:
    """Imports TensorFlow and Keras as if scikit-learn were not installed.

    Keras imports it for wrappers that edgeport does not use; it is a fifth of the time that a worker takes to start.
    """
    hidden = "sklearn"
    if hidden in sys.modules or "keras" in sys.modules:
        return
    sys.modules[hidden] = None  # type: ignore[assignment]  # what makes an import raise ImportError
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        del sys.modules[hidden]


@contextlib.contextmanager
def quick_loading() -> Iterator[None]:
    """While open, Keras works out once which attributes of a layer hold no state.

    Keras 3.15 keeps the answer under one key and asks for another, so that it builds a layer for every layer it
    restores: a sixth of the time that SE-Inception v3 takes to load.
    """
    from keras.src.saving import saving_lib

    original = saving_lib.get_attr_skipset
    saving_lib.get_attr_skipset = functools.cache(original)
    try:
        yield
    finally:
        saving_lib.get_attr_skipset = original
