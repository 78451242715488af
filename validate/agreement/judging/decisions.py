"""Which outputs decide on classes or labels: one rule, for the loss, tables, pictures, self-checks and the contract.

By what is known of an output and by its shape. A softmax of several values decides on classes, a sigmoid on labels; of
another output names (`--labels`) or labels that fit say that its values are classes. A sigmoid of an input's own shape
is a picture of that input, as an autoencoder gives, unless they say otherwise: no value of it is a decision.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from converters.arrays import Array
from converters.signature import Dimension, Signature
from validate.agreement.judging.class_decisions import accuracy

Decides = Literal["classes", "labels", ""]
CLASSES: Decides = "classes"
LABELS: Decides = "labels"
NOTHING: Decides = ""


@dataclass(frozen=True)
class Known:
    """What is known of an output.

    Attributes:
        head: the map that it ends in, `softmax` or `sigmoid`.
        of_input: it has the shape of an input, and more than one value.
        named: its classes or labels have names.
    """

    head: str | None = None
    of_input: bool = False
    named: bool = False

    def decides(self, *, several: bool, told: bool = False) -> Decides:
        """
        Args:
            several: the last axis has more than one value.
            told: labels that fit were given.
        """
        told = told or self.named
        if self.head == "sigmoid":
            return LABELS if told or not self.of_input else NOTHING
        return CLASSES if several and (self.head == "softmax" or told) else NOTHING


def decides(outputs: Array, known: Known, labels: Array | None) -> Decides:
    """What an output decides on, from its values, samples first, and the labels that the user gave."""
    several = outputs.ndim > 1 and outputs.shape[-1] > 1
    return known.decides(several=several, told=_fit(outputs, labels, known))


def _fit(outputs: Array, labels: Array | None, known: Known) -> bool:
    """Whether labels are of this output. A class for each sample says nothing of pictures: it is the input's."""
    if labels is None:
        return False
    if labels.shape == outputs.shape and bool(np.isin(labels, (0, 1)).all()):
        return known.head == "sigmoid" or bool((labels.sum(axis=-1) == 1).all())
    return not known.of_input and accuracy(outputs, labels) is not None


def known_outputs(
    signature: Signature, heads: dict[str, str], named: Collection[str] = frozenset()
) -> dict[str, Known]:
    """By output name; `heads` are the maps that outputs end in, `named` those whose classes have names."""
    inputs = [spec.shape[1:] for spec in signature.inputs if spec.dtype.startswith("float")]
    return {
        spec.name: Known(
            heads.get(spec.name), any(_same(spec.shape[1:], shape) for shape in inputs), spec.name in named
        )
        for spec in signature.outputs
    }


def _same(shape: Sequence[Dimension], other: Sequence[Dimension]) -> bool:
    """Whether two shapes of more than one value are one, as far as they are known."""
    alike = [a == b or (isinstance(a, str) and isinstance(b, str)) for a, b in zip(shape, other, strict=False)]
    return len(shape) == len(other) and all(alike) and any(size != 1 for size in shape)
