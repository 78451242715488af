"""The changes between two bundles: artifacts, agreement, latency, operations, signature; and what they break.

Artifacts are matched by format and precision, not by name, so that a checkpoint under a new name is compared with the
one that it follows. Both bundles are verified first: figures that someone has edited count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.errors import RefusedError, UsageError
from exporter.bundle import open_bundle
from exporter.difference.metric import metric_lost, scores_of, with_metric
from exporter.difference.values import Allowed, ArtifactChange, Difference, Side, miss
from exporter.manifest.rows import ArtifactRow, Miss, SignatureRow
from exporter.manifest.schema import Manifest
from validate.agreement.losses import LOST
from validate.agreement.rows import JudgedRow, OutputRow
from validate.latency.statistics.earlier import Change, compare_results

_JUDGED_ON = ("samples", "seed", "input_range", "shapes")
_MEASURES = ("noise_ratio", "sqnr_db")


def diff(before: str | Path, after: str | Path, allowed: Allowed = Allowed()) -> Difference:
    """The changes of the bundle `after` against `before`.

    Raises:
        UsageError: a folder is not there, or a limit was given that cannot be judged: latencies of unlike hosts, errors
            on other inputs.
        IntegrityError: a bundle does not verify.
    """
    before, after = Path(before), Path(after)
    bundles = (open_bundle(before), open_bundle(after))
    old, new = (bundle.manifest for bundle in bundles)
    scores = (scores_of(bundles[0]), scores_of(bundles[1]))
    artifacts = tuple(with_metric(row, scores, allowed.max_drop) for row in _artifacts(before, old, after, new))
    latency, notes = _latency(old, new, allowed, before)
    notes = [*(note for bundle in bundles for note in bundle.notes), *notes]
    if not _judged_alike(old, new):
        if (allowed.error_growth, allowed.accuracy_drop, allowed.max_drop) != (None, None, None):
            raise UsageError(
                f"{before} and {after} were judged on other inputs, so their errors cannot be compared.",
                next_step="Make both with the same --inputs, or the same --samples, --seed and --input-range.",
                file=after,
                step="diff",
            )
        notes.append("They were judged on other inputs: their errors and accuracies cannot be compared.")
    difference = Difference(
        before,
        after,
        "same" if old.source.sha256 == new.source.sha256 else "changed",
        tuple(_signature(old.signature, new.signature)),
        artifacts,
        tuple(latency),
        _environment(old, new),
        _recommended(old, new),
        tuple(notes),
    )
    return replace(difference, misses=tuple(regressions(difference, allowed)))


def _by_name(manifest: Manifest) -> dict[str, ArtifactRow]:
    """By format and precision; a second artifact of both goes by its path too."""
    rows: dict[str, ArtifactRow] = {}
    for row in manifest.artifacts:
        name = f"{row.format.value} {row.precision.value}"
        rows[name if name not in rows else f"{name} ({row.path})"] = row
    return rows


def _artifacts(before: Path, old: Manifest, after: Path, new: Manifest) -> list[ArtifactChange]:
    olds, news, alike = _by_name(old), _by_name(new), _judged_alike(old, new)
    changes = []
    for name in dict.fromkeys([*olds, *news]):
        one, other = olds.get(name), news.get(name)
        operations: dict[str, tuple[int, int]] | None = {}
        if one and other and one.sha256 != other.sha256:
            operations = _operations(before / one.path, after / other.path)
        sides = (_side(one, old) if one else None, _side(other, new) if other else None)
        changes.append(ArtifactChange(name, *sides, operations, alike))
    return changes


def _operations(before: Path, after: Path) -> dict[str, tuple[int, int]] | None:
    """Counts of the operations that differ; None where a file does not tell its operations."""
    from exporter.inspection import inspect

    try:
        old, new = inspect(before)["ops"], inspect(after)["ops"]
    except RefusedError:
        return None
    return {op: (old.get(op, 0), new.get(op, 0)) for op in sorted({*old, *new}) if old.get(op, 0) != new.get(op, 0)}


def _side(row: ArtifactRow, manifest: Manifest) -> Side:
    verdict = next((v for v in manifest.first_verdicts if v.artifact == row.path), None)
    measure, error = _error(verdict)
    accuracies = [output.accuracy for output in verdict.outputs if output.accuracy is not None] if verdict else []
    return Side(
        row.path,
        row.sha256,
        row.size_bytes,
        verdict.status if verdict else "not judged",
        measure,
        error,
        min(accuracies, default=None),
        verdict.loss.metric if verdict and verdict.loss else None,
        verdict.loss.value if verdict and verdict.loss else None,
        bool(verdict and verdict.loss and verdict.loss.lower),
        str(verdict.loss.status) if verdict and verdict.loss else "",
    )


def _error(verdict: JudgedRow | None) -> tuple[str, float | None]:
    """The measure that the outputs were gated by, and the worst of them in it."""
    outputs = verdict.outputs if verdict else ()
    for measure in _MEASURES:
        values = [value for row in outputs if row.gate.measure == measure for value in _measured(row)]
        if values:
            return measure, max(values)
    return "", None


def _measured(row: OutputRow) -> list[float]:
    if row.gate.measure == "noise_ratio":
        return [] if row.noise_ratio is None else [max(1.0, row.noise_ratio)]
    return [10 ** (-row.sqnr_db / 20)] if row.sqnr_db is not None else [0.0] if row.max_abs == 0 else []


def _judged_alike(old: Manifest, new: Manifest) -> bool:
    def on(manifest: Manifest) -> list[Any]:
        return [getattr(manifest.first_verdicts[0], key) for key in _JUDGED_ON] if manifest.first_verdicts else []

    return on(old) == on(new)


def _latency(old: Manifest, new: Manifest, allowed: Allowed, before: Path) -> tuple[list[Change], list[str]]:
    """Rows by format, precision and setting; with a note where the hosts are not alike or were disturbed."""
    if not old.timings or not new.timings:
        return [], ["One of them was not timed: latencies are not compared."]
    try:
        changes = compare_results(_results(old), _results(new), allowed.slowdown, before)
    except UsageError as error:
        if allowed.slowdown is not None:
            raise
        return [], [error.message]
    tainted = sum("tainted" in row.flags for row in (*old.timings, *new.timings))
    return changes, [f"{tainted} timings were disturbed by other work on the machine."] if tainted else []


def _results(manifest: Manifest) -> dict[str, Any]:
    """The part that `compare_results` reads, its rows called by format and precision."""
    names = {row.path: name for name, row in _by_name(manifest).items()}
    document = manifest.to_document()
    rows = [row | {"artifact": names[row["artifact"]]} for row in document["timings"] if row["artifact"] in names]
    environment = document["environment"]
    return {"timings": rows, "host": environment.get("host") or {}, "controls": environment.get("controls") or []}


def _signature(old: SignatureRow, new: SignatureRow) -> list[str]:
    changes = []
    for role in ("inputs", "outputs"):
        olds = {t.name: (list(t.shape), t.dtype) for t in getattr(old, role)}
        news = {t.name: (list(t.shape), t.dtype) for t in getattr(new, role)}
        noun = role.removesuffix("s")
        changes += [f"{noun} {name} is gone" for name in olds if name not in news]
        changes += [f"{noun} {name} is new: {_spec(*news[name])}" for name in news if name not in olds]
        common_names = [name for name in olds if name in news]
        changes += [
            f"{noun} {n}: {_spec(*olds[n])} became {_spec(*news[n])}" for n in common_names if olds[n] != news[n]
        ]
        if list(olds) != list(news) and set(olds) == set(news):
            changes.append(f"the {role} are in another order: {', '.join(news)}")
    return changes


def _spec(shape: list[Any], dtype: str) -> str:
    return f"[{', '.join(map(str, shape))}] {dtype}"


def _environment(old: Manifest, new: Manifest) -> dict[str, tuple[str, str]]:
    olds, news = _packages(old), _packages(new)
    names = sorted({*olds, *news})
    return {n: (olds.get(n, "none"), news.get(n, "none")) for n in names if olds.get(n) != news.get(n)}


def _packages(manifest: Manifest) -> dict[str, str]:
    host: Any = manifest.environment.get("host")
    listed = host.get("packages") if isinstance(host, dict) else None
    packages = {str(k): str(v) for k, v in listed.items()} if isinstance(listed, dict) else {}
    return {manifest.tool.name: manifest.tool.version, **packages}


def _recommended(old: Manifest, new: Manifest) -> dict[str, tuple[str, str]]:
    olds, news = _choices(old), _choices(new)
    devices = sorted({*olds, *news})
    return {d: (olds.get(d, "none"), news.get(d, "none")) for d in devices if olds.get(d) != news.get(d)}


def _choices(manifest: Manifest) -> dict[str, str]:
    names = {row.path: name for name, row in _by_name(manifest).items()}
    listed = manifest.recommended.get("choice")
    return {k: names.get(str(v), str(v)) for k, v in listed.items()} if isinstance(listed, dict) else {}


def regressions(difference: Difference, allowed: Allowed) -> Iterator[Miss]:
    """The changes that are worse than allowed. An artifact that stops agreeing with its checkpoint is never allowed."""
    for change in difference.artifacts:
        yield from _worse(change, allowed)
    if allowed.anything:
        return
    if allowed.max_drop is not None:
        for change in difference.artifacts:
            yield from metric_lost(change, allowed.max_drop)
    yield from (miss(c.name, "gone", f"{c.name} is gone") for c in difference.artifacts if c.status == "gone")
    yield from (miss("signature", "signature", f"the signature changed: {line}") for line in difference.signature)
    if allowed.slowdown is not None:
        if not difference.latency:
            yield miss("latency", "slowdown", "latency cannot be compared: one of them was not timed")
        for row in difference.latency:
            yield from _slower(row, allowed.slowdown)


def _slower(change: Change, allowed: float) -> Iterator[Miss]:
    if change.fails and change.ratio:
        slowdown = change.ratio.value - 1
        words = f"{change.row} is {slowdown:.1%} slower, and {allowed:.1%} are allowed"
        yield miss(change.row, "slowdown", words, allowed, slowdown)
    elif change.verdict == "gone":
        yield miss(change.row, "slowdown", f"{change.row} is no longer timed")


def _worse(change: ArtifactChange, allowed: Allowed) -> Iterator[Miss]:
    old, new, name = change.before, change.after, change.name
    if old is None or new is None:
        return
    if old.verdict == "agree" and new.verdict != "agree":
        yield miss(name, "agreement", f"{name} agreed with its checkpoint and is now {new.verdict}")
    elif old.loss != LOST and new.loss == LOST:
        yield miss(name, "loss", f"{name} did not lose too much for the task and now does")
    size, error = change.growth("size_bytes"), change.growth("error")
    if allowed.growth is not None and size is not None and size > allowed.growth:
        words = f"{name} is {size:.1%} larger, and {allowed.growth:.1%} are allowed"
        yield miss(name, "growth", words, allowed.growth, size)
    if allowed.error_growth is not None and error is not None and error > allowed.error_growth:
        words = f"{name} has {error:.1%} more error, and {allowed.error_growth:.1%} are allowed"
        yield miss(name, "error_growth", words, allowed.error_growth, None if error == float("inf") else error)
    if allowed.accuracy_drop is not None and None not in (old.accuracy, new.accuracy):
        drop = (old.accuracy or 0.0) - (new.accuracy or 0.0)
        if drop > allowed.accuracy_drop:
            limit = f"and {100 * allowed.accuracy_drop:.3g} are allowed"
            words = f"{name} loses {100 * drop:.3g} points of accuracy, {limit}"
            yield miss(name, "accuracy_drop", words, allowed.accuracy_drop, drop)
