"""Importing Keras and loading with it, without the work that nothing here needs, and with layers of any name."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from converters.compat.keras import NAME_SCOPE, SKIPSET, SKLEARN

_UNSPEAKABLE = re.compile(r"[^A-Za-z0-9_./>-]")
_FIRST = re.compile(r"[A-Za-z0-9.]")


def import_keras() -> None:
    """Imports TensorFlow and Keras as if scikit-learn were not installed.

    Keras imports it for wrappers that edgeport does not use; it is a fifth of the time that a worker takes to start.
    """
    if "keras" not in sys.modules:
        with SKLEARN.hidden():
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    _open_scopes_of_any_name()


def graph_name(name: str) -> str:
    """A name as TensorFlow's graphs can spell it: in ASCII, with a letter or digit first.

    >>> graph_name("my input"), graph_name("größe"), graph_name("_x")
    ('my_input', 'gr__e', 'x_x')
    """
    spelt = _UNSPEAKABLE.sub("_", name)
    return spelt if _FIRST.match(spelt) else f"x{spelt}"


def _open_scopes_of_any_name() -> None:
    """From now on Keras opens a layer's scope in TensorFlow under a name that TensorFlow has letters for.

    Keras takes any text for a layer's name and builds eagerly, where TensorFlow does not look; a graph refuses it.
    """

    def of_any_name(original: Callable[..., None]) -> Callable[..., None]:
        def opened(self: Any, name: str, **kwargs: Any) -> None:
            original(self, graph_name(name), **kwargs)
            self.name = name

        return opened

    NAME_SCOPE.replace_for_good(of_any_name)


@contextlib.contextmanager
def quick_loading() -> Iterator[None]:
    """While open, Keras works out once which attributes of a layer hold no state.

    Keras 3.15 keeps the answer under one key and asks for another, so that it builds a layer for every layer it
    restores: a sixth of the time that SE-Inception v3 takes to load.
    """
    with SKIPSET.replaced(functools.cache):
        yield
