"""What an HDF5 file holds: a whole Keras model (`.h5`) or weights alone (`.weights.h5`).

h5py follows links into other files and believes declared sizes; both are checked here before a value is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from converters.readers.facts import MalformedError, WeightFact, checked_shape, refusing

MAGIC = b"\x89HDF\r\n\x1a\n"

_MAX_OBJECTS = 500_000
_MAX_DEPTH = 64
_SMALL = 64 << 20
_MAX_INFLATION = 20
"""Declared bytes may exceed the file's size (compressed data sets, fill values), but not by more than this factor."""

_STATE = ("optimizer", "optimizer_weights", "seed_generator", "metrics", "loss_tracker")


@dataclass
class H5Facts:
    """An HDF5 file of Keras.

    Attributes:
        model_config: the JSON text of the model; None in a weights file.
        keras_version: of the writer, where it says so.
        weights: as stored, less the state of optimizers and random generators.
        stored_elements: of all data sets, those included.
    """

    model_config: str | None = None
    keras_version: str = ""
    weights: list[WeightFact] = field(default_factory=list)
    stored_elements: int = 0
    is_keras: bool = False


def read_h5(path: Path) -> H5Facts:
    """Reads the facts of an HDF5 file on disk.

    Raises:
        RefusedError: damaged, linked to other files, or declaring far more than it holds.
        UsageError: it cannot be read.
    """
    facts = H5Facts()
    with refusing(path, "HDF5 file"), path.open("rb") as stream:
        read_h5_stream(facts, stream, path.stat().st_size)
    return facts


def read_h5_stream(facts: H5Facts, stream: IO[bytes], size: int) -> None:
    """Reads an open file, for instance a member of a `.keras` archive. Raises MalformedError."""
    import h5py

    with _translating(), h5py.File(stream, "r") as file:
        for name in ("model_config", "keras_version"):
            if name in file.attrs:
                setattr(facts, name, _text(file.attrs[name], name))
        walk = _Walk(facts, max(_SMALL, _MAX_INFLATION * size))
        walk.group(file, "", 0)
        names = set(file)
        layered = "layer_names" in file.attrs or "model_weights" in names
        facts.is_keras = layered or bool(names & {"layers", "vars", "_layer_checkpoint_dependencies"})


@contextlib.contextmanager
def _translating() -> Iterator[None]:
    """What h5py raises on damaged files, which is nearly anything."""
    try:
        yield
    except MalformedError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as cause:
        text = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise MalformedError(f"the HDF5 library cannot read it ({text[:200]})") from cause


def _text(value: Any, what: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError(f"its attribute {what} is not UTF-8 text") from None
    if not isinstance(value, str):
        raise MalformedError(f"its attribute {what} is not text")
    return value


class _Walk:
    """Visits every object once, over hard links only."""

    def __init__(self, facts: H5Facts, budget: int) -> None:
        self._facts = facts
        self._budget = budget
        self._seen: set[int] = set()
        self._objects = 0

    def group(self, group: Any, prefix: str, depth: int) -> None:
        import h5py

        if depth > _MAX_DEPTH:
            raise MalformedError(f"its groups are nested deeper than {_MAX_DEPTH}")
        self._seen.add(h5py.h5o.get_info(group.id).addr)
        for name in group:
            self._objects += 1
            if self._objects > _MAX_OBJECTS:
                raise MalformedError("it has more objects than any model needs")
            path = f"{prefix}/{name}" if prefix else name
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise MalformedError(f"{path!r} is a link to another place or file, which Keras never writes")
            child = group[name]
            if h5py.h5o.get_info(child.id).addr in self._seen:
                continue
            if isinstance(child, h5py.Group):
                self.group(child, path, depth + 1)
            elif isinstance(child, h5py.Dataset):
                self._seen.add(h5py.h5o.get_info(child.id).addr)
                self._dataset(child, path)

    def _dataset(self, dataset: Any, path: str) -> None:
        if dataset.is_virtual or dataset.external:
            raise MalformedError(f"{path!r} keeps its values in another file, which Keras never does")
        shape = checked_shape(tuple(dataset.shape or ()), repr(path))
        weight = WeightFact(path, shape, _dtype_name(dataset.dtype))
        self._budget -= weight.elements * dataset.dtype.itemsize
        if self._budget < 0:
            raise MalformedError(f"it declares far more data than it holds ({path!r} has the shape {list(shape)})")
        self._facts.stored_elements += weight.elements
        if dataset.dtype.kind != "O" and not is_state(path):
            self._facts.weights.append(weight)


def _dtype_name(dtype: Any) -> str:
    """NumPy's name; Keras stores bfloat16 as two raw bytes."""
    return "bfloat16" if dtype.kind == "V" and dtype.itemsize == 2 else str(dtype.name)


def is_state(path: str) -> bool:
    """True for what Keras stores beside the weights: optimizer, metrics, seeds of random generators."""
    parts = path.split("/")
    return parts[0] in _STATE or any(part.startswith("seed_generator") for part in parts)
