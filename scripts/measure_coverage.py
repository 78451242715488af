"""How often the interval of a metric's drop holds the true drop: `--max-drop` stands and falls with it.

    .venv/bin/python scripts/measure_coverage.py [TRIALS [METRIC...]]

Draws samples of a known world (the reference and the file are right on each sample with known probabilities, or off by
known errors), asks for the paired bootstrap's 95 % interval as `edgeport validate --metric` does, and counts how often
the true drop lies in it, and how often it lies above (a file that loses more than its interval says: the end that
`--max-drop` goes by). Prints a Markdown table.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np

from converters.arrays import Array
from validate.agreement.judging.named_metrics import NAMED_METRICS
from validate.agreement.judging.paired import drop_of

Draw = Callable[[np.random.Generator, int], tuple[Array, Array]]
"""What each sample adds to the metric, of the reference and of the file."""


def top1(both: float, reference_alone: float, file_alone: float) -> tuple[str, Draw, float]:
    """Samples that both, the reference alone or the file alone get right, with these probabilities."""

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        shares = (both, reference_alone, file_alone, 1 - both - reference_alone - file_alone)
        kind = rng.choice(4, count, p=shares)
        ones = np.ones(count)
        return np.stack([kind <= 1, ones], axis=1), np.stack([(kind == 0) | (kind == 2), ones], axis=1)

    return "top1", draw, 100 * (reference_alone - file_alone)


def f1(flip: float) -> tuple[str, Draw, float]:
    """Eight labels a sample, on with 0.3; the reference errs on a tenth of them, the file on `flip` more."""

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        true = rng.random((count, 8)) < 0.3
        first = true ^ (rng.random(true.shape) < 0.1)
        second = first ^ (rng.random(true.shape) < flip)
        sides = [NAMED_METRICS["f1"].rows(side.astype(float), true.astype(float)) for side in (first, second)]
        assert sides[0] is not None
        assert sides[1] is not None
        return sides[0], sides[1]

    return "f1", draw, _limit("f1", draw)


def mae(growth: float) -> tuple[str, Draw, float]:
    """Errors of a heavy tail; the file's are the reference's and as much again as `growth`, on average."""

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        errors = rng.exponential(1.0, count)
        ones = np.ones(count)
        return np.stack([errors, ones], axis=1), np.stack([errors + growth * rng.exponential(1.0, count), ones], axis=1)

    return "mae", draw, growth


def miou(flip: float) -> tuple[str, Draw, float]:
    """Maps of 6 x 6 positions and three classes; the reference errs on a tenth of them, the file on `flip` more."""

    def draw(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        true = rng.integers(0, 3, (count, 6, 6))
        first = np.where(rng.random(true.shape) < 0.1, (true + 1) % 3, true)
        second = np.where(rng.random(true.shape) < flip, (first + 1) % 3, first)
        sides = [NAMED_METRICS["miou"].rows(np.eye(3)[side], true) for side in (first, second)]
        assert sides[0] is not None
        assert sides[1] is not None
        return sides[0], sides[1]

    return "miou", draw, _limit("miou", draw)


def _limit(name: str, draw: Draw) -> float:
    """The drop on very many samples, in points."""
    metric = NAMED_METRICS[name]
    first, second = draw(np.random.default_rng(12345), 400_000)
    return 100 * (float(metric.total(first.sum(axis=0))) - float(metric.total(second.sum(axis=0))))


WORLDS = {
    "top1, 95 and 95 % right, 2 % other decisions": top1(0.94, 0.01, 0.01),
    "top1, 95 and 93 % right, 4 % other decisions": top1(0.92, 0.03, 0.01),
    "top1, 80 and 75 % right, 15 % other decisions": top1(0.70, 0.10, 0.05),
    "f1, 2 % of labels turned": f1(0.02),
    "f1, 10 % of labels turned": f1(0.10),
    "mae, a tenth more": mae(0.1),
    "miou, 3 % of positions turned": miou(0.03),
}
COUNTS = (50, 200, 1000)


def coverage(world: tuple[str, Draw, float], count: int, trials: int) -> str:
    """Share of trials whose interval holds the true drop, with its standard error, and of those that end below it."""
    name, draw, true = world
    held = below = 0
    for trial in range(trials):
        drop = drop_of(NAMED_METRICS[name], *draw(np.random.default_rng([trial, count]), count), seed=trial).drop
        assert drop.low is not None
        assert drop.high is not None
        held += drop.low <= true <= drop.high
        below += drop.high < true
    share = held / trials
    return f"{share:.1%} (± {math.sqrt(share * (1 - share) / trials):.1%}), {below / trials:.1%}"


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    asked = set(sys.argv[2:])
    print(f"| {trials} trials each | " + " | ".join(f"{count} samples" for count in COUNTS) + " |")
    print("|---" * (len(COUNTS) + 1) + "|")
    for title, world in WORLDS.items():
        if asked and world[0] not in asked:
            continue
        shares = [coverage(world, count, trials) for count in COUNTS]
        print(f"| {title} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
