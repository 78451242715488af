"""Inputs and outputs of a model: names, shapes, dtypes, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

SIGNATURE_KEY = "serving_default"
"""Of SavedModel and TFLite files that edgeport makes, and TensorFlow's default."""
TEXT = "string"
"""The dtype of texts, as Keras and TensorFlow spell it. Their arrays hold bytes of UTF-8, see `converters.arrays`."""
BATCH = "batch"
"""The symbol of the batch dimension in every format."""

_UNCLEAN = re.compile(r"[^A-Za-z0-9_.-]+")

Dimension = int | str


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: the InputLayer's name, or the output's name.
        shape: integers, `"batch"` for the batch dimension, `"<input>_dim<k>"` for other unknown dimensions.
        dtype: NumPy's name of the element type (`float32`, `int64`, `bool`, ...), or `string`.
    """

    name: str
    shape: tuple[Dimension, ...]
    dtype: str

    @property
    def is_dynamic(self) -> bool:
        """True when some dimension other than the batch is unknown."""
        return any(isinstance(d, str) and d != BATCH for d in self.shape)

    @property
    def is_text(self) -> bool:
        return self.dtype == TEXT

    def concrete(self, batch: int, unknown: int = 32) -> tuple[int, ...]:
        """The shape with the batch and every unknown dimension filled in."""
        return tuple(batch if d == BATCH else unknown if isinstance(d, str) else d for d in self.shape)

    def at(self, shape: tuple[Dimension, ...] | None, batch: int) -> tuple[int, ...]:
        """Sizes for a batch, unknown ones as in `shape`, which has to be there where there are any."""
        sizes = (*self.shape[:1], *(shape or self.shape)[1:])
        return tuple(batch if d == BATCH else int(d) for d in sizes)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TensorSpec:
        return cls(str(document["name"]), tuple(document["shape"]), str(document["dtype"]))


@dataclass(frozen=True)
class StateSpec:
    """A state of a step model: what it gives as `output` is fed as `input` to the next step.

    Attributes:
        initial: every number of it before the first step.
    """

    input: str
    output: str
    shape: tuple[int, ...]
    dtype: str
    initial: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StateSpec:
        return cls(**{**document, "shape": tuple(document["shape"])})


@dataclass(frozen=True)
class Signature:
    """All inputs and outputs of a model, in the Keras model's order; those of states come last.

    Attributes:
        states: of a step model, how its inputs and outputs go together; not known of a file.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.outputs)

    @property
    def has_open_batch(self) -> bool:
        """True where an input takes any batch."""
        return any(spec.shape[:1] == (BATCH,) for spec in self.inputs)

    @property
    def fed(self) -> tuple[TensorSpec, ...]:
        """The inputs that are no states."""
        states = {state.input for state in self.states}
        return tuple(spec for spec in self.inputs if spec.name not in states)

    def to_json(self) -> dict[str, Any]:
        document = {"inputs": [s.to_json() for s in self.inputs], "outputs": [s.to_json() for s in self.outputs]}
        return document | ({"states": [s.to_json() for s in self.states]} if self.states else {})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Signature:
        return cls(
            tuple(TensorSpec.from_json(s) for s in document["inputs"]),
            tuple(TensorSpec.from_json(s) for s in document["outputs"]),
            tuple(StateSpec.from_json(s) for s in document.get("states", ())),
        )


def unique_names(names: Iterable[str], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """The names in order, duplicates given `_1`, `_2` (design: One signature).

    Args:
        taken: names that are not to be used: no output is called like an input, which ONNX cannot hold.

    >>> unique_names(["a", "a", "b", "a"])
    ('a', 'a_1', 'b', 'a_2')
    """
    originals = list(names)
    reserved = set(originals)
    used: set[str] = set(taken)
    result: list[str] = []
    for name in originals:
        candidate, k = name, 0
        while candidate in used or (candidate != name and candidate in reserved):
            k += 1
            candidate = f"{name}_{k}"
        used.add(candidate)
        result.append(candidate)
    return tuple(result)


def tensor_names(names: Iterable[str], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """Tensors' names as names of a signature: cleaned to `[A-Za-z0-9_.-]`, each once; see `unique_names`.

    >>> tensor_names(["net/image:0", "Identity:1", ":0", "Identity_1"])
    ('net_image', 'Identity_1', 'tensor', 'Identity_1_1')
    """
    cleaned = (_UNCLEAN.sub("_", name.removesuffix(":0")).strip("_") or "tensor" for name in names)
    return unique_names(cleaned, taken)
