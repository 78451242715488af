"""A model in memory, whatever it was opened from. What the openers share: shapes in edgeport's words, and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.errors import EdgeportError, RefusedError, StepError
from converters.signature import BATCH, Dimension, Signature

Call = Callable[[Sequence[Any]], list[Any]]
_LONGEST = 1200


@dataclass(frozen=True)
class Structure:
    """How a model is called in Python: its arguments and what it gives, with anything in the place of tensors."""

    arguments: Sequence[Any]
    results: Any


@dataclass(frozen=True)
class Loaded:
    """A model in memory.

    Attributes:
        model: the Keras model; None for a SavedModel or a frozen graph.
        signature: names, shapes and dtypes, the contract of every artifact.
        function: input tensors in signature order -> output tensors in signature order, in inference mode;
            `tf.function` can trace it.
        variables: every variable that the model owns, in a stable order.
        notes: what was rewritten to make it convertible, in sentences.
        keepalive: objects that must outlive `function` (TensorFlow drops what nobody holds).
        constants: how many numbers a frozen graph holds, which has no variables.
        structure: how the Keras model is called; None where there is none.
    """

    model: Any
    signature: Signature
    function: Call
    variables: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    keepalive: tuple[Any, ...] = field(default=(), repr=False)
    constants: int = 0
    structure: Structure | None = None

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold; the state of random generators does not count."""
        in_variables = sum(int(v.shape.num_elements()) for v in self.variables if "seed_generator" not in v.name)
        return in_variables + self.constants


def shape_of(name: str, dimensions: Sequence[int | None]) -> tuple[Dimension, ...]:
    """Keras' shape in the design's words: None first is the batch, None elsewhere `<name>_dim<k>`."""
    return tuple(d if d is not None else BATCH if k == 0 else f"{name}_dim{k}" for k, d in enumerate(dimensions))


_DECORATION = re.compile(
    r"\x1b\[\d*m|Exception encountered when calling [\w.]+\(\)\.|Arguments received by .*", re.DOTALL
)


def plain(cause: BaseException) -> str:
    """What went wrong, of an error of Keras' or TensorFlow's: whole, without the config and the calls around it."""
    text = " ".join(_DECORATION.sub("", str(cause)).split()).rpartition("Exception encountered: ")[2]
    text = text.strip(" '").rstrip(".") or type(cause).__name__
    if len(text) > _LONGEST:  # a whole config: what is wrong stands before or behind it
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return f"{type(cause).__name__}: {text}"


def load_error(checkpoint: Checkpoint, cause: BaseException) -> EdgeportError:
    """The error for a checkpoint that a framework could not load."""
    text = plain(cause)
    if "Checksum does not match" in text:
        return StepError(
            f"{checkpoint.path} cannot be loaded: its data is damaged ({text}).",
            next_step="Copy the checkpoint again, or save it again.",
            file=checkpoint.path,
            step="load",
        )
    mismatch = any(word in text for word in ("shape", "mismatch", "expected", "weights"))
    kind = StepError if mismatch else RefusedError
    framework = "Keras" if checkpoint.kind in {SourceKind.KERAS, SourceKind.H5} else "TensorFlow"
    return kind(
        f"{checkpoint.path} cannot be loaded by {framework} ({text}).",
        next_step="Load it with the code that made it and save it again as .keras.",
        file=checkpoint.path,
        step="load",
    )
