"""The self-test: break the checkpoint in known ways; each fault must be caught, or the inputs are too weak."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.checkpoints.parts import parts_of
from converters.errors import EdgeportError, RefusedError, error_from_json
from converters.formats import Precision
from converters.isolation import Batch, Message, Standing, each
from converters.progress import Progress
from validate.agreement.compare import Comparison
from validate.agreement.job import JudgeJob
from validate.agreement.judging.gates import gate_for
from validate.agreement.judging.reference_values import ReferenceValues
from validate.agreement.processes import Entry, Processes, processes
from validate.agreement.results import Verdict
from validate.agreement.rows import DISAGREE, ERROR
from validate.inputs import Range
from validate.mutants.catalogue import HEALTHY
from validate.mutants.faults import MUTATIONS
from validate.runtimes import runtime_name

CAUGHT, SURVIVED = "caught", "survived"
NOT_EXERCISED, NO_PLACE, NOT_WRITTEN = "not exercised", "no place", "not written"


_KERAS = "keras"
_WORKER, _STEP = "validate.mutants.worker", "self-test"


@dataclass(frozen=True)
class MutantRow:
    """One fault in one subject.

    Attributes:
        subject: `keras` for the model in memory, else the format that the broken model was written in.
        layer: the broken layer; None where the fault is in no single one.
        status: `caught`; `survived` where the judge did not see a fault that moves the oracle beyond its noise;
            `not exercised` where these inputs do not bring it out; `no place` where the model has nothing to break so;
            `not written` where the broken model did not become a file, so that nothing was judged; `error` where it
            ended its worker. Of a healthy file (mutant `HEALTHY`) it is the verdict's own: what is caught proves
            nothing where the healthy one is too.
        noise_ratio: the worst of the outputs.
    """

    mutant: str
    subject: str
    layer: str | None
    status: str
    reason: str
    noise_ratio: float | None = None

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class SelfTest:
    """The outcome: one row a fault and subject."""

    reference: Path
    seed: int
    samples: int
    rows: tuple[MutantRow, ...]
    notes: tuple[str, ...] = ()
    unexercised: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()

    @property
    def passed(self) -> bool:
        """No fault survived or went unjudged, and no healthy file was taken for a broken one."""
        return not any(row.status in {SURVIVED, ERROR} for row in self.rows) and not self.false_alarms

    @property
    def false_alarms(self) -> list[str]:
        """The formats whose healthy file did not pass."""
        return [row.subject for row in self.rows if row.mutant == HEALTHY and row.status in {DISAGREE, ERROR}]

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": str(self.reference),
            "seed": self.seed,
            "samples": self.samples,
            "passed": self.passed,
            "mutants": [row.to_json() for row in self.rows],
            "unexercised": list(self.unexercised),
            "notes": list(self.notes),
        }


def self_test(
    reference: Path,
    make: str,
    formats: tuple[str, ...] = ("tflite", "onnx"),
    job: JudgeJob = JudgeJob(),
    on_progress: Progress | None = None,
) -> SelfTest:
    """Breaks the checkpoint in each known way, in memory and in files of these formats, and judges what comes out.

    Each is judged on the samples first; what they do not show is run again on all inputs and in all batches. The
    healthy files run in all of them.

    Args:
        make: `module:function` that writes `(model, format, precision, folder) -> path` in a worker.

    Raises:
        RefusedError: the reference is not a Keras checkpoint: there is nothing to break.
        EdgeportError: the reference could not be run, or not be loaded to be broken.
    """
    if runtime_name(reference) != "keras" or reference.suffix.lower() == ".pb":  # a graph has no layers
        raise RefusedError(
            f"{reference} is no Keras checkpoint, so it cannot be broken layer by layer.",
            next_step="Give the .keras or .h5 file.",
            file=reference,
        )
    progress = on_progress or (lambda stage, share: None)
    first = _round(reference, job, progress, make, formats, None)
    unexercised = {row.mutant for row in first.rows if row.status == NOT_EXERCISED}
    if not unexercised or job.common.inputs is not None or len(first.ranges) != 1 or not first.ranges[0].source:
        return first
    wide = _widened(first.ranges[0])
    second = _round(
        reference, replace(job, common=replace(job.common, input_range=wide)), progress, make, formats, unexercised
    )
    second_rows = {(row.mutant, row.subject): row for row in second.rows if row.status != NOT_EXERCISED}
    rows = tuple(_with_wide_range(second_rows.get((row.mutant, row.subject), row), row, wide) for row in first.rows)
    return replace(first, rows=rows)


SATURATING = 4.0
"""How much wider than their range the inputs are drawn for a fault that nothing else brings out, such as a cap."""


def _widened(limits: Range) -> tuple[float, float]:
    return SATURATING * limits.low, SATURATING * limits.high


def _with_wide_range(row: MutantRow, before: MutantRow, wide: tuple[float, float]) -> MutantRow:
    if row is before:
        return row
    return replace(row, reason=f"on inputs of {wide[0]:g} to {wide[1]:g}, beyond their range: {row.reason}")


def _round(
    reference: Path,
    job: JudgeJob,
    on_progress: Progress,
    make: str,
    formats: tuple[str, ...],
    only: set[str] | None,
) -> SelfTest:
    with processes(reference, (), job) as running:
        return _Run(reference, running, job, on_progress, only).run(make, formats)


@dataclass
class _Run:
    reference: Path
    running: Processes
    job: JudgeJob
    on_progress: Progress
    only: set[str] | None
    rows: list[MutantRow] = field(default_factory=list)
    layers: dict[str, str | None] = field(default_factory=dict)
    first_look: bool = True

    def run(self, make: str, formats: tuple[str, ...]) -> SelfTest:
        self.comparison = Comparison(self.running, self.job, self._reference_progress)
        document = self.comparison.run_reference(self.reference)
        self.comparison.make_all_runs()
        self.running.rest("keras")
        self._break(make, formats, self.only)
        self._look_again(make, formats)
        self._tell_apart()
        return SelfTest(
            self.reference,
            self.job.common.seed,
            self.comparison.reference.plan.samples,
            tuple(self.rows),
            tuple(document["notes"]),
            tuple(document["unexercised"]),
            tuple(Range.from_json(limits) for limits in document["ranges"].values()),
        )

    def _break(self, make: str, formats: tuple[str, ...], only: set[str] | None) -> None:
        names = [m.name for m in MUTATIONS if only is None or m.name in only]
        if only is None and formats:
            names.insert(0, HEALTHY)
        with self._worker() as worker:

            def begin(pending: Sequence[str]) -> None:
                more = {"make": make, "formats": list(formats), "mutants": list(pending), "first_look": self.first_look}
                worker.begin(f"{_WORKER}:break_model", self._request(more), step=_STEP)
                worker.receive()  # loaded: what goes wrong before that is not a mutant's fault

            for name, outcome in each(Batch(worker, tuple(names), begin), on_event=self._take):
                if isinstance(outcome, EdgeportError):
                    self._record_end(name, formats, outcome)
                elif not outcome["place"]:
                    self.rows.append(
                        MutantRow(name, _KERAS, None, NO_PLACE, "the model has nothing to break like this")
                    )

    def _record_end(self, name: str, formats: Sequence[str], error: EdgeportError) -> None:
        """Records a mutant that ended its worker: what was under way could not be judged."""
        subjects = [*(() if name == HEALTHY else (_KERAS,)), *formats]
        reported_subjects = {row.subject for row in self.rows if row.mutant == name}
        subject = next((s for s in subjects if s not in reported_subjects), subjects[-1])
        self.rows.append(MutantRow(name, subject, self.layers.get(name), ERROR, error.message))

    def _look_again(self, make: str, formats: tuple[str, ...]) -> None:
        """Runs what the samples alone did not show in all batches and on all inputs, as `validate` does."""
        survivors = {row.mutant for row in self.rows if row.status == SURVIVED}
        if not survivors:
            return
        first_rows, self.rows, self.first_look = self.rows, [], False
        self._break(make, formats, survivors)
        second_rows = {(row.mutant, row.subject): row for row in self.rows}
        self.rows = [second_rows.get((row.mutant, row.subject), row) for row in first_rows]

    def _reference_progress(self, stage: str, share: float) -> None:
        """Of the comparison that goes on inside, only the reference's run counts: the faults are counted here."""
        if stage == "reference":
            self.on_progress(stage, share / 5)

    def _worker(self) -> Standing:
        common = self.job.common
        reads, writes = parts_of(self.reference, common.opening), [self.running.folder]
        return Standing(limits=common.limits, log=common.log, reads=reads, writes=writes)

    def _request(self, more: Message) -> Message:
        return {
            "path": str(self.reference.resolve()),
            "work": str(self.running.folder),
            "threads": self.comparison.threads,
            "plan": self.comparison.reference.plan.to_json(),
            "opening": self.job.common.opening.to_json(),
            **more,
        }

    def _take(self, name: str, event: Message) -> None:
        """Takes an event of the mutant in hand: where it is broken, then what each subject gave."""
        if "layer" in event:
            self.layers[name] = event["layer"]
            self.on_progress(f"mutant {name}", 0.2 + 0.8 * len(self.layers) / len(MUTATIONS))
        elif "subject" in event:
            self.rows.append(self._row(name, event))

    def _row(self, name: str, event: Message) -> MutantRow:
        verdict = self._verdict(name, event)
        ratios = [row.noise_ratio for row in verdict.outputs if row.noise_ratio is not None]
        status = CAUGHT if verdict.status in {DISAGREE, ERROR} else SURVIVED
        if "unwritten" in event:
            status = NOT_WRITTEN
        elif name == HEALTHY:
            status = verdict.status
        return MutantRow(
            name, event["subject"], self.layers.get(name), status, verdict.reason, max(ratios, default=None)
        )

    def _verdict(self, name: str, event: Message) -> Verdict:
        subject = event["subject"]
        if "unwritten" in event:
            error = error_from_json(event["unwritten"])
            return Verdict(Path(subject), ERROR, f"it could not be written: {error.message}")
        if "path" in event:
            path = Path(event["path"])
            first_look = self.first_look and name != HEALTHY  # of the healthy file all must hold
            (verdict,) = self.comparison.run_candidates([Entry(path)], first_look=first_look)
            shutil.rmtree(path.parent)
            return verdict
        return self.comparison.judge(Entry(self.reference), f"mutant-{name}", event["ran"])

    def _tell_apart(self) -> None:
        """A fault that was not caught and does not move the oracle beyond its noise was not exercised."""
        survivors = {row.mutant for row in self.rows if row.status == SURVIVED}
        if not survivors or not self.comparison.reference.plan.oracle:
            return
        request = self._request({"mutants": sorted(survivors)})
        with self._worker() as worker:
            effects = worker.step(f"{_WORKER}:measure_effects", request, step=_STEP)["effects"]
        for k, row in enumerate(self.rows):
            if row.status == SURVIVED and self._below_noise(effects[row.mutant]):
                reason = "on these inputs it does not move the float64 oracle beyond float32's noise"
                self.rows[k] = MutantRow(row.mutant, row.subject, row.layer, NOT_EXERCISED, reason, row.noise_ratio)

    def _below_noise(self, effect: dict[str, list[float]]) -> bool:
        """Whether it moves no sample by more than the gate lets float32 move it."""
        comparison, gate = self.comparison, gate_for(Precision.FLOAT32, self.job.options.tolerances)
        for k, name in enumerate(comparison.reference.output_names):
            stem = "logits" if name in comparison.reference.kinds else "out"
            noise = ReferenceValues.of(comparison.reference, stem, k).noise
            if noise is None:
                return False
            moved = np.asarray(effect[name][: len(noise)])
            if (moved > (gate.noise_ratio or 0.0) * noise[: len(moved)]).any():
                return False
        return True
