"""Compare artifacts with a reference: the parent's side. Holds no framework, only arrays on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.identify import identify
from converters.checkpoints.parts import parts_of
from converters.checkpoints.scan_file import check
from converters.errors import EdgeportError, UsageError
from converters.formats import Precision, format_of
from converters.isolation import Grants, Message, each
from converters.progress import Progress
from converters.readers.precision import known_precision
from converters.signature import Signature
from validate.agreement.arrays import read
from validate.agreement.job import JudgeJob
from validate.agreement.judging.class_decisions import accuracy, scores
from validate.agreement.judging.decisions import known_outputs
from validate.agreement.judging.gates import gate_for
from validate.agreement.judging.judge import judge_output
from validate.agreement.judging.reference_values import Candidate, Reference, ReferenceValues
from validate.agreement.losses import worst_loss
from validate.agreement.metric import UserMetric
from validate.agreement.plan import Plan
from validate.agreement.processes import TENSORFLOW, Entry, Processes, processes, reads_of_reference
from validate.agreement.results import (
    DISAGREE,
    Agreement,
    Golden,
    Ran,
    Unavailable,
    Verdict,
)
from validate.agreement.verdicts import error_verdict, overall
from validate.inputs import Range, suites, untold
from validate.runtimes import runtime_name
from validate.runtimes.base import Arithmetic, Device
from validate.targets import HOST

_GOLDEN_SAMPLES, _GOLDEN_BYTES = 16, 64 << 20
_ANSWER_SAMPLES, _ANSWER_BYTES = 8, 4 << 20
_REFERENCE = 2
"""How many candidates' time the reference takes: it runs in two precisions."""


def compare(
    reference: Path,
    candidates: Sequence[Path],
    job: JudgeJob = JudgeJob(),
    on_progress: Progress | None = None,
) -> Agreement:
    """Judges each candidate against the reference: one worker for that, then one for each runtime.

    Args:
        reference: a Keras checkpoint, which brings a float64 oracle, or any artifact, which brings none.
        on_progress: told of the stage (`reference` or a runtime's name) and how much of the whole is done, 0..1.

    Raises:
        UsageError: a path is not there, or the inputs do not fit.
        RefusedError: the reference or the inputs are damaged.
        EdgeportError: the reference's worker failed. What befalls a candidate is its verdict, never raised.
    """
    runtime_name(reference)
    for path in candidates:
        if not path.exists():
            raise UsageError(f"{path} is not there.", next_step="Check the path.", file=path)
    entries = [entry for path in candidates for entry in entries_of(path, job)]
    with processes(reference, entries, job) as running:
        comparison = Comparison(running, job, on_progress or (lambda stage, fraction: None))
        document = comparison.run_reference(reference, entries)
        verdicts = comparison.run_candidates(entries)
        return comparison.agreement(reference, document, verdicts)


def entries_of(path: Path, job: JudgeJob) -> list[Entry]:
    """A candidate at every place where it is judged."""
    fmt, precision = format_of(path), job.precision or known_precision(path) or Precision.FLOAT32
    return [Entry(path, place, precision) for place in (job.places.judged(fmt) if fmt else (HOST,))]


def _asked(key: str, entry: Entry) -> Message:
    place = entry.place
    return {
        "key": key,
        "path": str(entry.path.resolve()),
        "device": place.device,
        "variant": place.variant.to_json(),
    }


