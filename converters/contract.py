"""The contract of a model: what a device must feed it and how it is to read the answer. Written into every artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from converters.signature import Dimension, Signature

COLOUR_ORDERS = ("RGB", "BGR", "GRAY")
RESIZES = tuple(method + fit for method in ("nearest", "bilinear", "bicubic", "area") for fit in ("", "-crop", "-pad"))
"""How an image of another size comes to the input's: stretched, else scaled to cover it and cropped in the middle, or
scaled to fit into it and padded with zeros."""


@dataclass(frozen=True)
class InputContract:
    """One input; a field that nobody has stated is None.

    A device computes `(x * scale - mean) / std` of raw values x and feeds the result; where the model does so itself,
    that is the identity and `in_model` says what the model does.

    Attributes:
        layout: `NHWC` for images, else None.
        range: minimum and maximum value that the input is meant to be fed.
        mean, std: one number, or one a channel.
        colour_order: `RGB`, `BGR` or `GRAY`.
        resize: one of `RESIZES`.
        in_model: `layer`, and `scale` and `offset` (x * scale + offset) or `mean` and `std` ((x - mean) / std).
    """

    name: str
    shape: tuple[Dimension, ...]
    dtype: str
    layout: str | None = None
    range: tuple[float, float] | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    colour_order: str | None = None
    resize: str | None = None
    in_model: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class OutputContract:
    """One output; a field that nobody has stated is None.

    Attributes:
        activation: Keras' name of what was applied last: `softmax`, `sigmoid`, `linear`, ...
        labels: what each place of the last axis stands for; two for a sigmoid of one unit: below and above `threshold`.
        threshold: probability from which on a label is on, for sigmoids.
    """

    name: str
    shape: tuple[Dimension, ...]
    dtype: str
    activation: str | None = None
    labels: tuple[str, ...] | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Contract:
    """All inputs and outputs, in the signature's order."""

    inputs: tuple[InputContract, ...]
    outputs: tuple[OutputContract, ...]

    def to_json(self) -> dict[str, Any]:
        """The manifest's `contract`."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Contract:
        return cls(
            tuple(InputContract(**_tuples(row)) for row in document["inputs"]),
            tuple(OutputContract(**_tuples(row)) for row in document["outputs"]),
        )

    def of(self, signature: Signature) -> Contract:
        """The contract of an artifact whose shapes and types are its own (`--batch`, `--io`).

        An integer input keeps scale and mean: they hold of the numbers that its codes stand for, as in the public
        metadata of TFLite.
        """
        inputs = {spec.name: spec for spec in signature.inputs}
        outputs = {spec.name: spec for spec in signature.outputs}
        return Contract(
            tuple(InputContract(**_row_fields(row, inputs)) for row in self.inputs),
            tuple(OutputContract(**_row_fields(row, outputs)) for row in self.outputs),
        )


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def _row_fields(row: InputContract | OutputContract, specs: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    spec = specs.get(row.name)
    return fields if spec is None else fields | {"shape": spec.shape, "dtype": spec.dtype}


def labels_file(output: str) -> str:
    """The file name under which an output's labels travel."""
    safe = "".join(c if c.isalnum() or c in "_-" else "_" for c in output)
    return f"labels_{safe}.txt"


def labels_text(labels: tuple[str, ...]) -> bytes:
    """One label a line, as the public metadata readers take them."""
    return ("\n".join(labels) + "\n").encode()
