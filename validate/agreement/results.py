"""The results of a comparison: values, ready for JSON (design: JSON, `validate`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.arrays import Array
from converters.formats import FLOATS, Precision
from converters.shapes import Shapes
from converters.signature import Signature
from validate.agreement.losses import LOST, Loss
from validate.agreement.rows import (
    DISAGREE,
    JudgedRow,
    OutputRow,
    VerdictRow,
    VerdictStatus,
)
from validate.inputs import Range
from validate.runtimes.devices import Arithmetic
from validate.runtimes.tflm_arena import Arena
from validate.targets import HOST, Kind, Place, target_of
from validate.written import written


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
