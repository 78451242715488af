"""Compare artifacts with a reference: the parent's side. Holds no framework, only arrays on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from validate.agreement.judging.gates import Gate, gate_for
from validate.agreement.judging.reference_values import Reference
from validate.agreement.jury import Answered, Jury, Told
from validate.agreement.metric import UserMetric
from validate.agreement.plan import Plan
from validate.agreement.processes import ELSEWHERE, TENSORFLOW, Entry, Processes, processes, reads_of_reference
from validate.agreement.results import Agreement, Golden, Unavailable, Verdict
from validate.agreement.verdicts import error_verdict, settled
from validate.agreement.worker.ensemble import ALL
from validate.inputs import Range, suites, untold
from validate.runtimes import runtime_name
from validate.runtimes.devices import Arithmetic, Device
from validate.targets import HOST, Places

_GOLDEN_SAMPLES, _GOLDEN_BYTES = 16, 64 << 20
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
    places = (*(job.places.judged(fmt) if fmt else (HOST,)), *job.proven_on.get(path, ()))
    return [Entry(path, place, precision) for place in dict.fromkeys(places)]


def _asked(key: str, entry: Entry, places: Places, few: int | None) -> Message:
    place = entry.place
    return {
        "key": key,
        "path": str(entry.path.resolve()),
        "device": place.device,
        "few": few,
        "first": entry.first,
        "machine": dict(places.machine(place.device)),
        "variant": place.variant.to_json(),
    }


def _turn(process: str, entries: Mapping[int, Entry]) -> tuple[bool, bool, bool]:
    """When a process has its turn: TensorFlow's first, then those of the host, to which others are likened."""
    return process not in TENSORFLOW, all(e.place != HOST for e in entries.values()), process.startswith(ELSEWHERE)


