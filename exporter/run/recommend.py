"""Which artifact to ship: among those that pass and keep to the limits, the best by the objective, per device."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.manifest.passing import gate_misses, verdict_misses
from exporter.manifest.rows import ArtifactRow, Miss
from exporter.manifest.schema import Manifest
from exporter.options import Choice
from validate.agreement.losses import KEPT
from validate.agreement.rows import JudgedRow, OutputRow
from validate.latency.rows import TimingRow
from validate.targets import HOST

_MB = 10**6
_OBJECTIVES = {"latency": "p50_ms", "size": "size_bytes", "accuracy": "error"}


@dataclass(frozen=True)
class Contender:
    """An artifact that passed, on one device.

    Attributes:
        p50_ms: None where it was not timed.
        error: lower is better: how far the user's metric drops, else 1 - accuracy where labels were given, else the
            error's share of the signal.
        agreement: share of samples of the checkpoint's class; None where there are no classes.
        proven: what it costs the user's task was held against a gate and kept.
        setting: the session settings in which it is that fast, where they are not the default.
    """

    artifact: str
    device: str
    size_bytes: int
    p50_ms: float | None
    error: float | None
    agreement: float | None
    accuracy: float | None
    proven: bool = True
    setting: str = ""

    def measure(self, name: str) -> float:
        value = getattr(self, name)
        return math.inf if value is None else float(value)


@dataclass(frozen=True)
class Shortfall:
    """A limit that is not kept to. `words` say by how much; `value` is None where nothing was measured."""

    gate: str
    limit: float
    value: float | None
    words: str


def recommend(manifest: Manifest, choice: Choice, *, allow_inconclusive: bool = False) -> dict[str, Any]:
    """The manifest's `recommended`: `smallest`, `most_accurate` (with labels), `fastest` and `choice` by device, and
    `pareto`: artifacts that no other one beats in size, latency and error at once. `setting` has, by device, the
    session settings of the choice, where they are not the default.

    Where limits were given and no artifact keeps to them, `unmet` says which and by how much, and `misses` the same as
    rows. What passes and is not proven stands in `unproven`, with the command that would prove it as `next`, and is
    chosen only where `choice.allow_unproven` says so.
    """
    passed = _contenders(manifest, allow_inconclusive)
    unproven = _unproven(manifest, passed)
    contenders = [c for c in passed if c.proven or choice.allow_unproven]
    if not contenders:
        missed = {"unmet": "No artifact passed."} if _limits(choice) and not passed else {}
        return missed | ({"objective": choice.objective, "choice": {}} if unproven else {}) | unproven
    smallest = min(contenders, key=lambda c: (c.size_bytes, c.artifact))
    chosen: dict[str, Any] = unproven | {"smallest": smallest.artifact}
    if beaten := _beaten_by(smallest, contenders):
        chosen["smallest_note"] = f"slower and less exact than {beaten.artifact}"
    labelled = [c for c in contenders if c.accuracy is not None]
    if labelled:
        best = min(labelled, key=lambda c: (-(c.accuracy or 0.0), c.size_bytes, c.artifact))
        chosen["most_accurate"] = best.artifact
    devices = list(dict.fromkeys(c.device for c in contenders if c.p50_ms is not None))
    fastest = {d: _best(contenders, d, "p50_ms") for d in devices}
    chosen["fastest"] = {device: contender.artifact for device, contender in fastest.items() if contender}
    candidates = [c for c in contenders if not _misses(c, choice)]
    measure = _OBJECTIVES[choice.objective]
    picks = {device: _best(candidates, device, measure) for device in devices or [""]}
    settings = {device: contender.setting for device, contender in picks.items() if contender and contender.setting}
    chosen |= {
        "objective": choice.objective,
        "choice": {device or "any": contender.artifact for device, contender in picks.items() if contender},
        **({"setting": settings} if settings else {}),
        "pareto": _pareto(contenders),
    }
    limits = _limits(choice)
    if limits:
        chosen["limits"] = limits
        if not any(not _misses(c, choice) for c in passed):
            nearest = min(contenders, key=lambda c: (len(_misses(c, choice)), c.measure(measure)))
            shortfalls = _misses(nearest, choice)
            chosen["unmet"] = _unmet(nearest, shortfalls)
            chosen["misses"] = [_row(nearest, miss).to_document() for miss in shortfalls]
    return chosen


def _unproven(manifest: Manifest, passed: Sequence[Contender]) -> dict[str, Any]:
    """The artifacts that pass and are not proven, the fastest first, and what would prove them."""
    paths = [c.artifact for c in sorted(passed, key=lambda c: (c.measure("p50_ms"), c.size_bytes)) if not c.proven]
    if not paths:
        return {}
    return {"unproven": list(dict.fromkeys(paths)), "next": proving_command(manifest)}


def proving_command(manifest: Manifest) -> str:
    """The run again, on inputs of the user's."""
    words = list(manifest.tool.command)
    if words[1:2] != ["run"]:
        targets = dict.fromkeys((row.format.value, row.precision.value) for row in manifest.artifacts)
        options = [("-f", f) for f, _ in targets] + [("-p", p) for _, p in targets]
        flags = [word for pair in dict.fromkeys(options) for word in pair]
        words = ["edgeport", "run", manifest.source.path, "-o", "BUNDLE", *flags]
    if "--inputs" in words or any(word.startswith("--inputs=") for word in words):
        return f"{shlex.join(words)}  # with more samples"
    return shlex.join([*words, "--inputs", "YOUR_INPUTS.npz"])


