"""A user's options of a timing."""

from __future__ import annotations

from dataclasses import dataclass

from converters.checks.base import Options, checked
from converters.checks.values import Duration, Flag, Number, Several


@dataclass(frozen=True)
class BenchOptions(Options):
    """How to time artifacts. Every combination of place (`targets.Places`), threads and batch is a row of its own.

    Attributes:
        threads: intra-operator threads; None takes the physical cores that we may use.
        batches: samples in one run; None takes the fixed batch size of the artifact, or 1.
        cold_starts: fresh processes whose way to the first answer is timed; the one that is then timed counts.
        max_seconds: for everything, loading and warm-up included. At least six rounds are taken, however
            little time remains.
        sustain_s: keeps every row under load for so long, in place of `max_seconds` and of stopping once figures are
            precise (see `validate.latency.sustained`); None for an ordinary timing.
        profile: also take the time of every operation, in a process of its own.
    """

    threads: tuple[int, ...] | None = checked(Several("--threads", Number("--threads", 1, whole=True), least=1), None)
    batches: tuple[int, ...] | None = checked(Several("--batch", Number("--batch", 1, whole=True), least=1), None)
    cold_starts: int = checked(Number("--cold", 1, whole=True), 1)
    max_seconds: float = checked(Number("--max-seconds", 0, above=True), 60.0)
    sustain_s: float | None = checked(Duration("--sustain"), None)
    profile: bool = checked(Flag("--profile-ops"), False)
