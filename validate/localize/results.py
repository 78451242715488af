"""Job and results of a localisation: values, ready for JSON (design: JSON, `localize`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.checks.base import Options, checked, part
from converters.checks.values import Word
from converters.common import Common
from converters.formats import Precision, format_of
from validate.localize.options import LocalizeOptions
from validate.targets import HOST, Place, Places


@dataclass(frozen=True)
class LocalizeJob(Options):
    """One localisation. `common.samples` is an upper bound: fewer are taken of a model with big layers.

    Attributes:
        places: where candidates are run: in the first place for a file's format. On another than the host they are cut,
            not read (see `bisect`): that shows what is wrong there alone.
        precision: takes every candidate as this one; None reads it from the file, else float32.
    """

    options: LocalizeOptions = part(LocalizeOptions)
    common: Common = part(Common)
    places: Places = part(Places)
    precision: Precision | None = checked(Word("precision", (Precision,)), None)

    def place_of(self, candidate: Path) -> Place:
        """Where a candidate is run; a checkpoint on the host. Told float32 where a target's default may be less: it is
        a layer that is looked for, not what the arithmetic costs in all of them."""
        fmt = format_of(candidate)
        places = self.places.for_format(fmt) if fmt else (HOST,)
        return next((place for place in places if place.variant.float32), places[0])


@dataclass(frozen=True)
class LayerRow:
    """One layer, in the order of execution.

    Attributes:
        noise_ratio: maximum error against the oracle over float32 Keras' own in this layer, rms over rms where the
            candidate's precision is reduced; None where the candidate holds no such value, because it is fused into the
            next, or was not looked at.
        sqnr_db: the layer's signal over the error; infinite (null in JSON) where there is none.
        limit: the maximum noise ratio of a healthy file of this kind here.
        local_ratio: of this error, what the layer adds itself (with those fused into it) when it is given what the
            candidate held before it; the remainder came in. None where nothing parts or the layer cannot be fed alone.
    """

    name: str
    kind: str
    noise_ratio: float | None
    sqnr_db: float | None
    limit: float | None
    diverges: bool
    local_ratio: float | None = None

    def to_json(self) -> dict[str, Any]:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(self).items()}
        return {**finite, "observed": self.noise_ratio is not None}


@dataclass(frozen=True)
class Localization:
    """The outcome.

    Attributes:
        first_divergent_layer: None where no layer parts.
        suspects: further layers that explain the same fault, where the file fuses them into one.
        saturating: nothing parts on inputs within the range: these are beyond it.
        bisected: found by cutting the file and running the pieces as they really run, with the runtime's fusions and
            delegates; only the layers that it was cut at have figures.
    """

    reference: Path
    candidate: Path
    first_divergent_layer: str | None
    suspects: tuple[str, ...]
    layers: tuple[LayerRow, ...]
    samples: int
    notes: tuple[str, ...] = ()
    saturating: bool = False
    bisected: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": str(self.reference),
            "candidate": str(self.candidate),
            "first_divergent_layer": self.first_divergent_layer,
            "suspects": list(self.suspects),
            "samples": self.samples,
            "saturating": self.saturating,
            "bisected": self.bisected,
            "layers": [row.to_json() for row in self.layers],
            "notes": list(self.notes),
        }
