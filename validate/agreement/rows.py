"""Verdicts as they are written: the rows of the `validate` document and of a manifest (design: JSON)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from converters.formats import Precision
from validate.agreement.losses import Loss
from validate.inputs import Range
from validate.runtimes.tflm_arena import Arena
from validate.written import SPARSE


class VerdictStatus(StrEnum):
    """The judgement on an artifact, and on each of its outputs but for `error`: it did not run."""

    AGREE = "agree"
    DISAGREE = "disagree"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


AGREE, DISAGREE, INCONCLUSIVE, ERROR = VerdictStatus


@dataclass(frozen=True)
class GateRow:
    """The gate that an output was held to.

    Attributes:
        measure: the field of the output's row that was gated: `noise_ratio`, `rounding_ratio` or `sqnr_db`; empty where
            nothing could be measured.
        value: what was measured, `limit`: what it had to keep to. None in JSON is a number that is not finite.
        dead_passes: a dead model would pass the same gate.
        allowed: how far from the reference the gate lets the values lie.
        tie: classes closer than twice this, or labels closer than this to their threshold, are ties.
    """

    measure: str = ""
    value: float | None = None
    limit: float | None = None
    dead_passes: bool = False
    allowed: float | None = None
    tie: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the value keeps to the limit: decibels from below, where none is no error; ratios from above."""
        if self.limit is None:
            return not self.measure
        if self.measure == "sqnr_db":
            return self.value is None or self.value >= self.limit
        return self.value is not None and self.value <= self.limit


@dataclass(frozen=True)
class OutputRow:
    """One output of one candidate.

    Attributes:
        basis: what was compared: `logits` before a final softmax or sigmoid, `probabilities` where those could not be
            read, else `outputs`.
        max_abs, rmse: against the reference in float32; None where the shapes differ.
        sqnr_db: the moving part of the reference's signal over the error's; infinite (null in JSON) where there is no
            error, or nothing moves.
        noise_ratio: maximum over the samples of the error against the float64 oracle over the maximum error of honest
            float32 evaluations there (`worker.ensemble`); None without an oracle.
        noise_ratios: the same by kind of inputs: `inputs` (drawn or given), `structured`, `saturating`, and of a step
            model `consecutive`: the samples as the steps of one long run.
        rounding_ratio: rms error over that of the emulated precision; None for float32 and without an emulation.
        conditioning: float32's noise over the maximum value; a fault below it cannot be told. None without an oracle.
        moved_runs: how many runs with moved weights and inputs are among those evaluations; None without an oracle.
        top1_agreement: share of samples of the reference's class, near-ties counted as alike; None where the output
            decides on none.
        accuracy: share of samples of the labelled class; None without labels.
        nonfinite: elements that are finite in the reference and not here.
        probability_max_abs: maximum difference of the probabilities; None where the basis is not `logits`.
        ties: samples whose two best classes lie too close in the reference to tell; see `metrics.top_one`.
        labels_agreement: share of on-or-off decisions like the reference's, for a sigmoid head of several labels.
        agreement_low: of `top1_agreement` or `labels_agreement`, what the number of samples proves (95 %, one-sided).
        scores: `top1`, `top5` or `f1` against the labels, each `{value, low, high}` with a 95 % interval.
        gate: which number was gated, and the limit that it was held to.
        loss: what the file costs here; None where nothing could be compared.
        decides: what the output decides on, `classes` or `labels`; empty where that is not known. See
            `judging.decisions`.
        status: `agree`, `disagree` or `inconclusive`, with `reason`.
    """

    name: str
    basis: str
    max_abs: float | None
    rmse: float | None
    sqnr_db: float | None
    noise_ratio: float | None
    top1_agreement: float | None
    accuracy: float | None
    nonfinite: int
    samples: int
    probability_max_abs: float | None
    ties: int | None
    gate: GateRow
    status: VerdictStatus
    reason: str
    labels_agreement: float | None = None
    agreement_low: float | None = None
    scores: Mapping[str, Mapping[str, float]] | None = None
    noise_ratios: Mapping[str, float] = field(default_factory=dict)
    rounding_ratio: float | None = None
    conditioning: float | None = None
    moved_runs: int | None = None
    loss: Loss | None = None
    decides: str = ""

    @classmethod
    def without_figures(cls, name: str, basis: str, samples: int, status: VerdictStatus, reason: str) -> OutputRow:
        """Of an output that no error can be measured of: its shape is another, or it is text."""
        figures = (
            "max_abs",
            "rmse",
            "sqnr_db",
            "noise_ratio",
            "top1_agreement",
            "accuracy",
            "probability_max_abs",
            "ties",
        )
        nothing: dict[str, Any] = dict.fromkeys(figures)
        told: dict[str, Any] = {
            "nonfinite": 0,
            "samples": samples,
            "gate": GateRow(),
            "status": status,
            "reason": reason,
        }
        return cls(name=name, basis=basis, **nothing, **told)


@dataclass(frozen=True)
class VerdictRow:
    """A verdict as it is written; see `Verdict`. `artifact` is a path as text.

    Attributes:
        target, runtime, runtime_version, setting: where and how the file was run; see `Ran`.
        emulated: the instructions were emulated, not those of the machine.
        precision_computed: what the numbers were computed in there: the file's precision, or less where the setting
            says so (`bfloat16`; `int8+bfloat16` of an integer file whose float operations were).
        arena: bytes of the tensor arena, measured; there of the target tflm alone.
        same_as: another setting that gave the very same answers, bit for bit, and whose verdict this is.
        precision: whose gate it was held to, as the file's tensors tell; None in a row that an older version wrote.
        mapping: the file's own name of an input or output -> the reference's that it was taken for, where they differ.
        loss: what the file costs the user's task; None where it did not run, and in a row of an older version.
    """

    artifact: str
    status: VerdictStatus
    reason: str = ""
    precision: Precision | None = None
    outputs: tuple[OutputRow, ...] = ()
    notes: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    accepted_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    special_values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    error: Mapping[str, Any] | None = field(default=None, metadata=SPARSE)
    loss: Loss | None = None
    target: str = "host"
    runtime: str | None = None
    runtime_version: str | None = None
    setting: str = "default"
    emulated: bool = False
    precision_computed: str | None = None
    same_as: str | None = field(default=None, metadata=SPARSE)
    arena: Arena | None = field(default=None, metadata=SPARSE)

    @property
    def where(self) -> str:
        """The target in words: what was emulated says so wherever its figures stand."""
        return f"{self.target}, emulated" if self.emulated else self.target


@dataclass(frozen=True)
class JudgedRow(VerdictRow):
    """A verdict with what it was judged on, as a manifest keeps it; see `Agreement`."""

    samples: int | None = None
    seed: int | None = None
    suites: Mapping[str, int] = field(default_factory=dict)
    input_range: Mapping[str, Range] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    oracle_samples: int | None = None
    reference_accuracy: float | None = field(default=None, metadata=SPARSE)
