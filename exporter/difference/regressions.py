"""Which of the changes are worse than allowed."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.difference.values import Allowed, ArtifactChange, Difference
from exporter.manifest.rows import Miss
from validate.latency.statistics.earlier import Change


def regressions(found: Difference, allowed: Allowed) -> Iterator[Miss]:
    """What is worse than allowed. An artifact that stops agreeing with its checkpoint is never allowed."""
    for change in found.artifacts:
        yield from _worse(change, allowed)
    if allowed.anything:
        return
    yield from (_miss(c.name, "gone", f"{c.name} is gone") for c in found.artifacts if c.status == "gone")
    yield from (_miss("signature", "signature", f"the signature changed: {line}") for line in found.signature)
    if allowed.slowdown is not None:
        if not found.latency:
            yield _miss("latency", "slowdown", "latency cannot be compared: one of them was not timed")
        for row in found.latency:
            yield from _slower(row, allowed.slowdown)


def _slower(change: Change, allowed: float) -> Iterator[Miss]:
    if change.fails and change.ratio:
        slowdown = change.ratio.value - 1
        words = f"{change.row} is {slowdown:.1%} slower, and {allowed:.1%} are allowed"
        yield _miss(change.row, "slowdown", words, allowed, slowdown)
    elif change.verdict == "gone":
        yield _miss(change.row, "slowdown", f"{change.row} is no longer timed")


def _worse(change: ArtifactChange, allowed: Allowed) -> Iterator[Miss]:
    old, new, name = change.before, change.after, change.name
    if old is None or new is None:
        return
    if old.verdict == "agree" and new.verdict != "agree":
        yield _miss(name, "agreement", f"{name} agreed with its checkpoint and is now {new.verdict}")
    size, error = change.growth("size_bytes"), change.growth("error")
    if allowed.growth is not None and size is not None and size > allowed.growth:
        words = f"{name} is {size:.1%} larger, and {allowed.growth:.1%} are allowed"
        yield _miss(name, "growth", words, allowed.growth, size)
    if allowed.error_growth is not None and error is not None and error > allowed.error_growth:
        words = f"{name} has {error:.1%} more error, and {allowed.error_growth:.1%} are allowed"
        yield _miss(name, "error_growth", words, allowed.error_growth, None if error == float("inf") else error)
    if allowed.accuracy_drop is not None and None not in (old.accuracy, new.accuracy):
        drop = (old.accuracy or 0.0) - (new.accuracy or 0.0)
        if drop > allowed.accuracy_drop:
            limit = f"and {100 * allowed.accuracy_drop:.3g} are allowed"
            words = f"{name} loses {100 * drop:.3g} points of accuracy, {limit}"
            yield _miss(name, "accuracy_drop", words, allowed.accuracy_drop, drop)


def _miss(subject: str, gate: str, words: str, limit: float | None = None, value: float | None = None) -> Miss:
    return Miss(subject=subject, gate=gate, limit=limit, value=value, sentence=f"{words}.")
