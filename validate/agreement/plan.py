"""How many samples go through in which batches, so that time, memory and disk stay bounded for big outputs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from validate.inputs import MIN_SATURATING, STRUCTURED

_BATCH_BYTES = 64 << 20
_ORACLE_BYTES = 256 << 20
_ORACLE_WORK = 1 << 28
"""Weights times samples that the oracle may run beyond its first 16 samples: 500 digits through 100 000 weights."""

SIZES = (1, 2, 3, 7)
"""The sizes of the small batches, one after the other: powers of two alone would hide a wrong reshape."""

_LARGEST_BATCH = 32
ORACLE_SAMPLES = 16


@dataclass(frozen=True)
class Plan:
    """The runs of one comparison.

    Attributes:
        samples: run in batches of `batch`.
        singles: the first of them, run again in small batches of `SIZES`, each in reverse order so that a batch whose
            samples leak into each other is found; 0 where the model insists on a larger batch.
        batch: the larger batch.
        oracle: the first of them, run by the oracle too.
        structured: samples that follow them, built by rule (`validate.inputs.structured`); the oracle runs all of them.
        saturating: samples that follow those, beyond the inputs' range; the oracle runs these too.
        wide: candidates run one batch of so many more, made of the first samples in another order; 0 where `batch` is
            as large already.
        steps: of a step model, the first samples, which are run once more as one sequence; whole batches.
    """

    samples: int
    singles: int
    batch: int
    oracle: int
    structured: int = 0
    saturating: int = 0
    wide: int = 0
    steps: int = 0

    @property
    def rounded(self) -> int:
        """How many samples each reduced precision is emulated on, see `rounding`."""
        multiple = self.batch if self.singles == 0 else 1  # a model with a batch size of its own takes whole batches
        return min(self.samples, -(-ORACLE_SAMPLES // multiple) * multiple)

    @property
    def wide_rows(self) -> list[int]:
        """The samples that the wide batch holds: all of them in a drawn order, again and again."""
        order = list(range(self.samples))
        random.Random(0).shuffle(order)
        return [order[k % len(order)] for k in range(self.wide)]

    @property
    def total(self) -> int:
        return self.samples + self.edge_cases

    @property
    def edge_cases(self) -> int:
        return self.structured + self.saturating

    @property
    def first_look(self) -> Plan:
        """The samples alone, once, in the larger batch. A fault that shows here shows in all of the plan: every gate is
        on the worst of what was run."""
        return replace(self, singles=0, wide=0, structured=0, saturating=0, steps=0)

    def few(self, samples: int) -> Plan:
        """The first samples alone, and the first of the small batches: where every run takes long."""
        some = min(samples, self.samples)
        return replace(self.first_look, samples=some, singles=min(self.singles, some, sum(SIZES[:2])))

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        return cls(**{key: int(value) for key, value in document.items()})


def make_plan(samples: int, row_bytes: int, parameters: int, fixed: int | None) -> Plan:
    """Plans by the bytes of one sample's inputs and outputs, the weights, and the batch the reference insists on.

    >>> make_plan(500, 1000, 100_000, None)
    Plan(samples=500, singles=13, batch=32, oracle=500, structured=12, saturating=4, wide=0)
    >>> make_plan(16, 50 << 20, 20_000, None)
    Plan(samples=16, singles=1, batch=2, oracle=2, structured=0, saturating=0, wide=0)
    """
    row_bytes = max(1, row_bytes)
    fits = row_bytes * (STRUCTURED + MIN_SATURATING) <= _ORACLE_BYTES
    structured, saturating = (STRUCTURED, MIN_SATURATING) if fits else (0, 0)
    if fixed is not None and fits:
        saturating += -(structured + saturating) % fixed
    largest = _clamp(_BATCH_BYTES // row_bytes, 2, _LARGEST_BATCH)
    batch = min(samples, largest)
    wide = largest if batch < largest == _LARGEST_BATCH else 0
    singles = min(samples, _clamp(_BATCH_BYTES // row_bytes, 1, sum(SIZES)))
    oracle = min(samples, _clamp(_ORACLE_BYTES // (2 * row_bytes), 2, ORACLE_SAMPLES))
    if samples * parameters <= _ORACLE_WORK and 2 * row_bytes * samples <= _ORACLE_BYTES:
        oracle = samples
    if fixed is not None:
        batch, singles, wide = fixed, 0, 0
        oracle = min(samples, -(-oracle // fixed) * fixed)
    return Plan(samples, singles, batch, oracle, structured, saturating, wide)


def small_batches(count: int) -> list[int]:
    """The sizes that `count` samples are run in: those of `SIZES`, again and again.

    >>> small_batches(13), small_batches(8), small_batches(1)
    ([1, 2, 3, 7], [1, 2, 3, 2], [1])
    """
    sizes: list[int] = []
    while count:
        sizes.append(min(count, SIZES[len(sizes) % len(SIZES)]))
        count -= sizes[-1]
    return sizes


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
