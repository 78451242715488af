"""From what a candidate's worker wrote to its verdict: the parent's side. Holds no framework, only arrays on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.isolation import Message
from validate.agreement.job import JudgeJob
from validate.agreement.judging.gates import Gate
from validate.agreement.judging.judge import judge_output
from validate.agreement.judging.reference_values import Candidate, Reference, ReferenceValues
from validate.agreement.losses import worst_loss
from validate.agreement.metric import UserMetric
from validate.agreement.processes import Entry
from validate.agreement.results import Ran, Verdict
from validate.agreement.rows import DISAGREE, OutputRow
from validate.agreement.verdicts import overall
from validate.runtimes.tflm_arena import Arena

_ANSWER_SAMPLES, _ANSWER_BYTES = 8, 4 << 20


@dataclass(frozen=True)
class Answered:
    """A candidate that its worker has run: what it told, and under which key it wrote.

    Attributes:
        few: it was run on so many samples alone, see `Entry.few`.
        notes: what is to be said of that.
    """

    entry: Entry
    key: str
    result: Message
    gate: Gate
    few: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def ran(self) -> Ran:
        """Where and how it was run."""
        told = {name: self.result.get(name) for name in ("runtime", "runtime_version", "arithmetic")}
        arena = self.result.get("arena")
        return Ran(self.entry.place, **told, arena=Arena(**arena) if arena else None)

    @property
    def same(self) -> str:
        """What two settings of one file share that gave the very same answers, computed in the same way."""
        answers = self.result.get("answers")
        return f"{self.entry.path} {answers} {self.ran.arithmetic}" if answers else self.key

    def remove(self, work: Path) -> None:
        """Removes its arrays: big outputs fill the disk before the next candidate."""
        for file in (work / self.key).glob("*.npy"):
            file.unlink()

    def shared(self, first: Answered, verdict: Verdict) -> Verdict:
        """The verdict on another setting whose answers were the same, as this one's, with the notes of this run."""
        others = {*first.result["notes"], *first.notes}
        notes = (*(note for note in verdict.notes if note not in others), *self.result["notes"], *self.notes)
        return replace(verdict, ran=self.ran, notes=notes, same_as=f"{verdict.target}, {verdict.setting}")


@dataclass(frozen=True)
class Told:
    """What the reference's run told that stands in every verdict.

    Attributes:
        doubts: where the reference parts from itself.
        special: what it makes of values that are not finite.
    """

    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    special: Mapping[str, str]


@dataclass(frozen=True)
class Jury:
    """Judges candidates by one yardstick."""

    reference: Reference
    job: JudgeJob
    metric: UserMetric | None
    told: Told
    _values: dict[tuple[str, int], ReferenceValues] = field(default_factory=dict)

    def by(self, noise: str) -> Jury:
        """The same by what this folder of the comparison says of float32's noise."""
        return replace(self, reference=replace(self.reference, noise=noise), _values={})

    def rows(self, answered: Answered) -> tuple[OutputRow, ...]:
        """A row of each output; none of a candidate whose structure is another."""
        if answered.result["problems"]:
            return ()
        candidate, reference, values = self._candidate(answered), self.reference, self._values
        if (few := answered.few) is not None:
            labels = reference.labels if reference.labels is None else reference.labels[:few]
            reference, values = replace(reference, few=few, labels=labels), {}
        return tuple(
            judge_output(reference, values, candidate, k, answered.gate) for k in range(len(reference.output_names))
        )

    def verdict(self, answered: Answered, rows: tuple[OutputRow, ...]) -> Verdict:
        """The verdict that these rows make; the candidate's arrays are removed."""
        result = answered.result
        notes = (*self.told.doubts, *self.told.notes, *result["notes"], *answered.notes)
        mapping = dict(result.get("mapping", {}))
        if result["problems"]:
            reason = "; ".join(result["problems"])
            return Verdict(
                answered.entry.path,
                DISAGREE,
                reason,
                (),
                notes,
                precision=answered.entry.precision,
                mapping=mapping,
                ran=answered.ran,
            )
        candidate = self._candidate(answered)
        scores: Mapping[str, Any] = {}
        if self.metric is not None:
            rows, scores = self.metric.judged(rows, self.reference.output_names, self.reference.work, candidate.folder)
        answers = self._answers(candidate)
        answered.remove(self.reference.work)
        status, reason = overall(rows)
        if self.job.options.tolerances:
            overrides = ", ".join(f"{key}={value:g}" for key, value in self.job.options.tolerances.items())
            notes = (*notes, f"the gates were overridden: {overrides}")
        special = {
            kind: (self.told.special.get(kind, ""), str(outcome)) for kind, outcome in result.get("special", {}).items()
        }
        accepted = {name: tuple(map(int, shape)) for name, shape in result.get("accepted", {}).items()}
        notes = (
            *notes,
            *(f"{name}: it takes the shape {shape}, which it should refuse" for name, shape in accepted.items()),
        )
        return Verdict(
            answered.entry.path,
            status,
            reason,
            rows,
            notes,
            special=special,
            accepted=accepted,
            answers=answers,
            scores=scores,
            precision=answered.entry.precision,
            mapping=mapping,
            ran=answered.ran,
            loss=worst_loss(tuple(row.loss for row in rows if row.loss is not None)),
        )

    def _candidate(self, answered: Answered) -> Candidate:
        folder, kinds = self.reference.work / answered.key, dict(answered.result["kinds"])
        return Candidate(folder, kinds, answered.entry.precision, answered.ran.arithmetic)

    def _answers(self, candidate: Candidate) -> dict[str, Any]:
        """The candidate's outputs for the first golden samples, as far as they stay small."""
        outputs = {name: candidate.values("out", i) for i, name in enumerate(self.reference.output_names)}
        row = sum(array.nbytes // max(1, len(array)) for array in outputs.values())
        count = min(_ANSWER_SAMPLES, _ANSWER_BYTES // max(1, row))
        return {name: np.array(array[:count]) for name, array in outputs.items()} if count else {}
