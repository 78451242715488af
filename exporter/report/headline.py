"""The verdict in one sentence: what was made, whether it agrees, what is fastest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from exporter.manifest.passing import gate_misses, limit_misses, passing, timing_misses
from exporter.manifest.rows import Miss
from exporter.manifest.schema import Manifest
from exporter.report import wording as say
from validate.agreement.losses import KEPT, LOST, UNPROVEN
from validate.agreement.rows import AGREE, INCONCLUSIVE
from validate.latency.rows import TimingRow
from validate.targets import HOST


@dataclass(frozen=True)
class Headline:
    """`tone` is `good`, `warn` or `bad`; `word` says the same in text."""

    tone: Literal["good", "warn", "bad"]
    word: str
    sentence: str


def headline(manifest: Manifest) -> Headline:
    """The verdict: what was made, whether it agrees, what is fastest."""
    total, failed = len(manifest.artifacts), len(manifest.failures)
    by_status: dict[str, list[str]] = {}
    for verdict in manifest.first_verdicts:
        by_status.setdefault(verdict.status, []).append(say.clean(verdict.artifact))
    source = say.clean(manifest.source.path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1])
    losses = _losses(manifest)
    parts = [_agreement_part(by_status, total, source, losses), *_elsewhere_parts(manifest)]
    parts += [*_loss_parts(losses), *_missed_parts(manifest)]
    if failed:
        names = [f"{row.format.value} {row.precision.value} ({row.status})" for row in manifest.failures]
        parts.append(f"{say.count(failed, 'target')} could not be made: {say.listed(names)}")
    if fastest := fastest_timing(manifest):
        unsure = " that is proven" if losses else ""
        parts.append(
            f"the fastest{unsure} on {say.clean(fastest.device)} is {say.clean(fastest.artifact)}, p50 "
            f"{say.interval(fastest.p50_ms)}"
        )
    if busy := disturbance(manifest):
        parts.append(busy)
    sentence = "; ".join(parts) + "."
    if total == 0 or any(miss.gate != INCONCLUSIVE for miss in passing(manifest).misses):
        return Headline("bad", "failed", sentence)
    if failed or INCONCLUSIVE in by_status or len(manifest.first_verdicts) < total:
        word = "partial" if failed else INCONCLUSIVE if INCONCLUSIVE in by_status else "not judged"
        return Headline("warn", word, sentence)
    return Headline("warn", "not proven", sentence) if UNPROVEN in losses else Headline("good", "agree", sentence)


def _losses(manifest: Manifest) -> dict[str, dict[str, str]]:
    """By `lost` and `unproven`, why, by artifact: of those that agree with the checkpoint."""
    found: dict[str, dict[str, str]] = {}
    for verdict in manifest.first_verdicts:
        if verdict.status == AGREE and verdict.loss is not None and verdict.loss.status != KEPT:
            found.setdefault(verdict.loss.status, {})[say.clean(verdict.artifact)] = say.clean(verdict.loss.reason)
    return found


def _loss_parts(losses: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A clause for what costs too much, and one for what is not known to cost little; each with its worst reason."""
    parts = []
    for status, words in ((LOST, "too much is lost in"), (UNPROVEN, "not proven:")):
        if names := losses.get(status):
            first, reason = next(iter(names.items()))
            whose = f"{first}: " if len(names) > 1 else ""
            parts.append(f"{words} {say.listed(list(names))} ({whose}{reason})")
    return parts


def _agreement_part(
    by_status: Mapping[str, list[str]], total: int, source: str, losses: Mapping[str, Mapping[str, str]]
) -> str:
    if not total:
        return f"No artifact could be made from {source}"
    if not by_status:
        return f"{say.count(total, 'artifact')} made from {source}, not judged"
    agree = len(by_status.get("agree", []))
    unproven = len(losses.get(UNPROVEN, ()))
    if agree == total == unproven:
        verb = "agree" if total > 1 else "agrees"
        return (
            f"Made, not proven: {say.count(total, 'artifact')} {verb} with {source} up to what the precision must cost"
        )
    if agree == total:
        proven = f", {unproven} of them made, not proven" if unproven else ""
        return f"{'Both' if total == 2 else 'All ' + str(total) if total > 2 else 'The'} " + (
            f"artifact{'s' if total > 1 else ''} agree{'' if total > 1 else 's'} with {source}{proven}"
        )
    others = [
        f"{say.listed(names)} {'are' if len(names) > 1 else 'is'} {word}"
        for status, word in (("disagree", "in disagreement"), ("inconclusive", "inconclusive"), ("error", "in error"))
        if (names := by_status.get(status))
    ]
    return ", ".join([f"{agree} of {say.count(total, 'artifact')} agree with {source}", *others])


def _elsewhere_parts(manifest: Manifest) -> list[str]:
    """A clause for each other target, or setting, on which a file does not agree; all before them is of the host."""
    first = {id(verdict) for verdict in manifest.first_verdicts}
    names: dict[str, dict[str, None]] = {}
    for verdict in manifest.verdicts:
        if id(verdict) not in first and verdict.status != AGREE:
            where = verdict.target if verdict.target != HOST.target else f"the host with {verdict.setting}"
            names.setdefault(say.clean(where), {})[say.clean(verdict.artifact)] = None
    return [f"on {where} not {say.listed(list(files))}" for where, files in names.items()]


def _missed_parts(manifest: Manifest) -> list[str]:
    """A clause for each kind of gate that was missed besides the agreement."""
    parts = []
    for gate, names in _subjects(gate_misses(manifest.artifacts)).items():
        parts.append(f"{say.listed(names)} {'misses' if len(names) == 1 else 'miss'} the gate {say.clean(gate)}")
    for names in _subjects(timing_misses(manifest.timings)).values():
        parts.append(f"{say.listed(names)} failed while {'it was' if len(names) == 1 else 'they were'} timed")
    if limit_misses(manifest):
        parts.append("no artifact keeps to the limits")
    return parts


def _subjects(misses: Iterable[Miss]) -> dict[str, list[str]]:
    """By gate, the artifacts that missed it."""
    subjects: dict[str, dict[str, None]] = {}
    for miss in misses:
        subjects.setdefault(miss.gate, {})[say.clean(miss.subject)] = None
    return {gate: list(names) for gate, names in subjects.items()}


def fastest_timing(manifest: Manifest) -> TimingRow | None:
    """The lowest p50 on the first device that was timed, among artifacts that do not disagree and keep what they
    need to."""
    wrong = {
        verdict.artifact
        for verdict in manifest.first_verdicts
        if verdict.status in {"disagree", "error"} or (verdict.loss is not None and verdict.loss.status != KEPT)
    }
    timed = [row for row in timed_rows(manifest) if row.artifact not in wrong]
    same = [row for row in timed if (row.device, row.batch) == (timed[0].device, timed[0].batch)]
    return min(same, key=lambda row: row.p50_ms.value if row.p50_ms else 0.0) if len(same) > 1 else None


def disturbance(manifest: Manifest) -> str:
    """The number of timings that other work on the machine disturbed, in words; empty where none."""
    timed = timed_rows(manifest)
    disturbed = sum("tainted" in row.flags for row in timed)
    return f"other work on the machine disturbed {disturbed} of {say.count(len(timed), 'timing')}" if disturbed else ""


def timed_rows(manifest: Manifest) -> list[TimingRow]:
    return [row for row in manifest.timings if row.status == "ok" and row.p50_ms is not None]
