"""Inputs that a finished file is run on: two rows, drawn by rule, at two sizes where a size is unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from converters.arrays import Array, Arrays
from converters.signature import BATCH, Signature, TensorSpec

Ranges = Mapping[str, tuple[float, float]]
"""By input name, the least and the greatest value that it expects; an input of which nothing is known is not there."""

ROWS, _LARGE = 2, 100_000  # of inputs with more numbers than that one row will do
_SIZES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((32,), (64,), (128,), (224,), (16,), (8,), (4,)),
    ((45, 51, 39), (48,), (96,), (160,), (256,), (24,), (12,)),
)
"""By round, what stands for unknown sizes, by axis behind the batch. The second begins with odd sizes that differ: they
show what was rounded or mixed up."""
_VECTORS, _AXIS_OF_MAPS = 3, 2
"""The rank of a batch of sequences of vectors; the axis at which the sizes of images begin behind their number."""
_VOCABULARIES = (10, 2)
_LEAST = min(_VOCABULARIES)
_TEXTS = np.array([b"a", b"the", b"7", b""], object)


@dataclass(frozen=True)
class Draw:
    """One way to draw inputs.

    Attributes:
        sizes: of unknown dimensions, by axis; the last counts for all that follow.
        vocabulary: how many values integers have of which nothing is known; with the least of them floats are whole
            numbers too, for they may be indices.
    """

    sizes: tuple[int, ...]
    vocabulary: int

    def inputs(self, signature: Signature, ranges: Ranges) -> Arrays:
        """Arrays by input name, the same every time."""
        generator = np.random.default_rng(0)
        large = any(np.prod(self._shape(spec, 1)) > _LARGE for spec in signature.inputs)
        return {
            spec.name: self._values(spec, self._shape(spec, 1 if large else ROWS), ranges.get(spec.name), generator)
            for spec in signature.inputs
        }

    def _shape(self, spec: TensorSpec, rows: int) -> tuple[int, ...]:
        unknown = (self.sizes[min(max(k - 1, 0), len(self.sizes) - 1)] for k in range(len(spec.shape)))
        return tuple(
            size if isinstance(size, int) else rows if size == BATCH else other
            for size, other in zip(spec.shape, unknown, strict=True)
        )

    def _values(
        self,
        spec: TensorSpec,
        shape: tuple[int, ...],
        limits: tuple[float, float] | None,
        generator: np.random.Generator,
    ) -> Array:
        if spec.is_text:
            return generator.choice(_TEXTS, shape)
        if spec.dtype == "bool":
            return generator.random(shape) < 0.5
        if np.dtype(spec.dtype).kind in "iu":
            eight_bits = spec.dtype in {"int8", "uint8"}
            low, high = limits or ((0, 127) if eight_bits else (0, self.vocabulary - 1))
            return generator.integers(int(low), int(high), shape, np.dtype(spec.dtype), endpoint=True)
        if limits is not None:
            return generator.uniform(*limits, shape).astype(spec.dtype)
        values = generator.random(shape)
        if self.vocabulary == _LEAST:
            values = np.round(values)
        elif values.ndim:
            values[1::2] = generator.standard_normal(shape)[1::2]
        return values.astype(spec.dtype)


def rounds(signature: Signature) -> Iterator[tuple[Draw, ...]]:
    """Ways to draw, to be tried in turn: one round, or two where a size is unknown."""
    unknown = any(spec.is_dynamic for spec in signature.inputs)
    maps = _maps_beside_images(signature)
    for count, sizes in enumerate(_SIZES if unknown else (_SIZES[0][:1],), 1):
        tried = (*((count, size) for size in maps), *sizes)
        yield tuple(Draw(size, vocabulary) for vocabulary in _VOCABULARIES for size in tried)


def _maps_beside_images(signature: Signature) -> list[int]:
    """The likely sizes of maps whose own are unknown, such as the masks that go with an image: a whole part of its."""
    images = [spec for spec in signature.inputs if len(spec.shape) > _VECTORS]
    sizes = [[size for size in spec.shape[1:-1] if isinstance(size, int)] for spec in images if not spec.is_dynamic]
    known = [size for of_image in sizes for size in of_image]
    if not known or not any(isinstance(size, str) for spec in images for size in spec.shape[_AXIS_OF_MAPS:-1]):
        return []
    return [size for part in (1, 2, 4, 8, 16) if (size := max(known) // part)]
