"""The yardsticks of a candidate: the reference's values, float32's own noise and what each precision must cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from converters.arrays import Array
from converters.formats import FLOATS, Precision
from validate.agreement.arrays import read, read_array, wide
from validate.agreement.judging.decisions import Decides, Known, decides
from validate.agreement.judging.gates import DRIFT, FLOOR_ULPS, GATES, ULP, Computed
from validate.agreement.judging.metrics import Difference, Signal, difference, row_errors, row_maxima, signal
from validate.agreement.plan import Plan
from validate.agreement.worker.batches import SEQUENCE
from validate.agreement.worker.ensemble import ALL, FIRST, MOVED, STEM, UNDECIDED, WHOLE
from validate.agreement.worker.rounding import emulated
from validate.runtimes.devices import Arithmetic


@dataclass(frozen=True)
class Reference:
    """The reference that the candidates are measured against.

    Attributes:
        work: the folder of the comparison, see `worker.reference_runs`.
        kinds: by output name, the map that its logits go through.
        known: by output name, what tells whether it decides on classes or labels; by default its map alone.
        by_metric: what may change is said by the user's metric, and not by the share of decisions.
        drawn: the inputs are drawn by rule, so that no class or label told from them is one that anybody will see.
        noise: the folder with what the ensemble gave: the oracle's own has the first runs, `ensemble` has all.
        few: judges by so many of the samples, the first ones, and by no edge cases; None by all that were run.
    """

    work: Path
    plan: Plan
    output_names: tuple[str, ...]
    kinds: dict[str, str]
    labels: Array | None = None
    drawn: bool = True
    by_metric: bool = False
    noise: str = "oracle"
    known: Mapping[str, Known] = field(default_factory=dict)
    few: int | None = None

    @property
    def moved_runs(self) -> int | None:
        """How many runs with moved weights and inputs float32's noise is of; None without an oracle."""
        return None if not self.plan.oracle else MOVED if self.noise == ALL else FIRST

    def decides(self, name: str, outputs: Array) -> Decides:
        """What an output of these values decides on."""
        return decides(outputs, self.known.get(name, Known(self.kinds.get(name))), self.labels)

    def values(self, stem: str, k: int) -> Array:
        return self.all_rows(stem, k)[: self.plan.samples][: self.few]

    def all_rows(self, stem: str, k: int) -> Array:
        """The samples and the edge cases."""
        return read_array(self.work / "reference", stem, k)

    def edge_cases(self) -> dict[str, slice]:
        """By kind, where the edge cases lie among the rows that follow the samples."""
        structured = self.plan.structured
        kinds = {"structured": slice(0, structured), "saturating": slice(structured, self.plan.edge_cases)}
        return {name: rows for name, rows in kinds.items() if rows.stop > rows.start}


@dataclass(frozen=True)
class Candidate:
    """The outputs of one candidate, its precision, and what floats were computed in where that is less."""

    folder: Path
    kinds: dict[str, str]
    precision: Precision = Precision.FLOAT32
    arithmetic: Arithmetic | None = None

    def values(self, stem: str, k: int) -> Array:
        return read_array(self.folder, stem, k)


@dataclass(frozen=True)
class EdgeCases:
    """One kind of edge cases.

    Attributes:
        rows: where they lie in what a candidate wrote.
        noise, undecided: of each, as in `ReferenceValues`.
    """

    rows: slice
    oracle: Array
    noise: Array
    undecided: Array | None = None


@dataclass(frozen=True)
class Sequence:
    """The samples of a step model as the steps of one long run, in which errors add up.

    Attributes:
        noise: `gates.DRIFT` times float32 Keras' maximum error against the oracle, which goes on from its own states;
            not below that in single steps. None without an oracle.
    """

    values: Array
    oracle: Array | None
    noise: float | None


@dataclass(frozen=True)
class Rounding:
    """The error of an emulated precision: the maximum rms of its draws, and the maximum error in any."""

    rms: float
    max_abs: float