def _beaten_by(contender: Contender, others: Sequence[Contender]) -> Contender | None:
    """The one that is both faster and more exact on its device; the fastest of several."""
    better = [
        c
        for c in others
        if c.device == contender.device
        and c.measure("p50_ms") < contender.measure("p50_ms") < math.inf
        and c.measure("error") < contender.measure("error")
    ]
    return min(better, key=lambda c: c.measure("p50_ms"), default=None)


def _contenders(manifest: Manifest, allow_inconclusive: bool) -> list[Contender]:
    """The artifacts that were judged, passed, and gave right answers where they were timed."""
    excluded = {miss.subject for miss in gate_misses(manifest.artifacts)}
    passed = {
        (verdict.artifact, verdict.target, verdict.setting): verdict
        for verdict in manifest.verdicts
        if not list(verdict_misses([verdict], allow_inconclusive=allow_inconclusive))
    }
    contenders = []
    for artifact in manifest.artifacts:
        own = passed.get((artifact.path, HOST.target, HOST.setting))
        if own is None or artifact.path in excluded:
            continue
        rows = [row for row in manifest.timings if row.artifact == artifact.path]
        for device, row in _devices(rows, manifest, passed).items():
            verdict = own if row is None else passed.get((row.artifact, row.target, row.setting), own)
            contenders.append(_contender(artifact, verdict, device, row))
    return contenders


def _contender(artifact: ArtifactRow, verdict: JudgedRow, device: str, row: TimingRow | None) -> Contender:
    outputs, loss = verdict.outputs, verdict.loss
    agreements = [output.top1_agreement for output in outputs if output.top1_agreement is not None]
    accuracy = min((output.accuracy for output in outputs if output.accuracy is not None), default=None)
    error = 1 - accuracy if accuracy is not None else _relative_error(outputs)
    if loss is not None and loss.drop is not None and loss.drop.value is not None:
        error = loss.drop.value  # the user's own measure
    return Contender(
        artifact.path,
        device,
        artifact.size_bytes,
        row.p50_ms.value if row and row.p50_ms else None,
        error,
        min(agreements, default=None),
        accuracy,
        loss is None or loss.status == KEPT,  # older bundles do not tell
        row.setting if row and row.setting != HOST.setting else "",
    )


