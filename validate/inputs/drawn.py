"""Seeded inputs, drawn by rule."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.checkpoints.ranges import Range
from converters.checkpoints.texts import ANY, Texts
from converters.errors import UsageError
from converters.shapes import Shapes
from converters.signature import Signature, TensorSpec
from validate.inputs.texts import draw_texts

_DEFAULT_INTEGERS = 10


@dataclass(frozen=True)
class InputOptions:
    """How to draw inputs.

    Attributes:
        samples: how many.
        seed: of PCG64; every input has a stream of its own, derived from the seed and its name.
        value_range: draws every float input from here (`--input-range`).
        hints: what the model says of its inputs, by name; see `converters.checkpoints.ranges`.
        shapes: by name, the shape of each input that leaves sizes open.
        texts: what inputs of texts are meant to be fed, by name.
    """

    samples: int = 16
    seed: int = 0
    value_range: tuple[float, float] | None = None
    hints: Mapping[str, Range] = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)
    texts: Mapping[str, Texts] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """Inputs ready to run.

    Attributes:
        arrays: by input name; every first dimension is the number of samples.
        ranges: by input name, what the values were drawn from, or lie between when they were given.
        labels: the class of each sample, when they were given.
        notes: what was done to the user's arrays, in sentences.
        texts: of each input of texts, where they are from, in words: it has no range.
    """

    arrays: dict[str, Array]
    ranges: dict[str, Range]
    labels: Array | None = None
    notes: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return min((int(a.shape[0]) for a in self.arrays.values()), default=0)


def generate(signature: Signature, options: InputOptions = InputOptions()) -> Inputs:
    """Draws inputs that depend on the seed and the inputs' names alone, not on their order.

    Floats are uniform over the range of `--input-range` or the model's hint: every second sample over a random part of
    it, so that samples differ in brightness and contrast and not in noise alone. Where nothing is known, samples are
    U(0, 1) and N(0, 1) in turn. Integers are uniform over the vocabulary, booleans are Bernoulli(0.5).

    Texts are made of the model's words, see `texts`.

    Raises:
        UsageError: no samples were asked for, or the range is empty.
    """
    if options.samples < 1:
        raise UsageError(f"{options.samples} samples were asked for.", next_step="Ask for at least one sample.")
    if options.value_range is not None:
        low, high = options.value_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(
                f"The input range {low:g},{high:g} is empty.", next_step="Give --input-range LO,HI with LO below HI."
            )
    arrays: dict[str, Array] = {}
    ranges: dict[str, Range] = {}
    told: dict[str, str] = {}
    for spec in signature.inputs:
        shape = (options.samples, *spec.at(options.shapes.get(spec.name), options.samples)[1:])
        if spec.is_text:
            texts = options.texts.get(spec.name, ANY)
            arrays[spec.name], told[spec.name] = draw_texts(texts, shape, stream(options.seed, spec.name)), texts.told
        else:
            arrays[spec.name], ranges[spec.name] = _draw(spec, shape, options)
    return Inputs(arrays, ranges, texts=told)


def _draw(spec: TensorSpec, shape: tuple[int, ...], options: InputOptions) -> tuple[Array, Range]:
    rng = stream(options.seed, spec.name)
    if spec.dtype == "bool":
        return rng.random(shape) < 0.5, Range(0, 1, "Bernoulli(0.5)", origin="dtype")
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if dtype.kind in "iu":
        limits = _integer_range(spec, dtype, options)
        return rng.integers(int(limits.low), int(limits.high), shape, dtype, endpoint=True), limits
    hint = options.hints.get(spec.name)
    if options.value_range is not None:
        hint = Range(*options.value_range, "--input-range", hint is not None and hint.whole, "option")
    if hint is None:
        values = rng.random(shape)
        values[1::2] = rng.standard_normal(shape)[1::2]
        return values.astype(dtype), Range(0, 1, "U(0,1) and N(0,1) in turn", origin="assumed")
    if hint.whole:
        return rng.integers(int(hint.low), int(hint.high), shape, endpoint=True).astype(dtype), hint
    low, width = _parts(rng, shape, hint)
    return (low + width * rng.random(shape)).astype(dtype), hint


def _parts(rng: np.random.Generator, shape: tuple[int, ...], limits: Range) -> tuple[Array, Array]:
    """The lower end and the width each sample is drawn from: the whole range, or for every second one a part of it."""
    ends = np.sort(rng.random((shape[0], 2)), axis=1)
    ends[::2] = (0.0, 1.0)
    ends = ends.reshape((shape[0], 2) + (1,) * (len(shape) - 1))
    span = limits.high - limits.low
    return limits.low + span * ends[:, 0], span * (ends[:, 1] - ends[:, 0])


def _integer_range(spec: TensorSpec, dtype: np.dtype[Any], options: InputOptions) -> Range:
    hint = options.hints.get(spec.name)
    if hint is not None:
        return hint
    if dtype in (np.dtype("uint8"), np.dtype("int8")):  # images, or a quantized artifact's own codes
        info = np.iinfo(dtype)
        return Range(info.min, info.max, f"all of {dtype.name}", origin="dtype")
    return Range(0, _DEFAULT_INTEGERS - 1, "default for integers: no vocabulary was found", origin="assumed")


def untold(ranges: Mapping[str, Range], signature: Signature) -> tuple[str, ...]:
    """A sentence for each input whose range nobody told, with what would tell it."""
    floats = {spec.name for spec in signature.inputs if spec.dtype.startswith(("float", "bfloat"))}
    return tuple(
        f"Nobody told the range of the input {name}: {limits.low:g} to {limits.high:g} is assumed ({limits.source}). "
        + ("Tell it with --input-range LO,HI, or give" if name in floats else "Give")
        + " real values with --inputs."
        for name, limits in ranges.items()
        if limits.origin == "assumed"
    )


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator of one input's values."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words.tolist()])))
