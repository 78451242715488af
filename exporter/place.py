"""Where a run works, and how it tells of its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporter.options import RunOptions

Progress = Callable[[str, float], None]

LOG = "edgeport.log"

_COSTS = {"build": 0.15, "convert": 0.3, "validate": 0.25, "bench": 0.3}
"""How the time of a run is spent, roughly: for the progress bar only."""


@dataclass(frozen=True)
class Place:
    """The folders of one run.

    Attributes:
        output: the bundle's final name; nothing is written there before everything is whole.
        staging: beside it; becomes the bundle.
        scratch: removed with the run.
        share: by the name of a step, the callback for its share of the progress.
    """

    output: Path
    staging: Path
    scratch: Path
    share: Callable[[str], Progress]

    @property
    def log(self) -> Path:
        """What the frameworks say; it exists from the start."""
        log = self.staging / LOG
        log.touch()
        return log


def shares(options: RunOptions, progress: Progress) -> Callable[[str], Progress]:
    """Progress callbacks for the steps, each with its share of the whole bar."""
    taken = {"build": True, "convert": True, "validate": options.judge, "bench": options.time}
    steps = [step for step in _COSTS if taken[step]]
    whole = sum(_COSTS[step] for step in steps)

    def of(step: str) -> Progress:
        before = sum(_COSTS[s] for s in steps[: steps.index(step)]) / whole
        return lambda label, fraction: progress(
            f"{step}: {label}" if step not in label else label, before + fraction * _COSTS[step] / whole
        )

    return of