def _devices(
    rows: Sequence[TimingRow], manifest: Manifest, passed: Mapping[tuple[str, str, str], JudgedRow]
) -> dict[str, TimingRow | None]:
    """By device, the row of the minimum p50 among those that were judged there and passed; `""` where it was timed
    nowhere.

    Nothing where it only ever failed: what gives no right answer is not to be shipped.
    """
    judged = {(verdict.artifact, verdict.target, verdict.setting) for verdict in manifest.verdicts}
    best: dict[str, TimingRow | None] = {}
    for row in rows:
        place = (row.artifact, row.target, row.setting)
        if row.status != "ok" or row.p50_ms is None or (place in judged and place not in passed):
            continue
        earlier = best.get(row.device)
        if earlier is None or earlier.p50_ms is None or row.p50_ms.value < earlier.p50_ms.value:
            best[row.device] = row
    failed = any(row.status == "error" or (row.status == "ok" and not best) for row in rows)
    return best or ({} if failed else {"": None})


def _relative_error(outputs: Iterable[OutputRow]) -> float | None:
    """Error over signal of the worst output, as an amplitude."""
    decibels = [row.sqnr_db for row in outputs if row.sqnr_db is not None]
    return 10 ** (-min(decibels) / 20) if decibels else 0.0


def _best(contenders: Sequence[Contender], device: str, measure: str) -> Contender | None:
    candidates = [c for c in contenders if c.device == device]
    if measure == "p50_ms":
        candidates = [c for c in candidates if c.p50_ms is not None]
    return min(
        candidates, key=lambda c: (c.measure(measure), c.measure("p50_ms"), c.size_bytes, c.artifact), default=None
    )


def _misses(contender: Contender, choice: Choice) -> list[Shortfall]:
    shortfalls = []
    if choice.max_size_mb is not None and contender.size_bytes > choice.max_size_mb * _MB:
        size = contender.size_bytes / _MB
        words = f"it has {size:.3g} MB, and {choice.max_size_mb:g} MB are allowed"
        shortfalls.append(Shortfall("max_size_mb", choice.max_size_mb, size, words))
    if choice.max_latency_ms is not None and not contender.measure("p50_ms") <= choice.max_latency_ms:
        took = "it was not timed" if contender.p50_ms is None else f"its p50 is {contender.p50_ms:.3g} ms"
        words = f"{took}, and {choice.max_latency_ms:g} ms are allowed"
        shortfalls.append(Shortfall("max_latency_ms", choice.max_latency_ms, contender.p50_ms, words))
    agreement, minimum = contender.agreement, choice.min_agreement
    if minimum is not None and agreement is not None and agreement < minimum:
        words = f"{agreement:.1%} of samples keep their class of {minimum:.1%} wanted"
        shortfalls.append(Shortfall("min_agreement", minimum, agreement, words))
    return shortfalls


def _unmet(nearest: Contender, misses: Sequence[Shortfall]) -> str:
    return f"No artifact keeps to the limits; {nearest.artifact}: {'; '.join(miss.words for miss in misses)}."


def _row(nearest: Contender, miss: Shortfall) -> Miss:
    sentence = _unmet(nearest, [miss])
    return Miss(subject=nearest.artifact, gate=miss.gate, limit=miss.limit, value=miss.value, sentence=sentence)


def _limits(choice: Choice) -> dict[str, float]:
    limits = {
        "max_latency_ms": choice.max_latency_ms,
        "max_size_mb": choice.max_size_mb,
        "min_agreement": choice.min_agreement,
    }
    return {name: value for name, value in limits.items() if value is not None}


def _pareto(contenders: Sequence[Contender]) -> list[str]:
    """Artifacts without another that is at least as good in all three measures and better in one."""
    measures = ("size_bytes", "p50_ms", "error")
    front = []
    for contender in contenders:
        rivals = [c for c in contenders if c is not contender and c.device == contender.device]
        figures = [contender.measure(m) for m in measures]
        theirs = [[rival.measure(m) for m in measures] for rival in rivals]
        if not any(other != figures and all(a <= b for a, b in zip(other, figures, strict=True)) for other in theirs):
            front.append(contender.artifact)
    return list(dict.fromkeys(front))
