"""The part of reading HDF5 that runs in a worker process: the walk through the file with h5py.

h5py follows links into other files and believes declared sizes; both are checked here before a value is read.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.isolation import Channel
from converters.readers.facts import MalformedError, WeightFact, checked_shape, mapped

_MAX_OBJECTS = 500_000
_MAX_DEPTH = 64
_SMALL = 64 << 20
_MAX_INFLATION = 20
"""Declared bytes may exceed the file's size (compressed data sets, fill values), but not by more than this factor."""

_STATE = ("optimizer", "optimizer_weights", "seed_generator", "metrics", "loss_tracker")


def read(request: dict[str, Any], _: Channel) -> dict[str, Any]:
    """The worker's entry: `path`, and `start` and `size` of the HDF5 file within it (a member of an archive).

    Returns the fields of `H5Facts`, or `malformed` with the reason.
    """
    path, start, size = Path(request["path"]), int(request["start"]), int(request["size"])
    try:
        if start == 0:
            return _facts_of(str(path), size, bool(request["values"]))
        with mapped(path) as data:
            return _facts_of(io.BufferedReader(_Window(data[start : start + size])), size, bool(request["values"]))
    except MalformedError as cause:
        return {"malformed": str(cause)}


def _facts_of(file_or_path: Any, size: int, values: bool) -> dict[str, Any]:
    import h5py

    with _translating(), h5py.File(file_or_path, "r") as file:
        texts = {n: _attribute(file, n, size) for n in ("model_config", "keras_version") if n in file.attrs}
        walk = _Walk(max(_SMALL, _MAX_INFLATION * size))
        walk.group(file, "", 0)
        names = set(file)
        layered = "layer_names" in file.attrs or "model_weights" in names
        nonfinite = [w.name for w in walk.weights if _holds_nonfinite(file[w.name])] if values else []
        is_keras = layered or bool(names & {"layers", "vars", "_layer_checkpoint_dependencies"})
    weights = [[w.name, list(w.shape), w.dtype] for w in walk.weights]
    facts = {"stored_elements": walk.stored_elements, "is_keras": is_keras, "nonfinite": nonfinite}
    return {**texts, **facts, "weights": weights}


def _holds_nonfinite(dataset: Any) -> bool:
    import numpy as np

    return dataset.dtype.kind == "f" and not bool(np.isfinite(dataset[()]).all())


@contextlib.contextmanager
def _translating() -> Iterator[None]:
    """Translates h5py's errors on damaged files, which may be of nearly any class."""
    try:
        yield
    except MalformedError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as cause:
        text = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise MalformedError(f"the HDF5 library cannot read it ({text[:200]})") from cause


def _attribute(file: Any, name: str, size: int) -> str:
    """A text attribute of the root. Its type is looked at first: HDF5 would fill any size that is declared."""
    attribute = file.attrs.get_id(name)
    if attribute.shape != () or attribute.dtype.kind not in "OS" or attribute.dtype.itemsize > size:
        raise MalformedError(f"its attribute {name} is not text")
    return _text(file.attrs[name], name)


def _text(value: Any, name: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError(f"its attribute {name} is not UTF-8 text") from None
    if not isinstance(value, str):
        raise MalformedError(f"its attribute {name} is not text")
    return value


class _Walk:
    """Visits every object once, over hard links only."""

    def __init__(self, budget: int) -> None:
        self.weights: list[WeightFact] = []
        self.stored_elements = 0
        self._budget = budget
        self._visited: set[int] = set()
        self._objects = 0

    def group(self, group: Any, prefix: str, depth: int) -> None:
        import h5py

        if depth > _MAX_DEPTH:
            raise MalformedError(f"its groups are nested deeper than {_MAX_DEPTH}")
        self._visited.add(h5py.h5o.get_info(group.id).addr)
        for name in group:
            self._objects += 1
            if self._objects > _MAX_OBJECTS:
                raise MalformedError("it has more objects than any model needs")
            path = f"{prefix}/{name}" if prefix else name
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise MalformedError(f"{path!r} is a link to another place or file, which Keras never writes")
            child = group[name]
            if h5py.h5o.get_info(child.id).addr in self._visited:
                continue
            if isinstance(child, h5py.Group):
                self.group(child, path, depth + 1)
            elif isinstance(child, h5py.Dataset):
                self._visited.add(h5py.h5o.get_info(child.id).addr)
                self._dataset(child, path)

    def _dataset(self, dataset: Any, path: str) -> None:
        if dataset.is_virtual or dataset.external:
            raise MalformedError(f"{path!r} keeps its values in another file, which Keras never does")
        shape = checked_shape(tuple(dataset.shape or ()), repr(path))
        weight = WeightFact(path, shape, _dtype_name(dataset.dtype))
        self._budget -= weight.elements * dataset.dtype.itemsize
        if self._budget < 0:
            raise MalformedError(f"it declares far more data than it holds ({path!r} has the shape {list(shape)})")
        self.stored_elements += weight.elements
        if dataset.dtype.kind != "O" and not is_state(path):
            self.weights.append(weight)


def _dtype_name(dtype: Any) -> str:
    """NumPy's name; Keras stores bfloat16 as two raw bytes."""
    return "bfloat16" if dtype.kind == "V" and dtype.itemsize == 2 else str(dtype.name)


def is_state(path: str) -> bool:
    """True for what Keras stores besides the weights: optimizer, metrics, seeds of random generators."""
    parts = path.split("/")
    return parts[0] in _STATE or any(part.startswith("seed_generator") for part in parts)


class _Window(io.RawIOBase):
    """A read-only file over bytes that lie elsewhere."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        chunk = self._data[self._at : self._at + len(target)]
        target[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, base + offset)
        return self._at