class Comparison:
    """One comparison under way, in its processes and their folder."""

    def __init__(self, running: Processes, job: JudgeJob, on_progress: Progress) -> None:
        self._running, self._job, self._on_progress = running, job, on_progress
        self._work = running.folder
        self.threads = len(os.sched_getaffinity(0))
        self._of_all_runs: Jury | None = None
        self._share_of_reference = self._reached = 0.0
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
        self._runtime = runtime
        self._grants = Grants(reads_of_reference(path, common), (job.cache,) if job.cache else ())
        self._request = {
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
        document = self._ask("run_reference", {}, lambda fraction: self._on_progress("reference", share * fraction))
        self._take_reference(document)
        return document

    def _ask(self, function: str, more: Message, tell: Callable[[float], None]) -> Message:
        """Has the reference's process do something with it."""
        return self._running.step(
            self._runtime,
            f"reference_runs:{function}",
            {**self._request, **more},
            lambda event: tell(float(event["fraction"])),
            self._grants,
        )

    def _take_reference(self, document: Message) -> None:
        self.signature, self._eager = Signature.from_json(document["signature"]), bool(document["eager"])
        self._ranges = {name: Range.from_json(limits) for name, limits in document["ranges"].items()}
        labels = np.load(self._work / "labels.npy", allow_pickle=False) if document["has_labels"] else None
        self.reference = Reference(
            self._work,
            Plan.from_json(document["plan"]),
            self.signature.output_names,
            dict(document["kinds"]),
            labels,
            drawn=self._job.common.inputs is None,
            by_metric=self._metric is not None and self._metric.max_drop is not None,
            known=known_outputs(self.signature, dict(document["heads"]), self._job.named),
        )
        told = Told(
            tuple(document["doubts"]),
            (*untold(self._ranges, self.signature), *document["notes"]),
            dict(document["special"]),
        )
        self._jury = Jury(self.reference, self._job, self._metric, told)
        if self._metric is not None:
            self._metric.check_reference(self.signature.output_names, self._work)

    def make_all_runs(self) -> None:
        """Makes all runs of the ensemble, by which every candidate is judged from then on: for figures to compare."""
        self._jury = self._jury_of_all_runs()
        self.reference = self._jury.reference

    def _jury_of_all_runs(self) -> Jury:
        if not self.reference.plan.oracle:
            return self._jury
        if self._of_all_runs is None:
            if not (self._work / ALL).is_dir():
                more = {"plan": self.reference.plan.to_json(), "eager": self._eager}
                self._ask("run_all_noise", more, lambda _fraction: self._on_progress(self._runtime, self._reached))
            self._of_all_runs = self._jury.by(ALL)
        return self._of_all_runs

    def _arithmetic(self, entry: Entry) -> tuple[Arithmetic, ...]:
        """What floats are computed in at a place, where that may be less than float32."""
        device, variant = entry.place.device, entry.place.variant
        if device.is_gpu:
            return (Arithmetic.TF32,) if variant.tf32 else ()
        if device != Device.OPENVINO or variant.float32:
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
        verdicts: dict[int, Verdict] = {}
        self._alike: dict[str, list[Answered]] = {}
        self._first_answers: dict[Path, str] = {}
        by_process: dict[str, dict[int, Entry]] = {}
        for k, entry in enumerate(entries):
            try:
                process = entry.process
                check(entry.path)
                by_process.setdefault(process, {})[k] = entry
            except EdgeportError as error:
                verdicts[k] = error_verdict(entry.path, error)
        for process in sorted(by_process, key=lambda name: _turn(name, by_process[name])):
            if process not in TENSORFLOW:
                self._running.rest("keras")
            verdicts |= self._run_some(process, by_process[process])
        verdicts |= {
            int(other.key): other.shared(first, verdicts[int(first.key)])
            for first, *others in self._alike.values()
            for other in others
        }
        return tuple(verdicts[k] for k in sorted(verdicts))

    def _run_some(self, process: str, entries: Mapping[int, Entry]) -> dict[int, Verdict]:
        """Runs and judges the candidates of one process; that one ends its worker is its verdict."""

        def tell(share: float) -> None:
            progress = min(1.0, (self._done + share) / self._total)
            self._reached = self._share_of_reference + (1 - self._share_of_reference) * progress
            self._on_progress(process, self._reached)

        samples = self.reference.plan.samples

        def request(pending: Sequence[str]) -> Message:
            return {
                "signature": self.signature.to_json(),
                "plan": self.reference.plan.to_json(),
                "fixed_batch": self._job.fixed_batch,
                "key": self._job.common.signature,
                "mapping": None if self._job.mapping is None else dict(self._job.mapping),
                "first_look": self._first_look,
                "candidates": [
                    _asked(key, entries[int(key)], self._job.places, entries[int(key)].few(samples)) for key in pending
                ],
                **self._places(),
            }

        reads = [part for entry in entries.values() for part in parts_of(entry.path)]
        batch = self._running.batch(process, "candidates:run_candidates", [str(k) for k in entries], request, reads)
        verdicts: dict[int, Verdict] = {}
        unsettled: dict[int, Answered] = {}
        for key, outcome in each(batch, on_event=lambda _key, event: tell(float(event["fraction"]))):
            k, entry = int(key), entries[int(key)]
            if isinstance(outcome, EdgeportError):
                verdicts[k] = error_verdict(entry.path, outcome, entry.place)
            elif "unavailable" in outcome:
                self.unavailable.append(Unavailable(entry.path, entry.place, **outcome["unavailable"]))
            else:
                few, gate = entry.few(samples), self._gate(entry, outcome)
                answered = Answered(entry, key, outcome, gate, few, self._notes_on(entry, outcome, few))
                same = self._alike.setdefault(answered.same, [])
                same.append(answered)
                if len(same) > 1:
                    answered.remove(self._work)
                else:
                    rows = self._jury.rows(answered)
                    if self._jury is self._of_all_runs or all(settled(row) for row in rows):
                        verdicts[k] = self._jury.verdict(answered, rows)
                    else:
                        unsettled[k] = answered
            self._done += 1
            tell(0.0)
        return verdicts | self._settle(process, unsettled)

    def _settle(self, process: str, unsettled: Mapping[int, Answered]) -> dict[int, Verdict]:
        """Judges by all runs of the ensemble what the first ones could not settle."""
        if not unsettled:
            return {}
        jury = self._jury_of_all_runs()
        if process not in TENSORFLOW:
            self._running.rest("keras")
        return {k: jury.verdict(answered, jury.rows(answered)) for k, answered in unsettled.items()}

    def _notes_on(self, entry: Entry, result: Message, few: int | None) -> tuple[str, ...]:
        """Of what was emulated: on how many samples, and whether the host, which is run before, gives the very same."""
        first = str(result.get("first_answers"))
        if entry.place == HOST:
            self._first_answers[entry.path] = first
        if few is None:
            return ()
        of = self.reference.plan.samples
        same = ", bit for bit the host's answers" if self._first_answers.get(entry.path) == first else ""
        return (f"emulated on {min(few, of)} of the {of} samples{same}; edge cases and other batches are the host's",)

    def _gate(self, entry: Entry, result: Message) -> Gate:
        return gate_for(entry.precision, self._job.options.tolerances, result.get("arithmetic"))

    def judge(self, entry: Entry, key: str, result: Message) -> Verdict:
        """The verdict on what a worker wrote under `key`, by the runs that were made; its arrays are removed."""
        answered = Answered(entry, key, result, self._gate(entry, result))
        return self._jury.verdict(answered, self._jury.rows(answered))

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
            notes=self._jury.told.notes,
            unexercised=tuple(document["unexercised"]),
            doubts=self._jury.told.doubts,
            unavailable=(*self.unavailable, *(row for v in verdicts if v.ran.place == HOST for row in self._unseen(v))),
            shapes={name: tuple(sizes) for name, sizes in document["shapes"].items()},
            texts=dict(document["texts"]),
        )

    def _unseen(self, verdict: Verdict) -> Iterator[Unavailable]:
        """Of a candidate, the places that it was to be judged at and whose numbers nobody sees."""
        fmt = format_of(verdict.artifact)
        for place in self._job.places.unseen(fmt) if fmt else ():
            why = f"What {place.target} computes is not seen here: {verdict.artifact.name} is judged elsewhere."
            then = f"edgeport bench --on {place.target} tells what is known of it there."
            yield Unavailable(verdict.artifact, place, why, then)

    def _golden(self) -> Golden:
        sides = (("inputs", "in", self.signature.input_names), ("reference", "out", self.signature.output_names))
        maps: list[dict[str, Any]] = [
            {name: read(self._work / folder, stem, i) for i, name in enumerate(names)} for folder, stem, names in sides
        ]
        row = sum(a.nbytes // max(1, len(a)) for side in maps for a in side.values() if a is not None)
        count = max(1, min(_GOLDEN_SAMPLES, self.reference.plan.samples, _GOLDEN_BYTES // max(1, row)))
        inputs, outputs = ({name: np.array(a[:count]) for name, a in side.items()} for side in maps)
        return Golden(inputs, outputs)