@dataclass(frozen=True)
class ReferenceValues:
    """The reference's values of one output on one basis, and what noise there is in them.

    Attributes:
        noise: of each sample that the oracle ran, the maximum error of any honest float32 evaluation against it, not
            below `gates.FLOOR_ULPS`; None without an oracle.
        undecided: of an output of whole numbers, the values of the oracle's samples that float32's rounding may turn,
            as the class of a pixel where two are nearly alike. They are not judged. None of other outputs.
        edge_cases: by kind; none without an oracle.
        sequence: of a step model.
    """

    values: Array
    singles: Array | None
    oracle: Array | None
    signal: Signal
    noise: Array | None
    edge_cases: dict[str, EdgeCases] = field(default_factory=dict)
    roundings: dict[Computed, Rounding] = field(default_factory=dict)
    sequence: Sequence | None = None
    undecided: Array | None = None

    def rounding(self, candidate: Candidate) -> Rounding | None:
        """What a candidate's precision costs, or the lesser arithmetic of its setting; both together in a file of
        integers, whose errors are independent."""
        own, other = self.roundings.get(candidate.precision), None
        if candidate.arithmetic is not None:
            other = self.roundings.get(candidate.arithmetic)
            if candidate.precision in FLOATS:
                return other
        if own is None or other is None:
            return own
        return Rounding(math.hypot(own.rms, other.rms), own.max_abs + other.max_abs)

    @property
    def constant(self) -> bool:
        """Whether the reference gives one value for every sample, edge cases too, as an output of anchors does.

        Zeros throughout do not count: a network behind a dead activation gives them too.
        """
        samples = [self.values, *(oracle for oracle, _ in _judged(self))]
        moves = any(bool(np.ptp(wide(array), axis=0).any()) for array in samples)
        return len(self.values) > 1 and not moves and bool(self.values[0].any())

    @property
    def conditioning(self) -> float | None:
        """Float32's noise over the maximum value; None without an oracle."""
        if self.noise is None:
            return None
        return float(np.max(self.noise, initial=0.0)) / self.signal.max_abs if self.signal.max_abs else 0.0

    def dead_passes(self, limit: float) -> bool:
        """Whether some constant output would lie within so many times the noise of every sample of the oracle."""
        low, high = np.array(-np.inf), np.array(np.inf)
        for oracle, noise in _judged(self):
            reach = (limit * noise).reshape(-1, *(1,) * (oracle.ndim - 1))
            low = np.maximum(low, np.max(wide(oracle) - reach, axis=0))
            high = np.minimum(high, np.min(wide(oracle) + reach, axis=0))
        return bool(np.all(low <= high))

    def first(self, few: int) -> ReferenceValues:
        """Of the first samples alone, without edge cases and long runs; what moves is told by all of them."""
        singles, oracle, noise, undecided = (
            None if array is None else array[:few] for array in (self.singles, self.oracle, self.noise, self.undecided)
        )
        return replace(
            self, values=self.values[:few], singles=singles, oracle=oracle, noise=noise, undecided=undecided,
            edge_cases={}, sequence=None,
        )  # fmt: skip

    @classmethod
    def of(cls, reference: Reference, stem: str, k: int) -> ReferenceValues:
        """What was measured of output `k`, as far as the reference is judged by."""
        if reference.few is not None:
            return cls.of(replace(reference, few=None), stem, k).first(reference.few)
        values = reference.values(stem, k)
        singles = read(reference.work / "reference", f"{stem}1", k)
        movement = signal(values)
        roundings = _roundings(reference, stem, k, values)
        plan = reference.plan
        if not plan.oracle:
            return cls(values, singles, None, movement, None, {}, roundings, _sequence(reference, stem, k, None))
        exact = read_array(reference.work / "oracle", stem, k)
        oracle = exact[: plan.oracle]
        noise = _noise(reference, stem, k, exact)
        undecided = _undecided(reference, stem, k, exact)
        edge_cases = {}
        for name, rows in reference.edge_cases().items():
            judged = _shift(rows, plan.oracle)
            edge_cases[name] = EdgeCases(
                _shift(rows, plan.samples), exact[judged], noise[judged], _of(undecided, judged)
            )
        noise = noise[: plan.oracle]
        sequence = _sequence(reference, stem, k, noise)
        return cls(
            values,
            singles,
            oracle,
            movement,
            noise,
            edge_cases,
            roundings,
            sequence,
            _of(undecided, slice(plan.oracle)),
        )


def _of(array: Array | None, rows: slice) -> Array | None:
    return None if array is None else array[rows]


def _undecided(reference: Reference, stem: str, k: int, exact: Array) -> Array | None:
    """Which whole numbers of the oracle's samples another member has otherwise, or float32 Keras in its batches."""
    found, plan = read(reference.work / reference.noise, f"{UNDECIDED}{stem}", k), reference.plan
    if found is None:
        return None
    values = read_array(reference.work / "reference", stem, k)
    differs: Array = found | (np.concatenate([values[: plan.oracle], values[plan.samples :]]) != exact)
    return differs


def undecided_of(reference: Reference, k: int) -> Array:
    """Which values of output `k` float32's rounding may turn, in all rows; none of those that no oracle ran."""
    values, plan = reference.all_rows("out", k), reference.plan
    free = np.zeros(values.shape, bool)
    found = _undecided(reference, "out", k, read_array(reference.work / "oracle", "out", k)) if plan.oracle else None
    if found is not None:
        free[: plan.oracle], free[plan.samples :] = found[: plan.oracle], found[plan.oracle :]
    return free


