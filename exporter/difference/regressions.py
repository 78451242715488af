"""Which of the changes are worse than allowed."""

from __future__ import annotations

from exporter.difference.values import Allowed, ArtifactChange, Difference


def regressions(found: Difference, allowed: Allowed) -> list[str]:
    """What is worse than allowed. An artifact that stops agreeing with its checkpoint is never allowed."""
    said = [line for change in found.artifacts for line in _worse(change, allowed)]
    if allowed.anything:
        return said
    said += [f"{change.name} is gone" for change in found.artifacts if change.status == "gone"]
    said += [f"the signature changed: {line}" for line in found.signature]
    if allowed.slowdown is not None:
        if not found.latency:
            said.append("latency cannot be compared: one of them was not timed")
        for change in found.latency:
            if change.fails and change.ratio:
                over = f"{change.ratio.value - 1:.1%} slower, and {allowed.slowdown:.1%} are allowed"
                said.append(f"{change.row} is {over}")
            elif change.verdict == "gone":
                said.append(f"{change.row} is no longer timed")
    return said


def _worse(change: ArtifactChange, allowed: Allowed) -> list[str]:
    old, new = change.before, change.after
    if old is None or new is None:
        return []
    said = []
    if old.verdict == "agree" and new.verdict != "agree":
        said.append(f"{change.name} agreed with its checkpoint and is now {new.verdict}")
    size, error = change.growth("size_bytes"), change.growth("error")
    if allowed.growth is not None and size is not None and size > allowed.growth:
        said.append(f"{change.name} is {size:.1%} larger, and {allowed.growth:.1%} are allowed")
    if allowed.error_growth is not None and error is not None and error > allowed.error_growth:
        said.append(f"{change.name} has {error:.1%} more error, and {allowed.error_growth:.1%} are allowed")
    if allowed.accuracy_drop is not None and None not in (old.accuracy, new.accuracy):
        drop = (old.accuracy or 0.0) - (new.accuracy or 0.0)
        if drop > allowed.accuracy_drop:
            limit = f"and {100 * allowed.accuracy_drop:.3g} are allowed"
            said.append(f"{change.name} loses {100 * drop:.3g} points of accuracy, {limit}")
    return said
