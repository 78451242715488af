"""The exit code that a bundle earns (design: Exit codes)."""

from __future__ import annotations

from exporter.manifest import Manifest

PASSED, GATE_FAILED, PARTIAL = 0, 1, 10


def exit_code(manifest: Manifest, *, allow_inconclusive: bool = False) -> int:
    """10 where a target was not made, else 1 where a gate was not passed, else 0. `unavailable` is no failure."""
    if manifest.failures:
        return PARTIAL
    return PASSED if gates_pass(manifest, allow_inconclusive=allow_inconclusive) else GATE_FAILED


def gates_pass(manifest: Manifest, *, allow_inconclusive: bool = False) -> bool:
    """Every verdict is `agree` (or an allowed `inconclusive`), every timing that ran gave right answers, every artifact
    keeps to gates of its own (`--fully-integer`), and one keeps to the limits that were given.
    """
    passing = {"agree", "inconclusive"} if allow_inconclusive else {"agree"}
    judged = all(verdict.status in passing for verdict in manifest.verdicts)
    own = (gate for artifact in manifest.artifacts for gate in artifact.more().get("gates", ()))
    kept = all(gate["passed"] for gate in own) and "unmet" not in manifest.recommended
    return judged and kept and all(timing.status != "error" for timing in manifest.timings)