def _sequence(reference: Reference, stem: str, k: int, noise: Array | None) -> Sequence | None:
    """The long run of a step model, in which float32 has the noise of single steps or more; None of any other."""
    values = read(reference.work / "reference", f"{stem}{SEQUENCE}", k)
    if values is None or noise is None:
        return None if values is None else Sequence(values, None, None)
    oracle = read_array(reference.work / "oracle", f"{stem}{SEQUENCE}", k)
    drift = difference(values, oracle).max_abs
    return Sequence(values, oracle, max(float(noise.max(initial=0.0)), DRIFT * drift))


def _judged(expected: ReferenceValues) -> list[tuple[Array, Array]]:
    """The oracle's samples with their noise, the edge cases too."""
    if expected.oracle is None or expected.noise is None:
        return []
    return [(expected.oracle, expected.noise), *((c.oracle, c.noise) for c in expected.edge_cases.values())]


def _noise(reference: Reference, stem: str, k: int, exact: Array) -> Array:
    """Float32's noise in each of the oracle's samples: what its ensemble gave, and the reference's own runs.

    A sample of small values is granted what the median of the drawn or given ones is: its terms may have been large.
    """
    folder, plan = reference.work / "reference", reference.plan
    values = read_array(folder, stem, k)
    errors = np.concatenate(
        [
            row_errors(values[: plan.oracle], exact[: plan.oracle]),
            row_errors(values[plan.samples :], exact[plan.oracle :]),
        ]
    )
    singles = read(folder, f"{stem}1", k)
    if singles is not None:
        count = min(len(singles), plan.oracle)
        errors[:count] = np.maximum(errors[:count], row_errors(singles[:count], exact[:count]))
    ensemble = read(reference.work / reference.noise, f"{STEM}{stem}", k)
    if ensemble is not None:
        errors = np.maximum(errors, ensemble)
    if exact.dtype.kind in WHOLE:
        errors[:] = 0.0  # what jumps is `undecided`
    maxima = row_maxima(exact)
    floor: Array = FLOOR_ULPS * ULP * np.maximum(maxima, np.median(maxima[: plan.oracle]))
    noise: Array = np.maximum(errors, floor)
    return noise


def _shift(rows: slice, by: int) -> slice:
    return slice(rows.start + by, rows.stop + by)


def _roundings(reference: Reference, stem: str, k: int, values: Array) -> dict[Computed, Rounding]:
    roundings: dict[Computed, Rounding] = {}
    for precision in GATES:
        rounded = [read(folder, stem, k) for folder in emulated(reference.work / "rounded", precision)]
        gaps = [difference(array, values[: len(array)]) for array in rounded if array is not None]
        gaps += _gaps_of_steps(reference, stem, k, precision)
        if gaps:
            roundings[precision] = Rounding(max(gap.rmse for gap in gaps), max(gap.max_abs for gap in gaps))
    return {precision: rounding for precision, rounding in roundings.items() if math.isfinite(rounding.rms)}


def _gaps_of_steps(reference: Reference, stem: str, k: int, precision: Computed) -> list[Difference]:
    """What a precision costs in the long run of a step model; nothing of any other."""
    expected = read(reference.work / "reference", f"{stem}{SEQUENCE}", k)
    folders = emulated(reference.work / "rounded", precision)
    rounded = [read(folder, f"{stem}{SEQUENCE}", k) for folder in folders] if expected is not None else []
    return [
        difference(array, expected[: len(array)]) for array in rounded if array is not None and expected is not None
    ]


@dataclass(frozen=True)
class Values:
    """One output of a candidate beside the reference's: on the basis that is judged, and as the files give it.

    Attributes:
        all_rows: of all samples, the edge cases too.
        other_batches: what other batches gave, each with the samples that they were of.
        sequence: what a step model gave in the long run, from states of its own.
        pairs: the untouched file's outputs there with the logits of its copy, where those are judged.
    """

    expected: ReferenceValues
    all_rows: Array
    other_batches: tuple[tuple[Array, list[int]], ...]
    outputs: Array
    reference_outputs: Array
    pairs: tuple[tuple[Array, Array], ...] = ()
    sequence: Array | None = None

    @property
    def values(self) -> Array:
        return self.all_rows[: len(self.expected.values)]

    @property
    def fits(self) -> bool:
        pairs = ((self.all_rows, self.expected.values), (self.outputs, self.reference_outputs))
        return all(tuple(got.shape[1:]) == tuple(want.shape[1:]) and len(got) >= len(want) for got, want in pairs)