class Comparison:
    """One comparison under way, in its processes and their folder."""

    def __init__(self, running: Processes, job: JudgeJob, on_progress: Progress) -> None:
        self._running, self._job, self._on_progress = running, job, on_progress
        self._work = running.folder
        self.threads = len(os.sched_getaffinity(0))
        self._reference_values: dict[tuple[str, int], ReferenceValues] = {}
        self._share_of_reference = 0.0
        self._metric = UserMetric.of(job.options, job.common, job.chosen_with)
        self.unavailable: list[Unavailable] = []
        self._openvino: Message | None = None

    def _places(self) -> Message:
        return {"work": str(self._work), "threads": self.threads}

    def run_reference(self, path: Path, entries: Sequence[Entry] = ()) -> Message:
        """Runs the reference, its oracle, and what the reduced precisions among these must cost."""
        job, common = self._job, self._job.common
        runtime = runtime_name(path)
        checkpoint: Checkpoint | None = None
        if runtime in TENSORFLOW:  # what the user adds to a source decides what of it may pass
            checkpoint = job.checkpoint or identify(path, common.opening)
        else:
            check(path)
        if job.cache:
            job.cache.mkdir(parents=True, exist_ok=True)
        computed = {kind: None for entry in entries for kind in (entry.precision, *self._arithmetic(entry))}
        reduced = [k for k in computed if gate_for(k, job.options.tolerances).rounding_ratio is not None]
        request = {
            "path": str(path.resolve()),
            "samples": common.samples,
            "seed": common.seed,
            "inputs": str(common.inputs.resolve()) if common.inputs else None,
            "input_range": list(common.input_range) if common.input_range else None,
            "shapes": dict(common.shapes),
            "cache": str(job.cache.resolve()) if job.cache else None,
            "precisions": reduced,
            "opening": common.opening.to_json(),
            "checkpoint": checkpoint.to_json() if checkpoint else None,
            **self._places(),
        }
        share = self._share_of_reference = _REFERENCE / (_REFERENCE + len(entries))
        self._on_progress("reference", 0.0)
        document = self._running.step(
            runtime,
            "reference_runs:run_reference",
            request,
            lambda e: self._on_progress("reference", share * float(e["fraction"])),
            Grants(reads_of_reference(path, common), (job.cache,) if job.cache else ()),
        )
        self.signature = Signature.from_json(document["signature"])
        self._doubts: tuple[str, ...] = tuple(document["doubts"])
        self._ranges = {name: Range.from_json(limits) for name, limits in document["ranges"].items()}
        self._notes = (*untold(self._ranges, self.signature), *document["notes"])
        self._special: dict[str, str] = dict(document["special"])
        labels = np.load(self._work / "labels.npy", allow_pickle=False) if document["has_labels"] else None
        self.reference = Reference(
            self._work,
            Plan.from_json(document["plan"]),
            self.signature.output_names,
            dict(document["kinds"]),
            labels,
            drawn=common.inputs is None,
            by_metric=self._metric is not None and self._metric.max_drop is not None,
            known=known_outputs(self.signature, dict(document["heads"]), job.named),
        )
        if self._metric is not None:
            self._metric.check_reference(self.signature.output_names, self._work)
        return document

    def _arithmetic(self, entry: Entry) -> tuple[Arithmetic, ...]:
        """What floats are computed in at a place, where that may be less than float32."""
        device, variant = entry.place.device, entry.place.variant
        if device.is_gpu:
            return (Arithmetic.TF32,) if variant.tf32 else ()
        if device is not Device.OPENVINO or variant.float32:
            return ()
        if self._openvino is None:
            step = "candidates:default_arithmetic"
            self._openvino = self._running.step("openvino", step, {}, lambda _: None, Grants())
        found = self._openvino["arithmetic"]
        return (Arithmetic(found),) if found else ()

    def run_candidates(self, entries: Sequence[Entry], *, first_look: bool = False) -> tuple[Verdict, ...]:
        """Runs and judges them; at a first look on the samples alone, see `Plan.first_look`.

        An entry whose place is not there has no verdict, but a row of `unavailable`.
        """
        self._total, self._done, self._first_look = len(entries), 0, first_look
        self._told: dict[tuple[Path, str], Verdict] = {}
        verdicts: dict[int, Verdict] = {}
        by_process: dict[str, dict[int, Entry]] = {}
        for k, entry in enumerate(entries):
            try:
                process = entry.process
                check(entry.path)
                by_process.setdefault(process, {})[k] = entry
            except EdgeportError as error:
                verdicts[k] = error_verdict(entry.path, error)
        for process in sorted(by_process, key=lambda name: name not in TENSORFLOW):
            if process not in TENSORFLOW:
                self._running.rest("keras")
            verdicts |= dict(self._run_some(process, by_process[process]))
        return tuple(verdicts[k] for k in sorted(verdicts))

    def _run_some(self, process: str, entries: Mapping[int, Entry]) -> Iterator[tuple[int, Verdict]]:
        """Runs and judges the candidates of one process; that one ends its worker is its verdict."""

        def tell(share: float) -> None:
            progress = min(1.0, (self._done + share) / self._total)
            self._on_progress(process, self._share_of_reference + (1 - self._share_of_reference) * progress)

        def request(pending: Sequence[str]) -> Message:
            return {
                "signature": self.signature.to_json(),
                "plan": self.reference.plan.to_json(),
                "fixed_batch": self._job.fixed_batch,
                "mapping": None if self._job.mapping is None else dict(self._job.mapping),
                "first_look": self._first_look,
                "candidates": [_asked(key, entries[int(key)]) for key in pending],
                **self._places(),
            }

        reads = [part for entry in entries.values() for part in parts_of(entry.path)]
        batch = self._running.batch(process, "candidates:run_candidates", [str(k) for k in entries], request, reads)
        for key, outcome in each(batch, on_event=lambda _key, event: tell(float(event["fraction"]))):
            k, entry = int(key), entries[int(key)]
            if isinstance(outcome, EdgeportError):
                yield k, error_verdict(entry.path, outcome, entry.place)
            elif "unavailable" in outcome:
                self.unavailable.append(Unavailable(entry.path, entry.place, **outcome["unavailable"]))
            else:
                yield k, self._shared(entry, key, outcome)
            self._done += 1
            tell(0.0)

    def _shared(self, entry: Entry, key: str, result: Message) -> Verdict:
        """The verdict, or that of another setting which gave the very same answers, computed in the same way."""
        same = (entry.path, f"{result.get('answers')} {result.get('arithmetic')}")
        if "answers" not in result or (told := self._told.get(same)) is None:
            self._told[same] = verdict = self.judge(entry, key, result)
            return verdict
        for file in (self._work / key).glob("*.npy"):
            file.unlink()
        ran = Ran(entry.place, *(result[name] for name in ("runtime", "runtime_version", "arithmetic")))
        return replace(told, ran=ran, same_as=f"{told.ran.place.target}, {told.ran.place.setting}")

    def judge(self, entry: Entry, key: str, result: Message) -> Verdict:
        """The verdict on what a candidate's worker wrote under `key`, whose arrays are removed."""
        path, precision = entry.path, entry.precision
        notes = (*self._doubts, *self._notes, *result["notes"])
        mapping = dict(result.get("mapping", {}))
        ran = Ran(entry.place, *(result.get(name) for name in ("runtime", "runtime_version", "arithmetic")))
        if result["problems"]:
            reason = "; ".join(result["problems"])
            return Verdict(path, DISAGREE, reason, (), notes, precision=precision, mapping=mapping, ran=ran)
        folder = self._work / key
        candidate = Candidate(folder, dict(result["kinds"]), precision, ran.arithmetic)
        gate = gate_for(precision, self._job.options.tolerances, ran.arithmetic)
        rows = tuple(
            judge_output(self.reference, self._reference_values, candidate, i, gate)
            for i in range(len(self.reference.output_names))
        )
        scores: Mapping[str, Any] = {}
        if self._metric is not None:
            rows, scores = self._metric.judged(rows, self.signature.output_names, self._work, folder)
        answers = self._answers(candidate)
        for file in folder.glob("*.npy"):  # big outputs: free the disk before the next candidate
            file.unlink()
        status, reason = overall(rows)
        if self._job.options.tolerances:
            overrides = ", ".join(f"{key}={value:g}" for key, value in self._job.options.tolerances.items())
            notes = (*notes, f"the gates were overridden: {overrides}")
        special = {
            kind: (self._special.get(kind, ""), str(outcome)) for kind, outcome in result.get("special", {}).items()
        }
        accepted = {name: tuple(map(int, shape)) for name, shape in result.get("accepted", {}).items()}
        notes = (
            *notes,
            *(f"{name}: it takes the shape {shape}, which it should refuse" for name, shape in accepted.items()),
        )
        return Verdict(
            path,
            status,
            reason,
            rows,
            notes,
            special=special,
            accepted=accepted,
            answers=answers,
            scores=scores,
            precision=precision,
            mapping=mapping,
            ran=ran,
            loss=worst_loss(tuple(row.loss for row in rows if row.loss is not None)),
        )

    def _answers(self, candidate: Candidate) -> dict[str, Any]:
        """The candidate's outputs for the first golden samples, as far as they stay small."""
        outputs = {name: candidate.values("out", i) for i, name in enumerate(self.reference.output_names)}
        row = sum(array.nbytes // max(1, len(array)) for array in outputs.values())
        count = min(_ANSWER_SAMPLES, _ANSWER_BYTES // max(1, row))
        return {name: np.array(array[:count]) for name, array in outputs.items()} if count else {}

    def agreement(self, path: Path, document: Message, verdicts: tuple[Verdict, ...]) -> Agreement:
        plan, names = self.reference.plan, self.reference.output_names
        shares = (accuracy(self.reference.values("out", i), self.reference.labels) for i in range(len(names)))
        scores_by_output = {
            name: scores(self.reference.values("out", i), self.reference.labels, self.reference.kinds.get(name))
            for i, name in enumerate(names)
        }
        return Agreement(
            reference=path,
            reference_scores={name: value for name, value in scores_by_output.items() if value},
            signature=self.signature,
            seed=self._job.common.seed,
            samples=plan.samples,
            ranges=self._ranges,
            verdicts=verdicts,
            golden=self._golden(),
            reference_accuracy=next((share for share in shares if share is not None), None),
            suites={
                "given" if self._job.common.inputs else "drawn": plan.samples,
                **(suites(plan.saturating) if plan.edge_cases else {}),
            },
            oracle_samples=plan.oracle,
            notes=self._notes,
            unexercised=tuple(document["unexercised"]),
            doubts=self._doubts,
            unavailable=tuple(self.unavailable),
            shapes={name: tuple(sizes) for name, sizes in document["shapes"].items()},
            texts=dict(document["texts"]),
        )

    def _golden(self) -> Golden:
        sides = (("inputs", "in", self.signature.input_names), ("reference", "out", self.signature.output_names))
        maps: list[dict[str, Any]] = [
            {name: read(self._work / folder, stem, i) for i, name in enumerate(names)} for folder, stem, names in sides
        ]
        row = sum(a.nbytes // max(1, len(a)) for side in maps for a in side.values() if a is not None)
        count = max(1, min(_GOLDEN_SAMPLES, self.reference.plan.samples, _GOLDEN_BYTES // max(1, row)))
        inputs, outputs = ({name: np.array(a[:count]) for name, a in side.items()} for side in maps)
        return Golden(inputs, outputs)
