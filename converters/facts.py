"""Facts of a source that are known once it is loaded, before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from converters.checkpoints.ranges import Range
from converters.shapes import Shapes
from converters.signature import Signature


@dataclass(frozen=True)
class Facts:
    """Facts that a loaded source states.

    Attributes:
        signature: of the files that are made with the batch size that was asked for.
        parameters: how many numbers it has learned.
        notes: what was changed to load it, in sentences.
        ranges: by input name, the values that it expects, where it says so.
        interface: see `converters.checkpoints.interface`.
        shapes: of each input that leaves sizes open, one that the model runs at; see `converters.checkpoints.sizes`.
    """

    signature: Signature
    parameters: int
    notes: tuple[str, ...] = ()
    ranges: Mapping[str, Range] = field(default_factory=dict)
    interface: Mapping[str, Any] = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "signature": self.signature.to_json(),
            "parameters": self.parameters,
            "notes": list(self.notes),
            "ranges": {name: limits.to_json() for name, limits in self.ranges.items()},
            "interface": dict(self.interface),
            "shapes": dict(self.shapes),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Facts:
        return cls(
            Signature.from_json(document["signature"]),
            int(document["parameters"]),
            tuple(document["notes"]),
            {name: Range.from_json(limits) for name, limits in document["ranges"].items()},
            dict(document["interface"]),
            {name: tuple(sizes) for name, sizes in document["shapes"].items()},
        )
