"""Options that all steps of a run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converters.checkpoints.load_options import LoadOptions
from converters.checks.base import Options, checked, part
from converters.checks.shapes import NamedShapes
from converters.checks.values import FilePath, Flag, Number, Span, Text
from converters.isolation import Limits

SEED = Number("--seed", 0, 2**32 - 1, whole=True)
"""What every generator of random numbers that is used takes; TensorFlow's is the narrowest."""


@dataclass(frozen=True)
class Common(Options):
    """Options that several steps go by.

    Attributes:
        seed: of everything that is drawn.
        inputs: real inputs to judge on, an `.npz`, `.npy` or folder of images; None draws `samples` seeded ones.
        samples: how many to draw; given inputs are all used.
        input_range: draws every float input from here.
        shapes: by input name, its shape where the model leaves sizes open; the first is `batch`, or what is timed.
        limits: time and memory of each worker.
        opening: what the source needs besides itself: a signature, the user's code, layers to replace.
        signature: of files that are judged or timed and have several signatures, which one.
        check: opens and runs each finished file once before it counts as made.
        log: file that the frameworks' words are appended to; a run has its own, in the bundle.
    """

    seed: int = checked(SEED, 0)
    inputs: Path | None = checked(FilePath("--inputs"), None)
    samples: int = checked(Number("--samples", 1, whole=True), 16)
    input_range: tuple[float, float] | None = checked(Span("--input-range"), None)
    shapes: Mapping[str, tuple[int | str, ...]] = checked(NamedShapes("--shape"), {})
    limits: Limits = part(Limits)
    opening: LoadOptions = part(LoadOptions)
    signature: str | None = checked(Text("--signature"), None)
    check: bool = checked(Flag("--check"), True)
    log: Path | None = checked(FilePath("log"), None)
