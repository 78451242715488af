"""What a candidate is measured by: the reference's values, float32's own noise and what each precision must cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from converters.arrays import Array
from converters.errors import StepError
from converters.formats import Precision
from validate.agreement.arrays import read
from validate.agreement.judging.gates import least_noise
from validate.agreement.judging.metrics import Signal, difference, signal
from validate.agreement.plan import Plan
from validate.agreement.worker.rounding import emulated


@dataclass(frozen=True)
class Reference:
    """What the candidates are measured against.

    Attributes:
        work: the folder of the comparison, see `workers`.
        kinds: by output name, the map that its logits go through.
        drawn: the inputs are drawn by rule, so that no class or label told from them is one that anybody will see.
        averaged: how many values its last mean runs over, see `gates.least_noise`.
    """

    work: Path
    plan: Plan
    output_names: tuple[str, ...]
    kinds: dict[str, str]
    labels: Array | None = None
    drawn: bool = True
    averaged: int = 1

    def values(self, stem: str, k: int) -> Array:
        return needed(self.work / "reference", stem, k)[: self.plan.samples]

    def beside(self) -> dict[str, slice]:
        """By kind, where the samples that stand beside the others lie among the rows that follow them."""
        structured = self.plan.structured
        found = {"structured": slice(0, structured), "saturating": slice(structured, self.plan.beside)}
        return {name: rows for name, rows in found.items() if rows.stop > rows.start}


@dataclass(frozen=True)
class Candidate:
    """What one candidate gave."""

    folder: Path
    kinds: dict[str, str]
    precision: Precision = Precision.FLOAT32

    def values(self, stem: str, k: int) -> Array:
        return needed(self.folder, stem, k)


def needed(folder: Path, stem: str, k: int) -> Array:
    array = read(folder, stem, k)
    if array is None:
        raise StepError(
            f"The values {stem}.{k} were not written by their worker.",
            next_step="Run again with --debug.",
            file=folder,
            step="validate",
        )
    return array


@dataclass(frozen=True)
class Beside:
    """One kind of samples that stand beside the others.

    Attributes:
        rows: where they lie in what a candidate wrote.
        noise: float32 Keras' greatest error here, not below that in the other samples.
    """

    rows: slice
    oracle: Array
    noise: float


@dataclass(frozen=True)
class Rounding:
    """The error of an emulated precision: the greatest rms of its draws, and the greatest error in any."""

    rms: float
    greatest: float


@dataclass(frozen=True)
class ReferenceValues:
    """The reference's values of one output on one basis, and what noise there is in them.

    Attributes:
        noise: float32 Keras' greatest error against the oracle, not below the least there is; None without an oracle.
        beside: the samples beside, by kind; none without an oracle.
    """

    values: Array
    singles: Array | None
    oracle: Array | None
    signal: Signal
    noise: float | None
    beside: dict[str, Beside] = field(default_factory=dict)
    roundings: dict[Precision, Rounding] = field(default_factory=dict)

    @classmethod
    def of(cls, reference: Reference, stem: str, k: int) -> ReferenceValues:
        values = reference.values(stem, k)
        singles = read(reference.work / "reference", f"{stem}1", k)
        moves = signal(values)
        roundings = _roundings(reference, stem, k, values)
        plan = reference.plan
        if not plan.oracle:
            return cls(values, singles, None, moves, None, {}, roundings)
        exact = needed(reference.work / "oracle", stem, k)
        oracle = exact[: plan.oracle]
        worst = difference(values[: len(oracle)], oracle).max_abs
        if singles is not None:
            both = slice(0, min(len(singles), len(oracle)))
            worst = max(worst, difference(singles, oracle, both).max_abs)
        least = least_noise(reference.averaged)
        noise = max(worst, least * moves.greatest)
        mine = needed(reference.work / "reference", stem, k)
        beside = {}
        for name, rows in reference.beside().items():
            there, truth = _moved(rows, plan.samples), exact[_moved(rows, plan.oracle)]
            own = max(difference(mine[there], truth).max_abs, least * signal(truth).greatest)
            beside[name] = Beside(there, truth, max(noise, own))
        return cls(values, singles, oracle, moves, noise, beside, roundings)


def _moved(rows: slice, by: int) -> slice:
    return slice(rows.start + by, rows.stop + by)


def _roundings(reference: Reference, stem: str, k: int, values: Array) -> dict[Precision, Rounding]:
    found: dict[Precision, Rounding] = {}
    for precision in Precision:
        rounded = [read(folder, stem, k) for folder in emulated(reference.work / "rounded", precision)]
        gaps = [difference(array, values[: len(array)]) for array in rounded if array is not None]
        if gaps:
            found[precision] = Rounding(max(gap.rmse for gap in gaps), max(gap.max_abs for gap in gaps))
    return {precision: rounding for precision, rounding in found.items() if math.isfinite(rounding.rms)}


@dataclass(frozen=True)
class Values:
    """One output of a candidate beside the reference's: on the basis that is judged, and as the files give it.

    Attributes:
        every: of all samples, those beside the others too.
        again: what other batches gave, each with the samples that they were of.
        pairs: the untouched file's outputs there with the logits of its copy, where those are judged.
    """

    expected: ReferenceValues
    every: Array
    again: tuple[tuple[Array, list[int]], ...]
    outputs: Array
    wanted: Array
    pairs: tuple[tuple[Array, Array], ...] = ()

    @property
    def values(self) -> Array:
        return self.every[: len(self.expected.values)]

    @property
    def fits(self) -> bool:
        pairs = ((self.every, self.expected.values), (self.outputs, self.wanted))
        return all(tuple(got.shape[1:]) == tuple(want.shape[1:]) and len(got) >= len(want) for got, want in pairs)
