"""Keras' loader without work that it does again for every layer."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator


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
