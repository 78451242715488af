"""The results of a comparison: values, ready for JSON (design: JSON, `validate`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from converters.arrays import Array
from converters.formats import FLOATS, Precision
from converters.shapes import Shapes
from converters.signature import Signature
from validate.agreement.losses import LOST, Loss
from validate.inputs import Range
from validate.runtimes.devices import Arithmetic
from validate.runtimes.tflm_arena import Arena
from validate.targets import HOST, Kind, Place, target_of
from validate.written import SPARSE, written


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
class Ran:
    """Where and how a file was run.

    Attributes:
        runtime, runtime_version: what ran it; None where nothing did.
        arithmetic: floating point that it computed in, where that is less than float32.
        arena: the memory that it takes on a board, where that was measured.
    """

    place: Place = HOST
    runtime: str | None = None
    runtime_version: str | None = None
    arithmetic: Arithmetic | None = None
    arena: Arena | None = None


@dataclass(frozen=True)
class Unavailable:
    """A place that is not there for a file, why, and what brings it."""

    artifact: Path
    place: Place
    reason: str
    next: str

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact": str(self.artifact),
            "target": self.place.target,
            "setting": self.place.setting,
            "reason": self.reason,
            "next": self.next,
        }


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


@dataclass(frozen=True)
class Verdict:
    """The judgement on one artifact: `agree`, `disagree`, `inconclusive` or `error`, and why in one sentence.

    Attributes:
        accepted: by input, a shape that the file takes though it states another; empty where it refuses them all.
        special: by `nan`, `inf`, `-inf` and `denormal`, what the outputs become in the reference and here: `finite`,
            `inf`, `nan` or `error`. Told, not gated.
        error: the document of what befell it when the status is `error`: code, message, next, file and step.
        answers: by output name, what it gave for the first golden samples; not in the JSON, which holds no arrays.
        ran: where and how it was run.
        scores: what is kept of the user's metric, see `judging.paired.MetricDrop`; nor is this.
    """

    artifact: Path
    status: VerdictStatus
    reason: str
    outputs: tuple[OutputRow, ...] = ()
    notes: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    special: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    accepted: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    answers: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)
    scores: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)
    precision: Precision | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    loss: Loss | None = None
    ran: Ran = Ran()
    same_as: str | None = None

    @property
    def row(self) -> VerdictRow:
        """The verdict as it is written."""
        return VerdictRow(
            str(self.artifact),
            self.status,
            self.reason,
            self.precision,
            self.outputs,
            self.notes,
            self.mapping,
            self.accepted,
            self.special,
            self.error,
            self.loss,
            self.ran.place.target,
            self.ran.runtime,
            self.ran.runtime_version,
            self.ran.place.setting,
            emulated=target_of(self.ran.place.device).numbers is Kind.EMULATED,
            precision_computed=self._computed,
            same_as=self.same_as,
            arena=self.ran.arena,
        )

    @property
    def _computed(self) -> str | None:
        if self.precision is None or self.ran.arithmetic is None:
            return self.precision
        return self.ran.arithmetic if self.precision in FLOATS else f"{self.precision}+{self.ran.arithmetic}"

    @property
    def target(self) -> str:
        return self.ran.place.target

    @property
    def setting(self) -> str:
        return self.ran.place.setting

    @property
    def where(self) -> str:
        return self.row.where

    @property
    def missed(self) -> bool:
        """Whether the file computes otherwise, or costs too much: what a rescue may mend."""
        return self.status == DISAGREE or (self.loss is not None and self.loss.status == LOST)

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = written(self.row)
        return document


def _below(base: Path, verdict: Verdict) -> dict[str, Any]:
    """What went wrong, with paths below `base`, which is a folder of edgeport's own, told from there."""

    def told(value: Any) -> Any:
        for folder in (base, base.resolve()):
            value = value.replace(f"{folder}{os.sep}", "") if isinstance(value, str) else value
        return value

    error = verdict.error and {name: told(value) for name, value in verdict.error.items()}
    return {"reason": told(verdict.reason), "error": error}


@dataclass(frozen=True)
class Golden:
    """The first samples and what the reference makes of them, so that a device can check itself."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]


@dataclass(frozen=True)
class Agreement:
    """The outcome of one comparison.

    Attributes:
        signature: the reference's.
        ranges: by input name, what the values were drawn from.
        suites: by kind, how many inputs: `drawn` or `given`, and the edge cases (`validate.inputs`).
        reference_accuracy: share of samples that the reference puts in the labelled class; None without labels.
        reference_scores: by output name, as in `OutputRow.scores`.
        oracle_samples: how many samples the float64 oracle judged; 0 where there is none, `notes` say why.
        unexercised: layers of the checkpoint with a breakpoint in their activation that no input crossed.
        unavailable: places that are not there; no verdict, and no gate.
        doubts: where the checkpoint's own runs part from each other by more than rounding; in each verdict's notes too.
        shapes: by input that leaves sizes open, the shape that was run.
        texts: of each input of texts, where they are from, in words.
    """

    reference: Path
    signature: Signature
    seed: int
    samples: int
    ranges: dict[str, Range]
    verdicts: tuple[Verdict, ...]
    golden: Golden
    reference_accuracy: float | None = None
    oracle_samples: int = 0
    notes: tuple[str, ...] = ()
    unexercised: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    reference_scores: Mapping[str, Any] = field(default_factory=dict)
    suites: Mapping[str, int] = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    unavailable: tuple[Unavailable, ...] = ()

    @property
    def inputs_told(self) -> dict[str, dict[str, Any]]:
        """By input, the range of its values, or where its texts are from."""
        ranges = {name: limits.to_json() for name, limits in self.ranges.items()}
        return ranges | {name: {"source": source} for name, source in self.texts.items()}

    @property
    def first_verdicts(self) -> tuple[Verdict, ...]:
        """Of each candidate the first: on the host, in its default setting."""
        return tuple({verdict.artifact: verdict for verdict in reversed(self.verdicts)}.values())[::-1]

    def rows(self, base: Path) -> tuple[JudgedRow, ...]:
        """The verdicts as a manifest keeps them: by paths relative to `base`, with what all were judged on."""
        basis: dict[str, Any] = {
            "samples": self.samples,
            "seed": self.seed,
            "suites": dict(self.suites),
            "input_range": self.ranges,
            "shapes": self.shapes,
            "oracle_samples": self.oracle_samples,
            "reference_accuracy": self.reference_accuracy,
        }
        paths = [verdict.artifact.relative_to(base).as_posix() for verdict in self.verdicts]
        rows = [vars(verdict.row) | _below(base, verdict) for verdict in self.verdicts]
        return tuple(JudgedRow(**row | {"artifact": path} | basis) for row, path in zip(rows, paths, strict=True))

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": str(self.reference),
            "seed": self.seed,
            "samples": self.samples,
            "input_range": self.inputs_told,
            "shapes": {name: list(sizes) for name, sizes in self.shapes.items()},
            "suites": dict(self.suites),
            "oracle_samples": self.oracle_samples,
            "reference_accuracy": self.reference_accuracy,
            "reference_scores": dict(self.reference_scores),
            "unexercised": list(self.unexercised),
            "doubts": list(self.doubts),
            "notes": list(self.notes),
            "unavailable": [row.to_json() for row in self.unavailable],
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }
