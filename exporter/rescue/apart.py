"""Which of the user's samples a rescue by their metric chooses with, and which it is judged on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from exporter.rescue.values import MetricGoal
from validate.agreement import JudgeJob
from validate.agreement.judging.paired import MIN_SAMPLES
from validate.agreement.metric import UserMetric

_FEWEST = 4 * MIN_SAMPLES
"""To choose with: the drop of fewer is known to a point or so."""

_POINTS = 300.0
"""A share is known to 300 / n points where no sample changes (`judging.paired`): so many are needed to choose with, and
a quarter more to judge by, or they could tell nothing of the drop."""


@dataclass(frozen=True)
class Apart:
    """So many samples are there to choose with; `judged_on` are left to judge by, 0 where there are too few."""

    goal: MetricGoal
    judged_on: int
    reads: tuple[Path, ...]

    @classmethod
    def of(cls, judge: JudgeJob) -> Apart | None:
        """None where no metric of the user's may fall so far."""
        metric = UserMetric.of(judge.options, judge.common)
        if metric is None or metric.max_drop is None or judge.common.inputs is None:
            return None
        count = len(next(iter(metric.labels.values())))
        needed = _needed(metric.max_drop) if metric.named is not None and metric.named.share else 0.0
        judged_on = max(count // 2, math.ceil(1.25 * needed)) if needed < count else count
        chosen_with = count - judged_on
        if chosen_with < max(_FEWEST, needed):
            chosen_with, judged_on = count, 0
        goal = MetricGoal(
            metric.name,
            asdict(metric.code) if metric.code else None,
            str(Path.cwd()),
            metric.lower,
            metric.max_drop,
            str(judge.common.inputs.resolve()),
            chosen_with,
            judge.common.seed,
        )
        return cls(goal, judged_on, (judge.common.inputs, *_code(metric)))

    def with_all(self) -> Apart:
        """All samples to choose with: those that were kept for it show no loss."""
        samples = self.goal.samples + self.judged_on
        return replace(self, goal=replace(self.goal, samples=samples), judged_on=0)


def _needed(max_drop: float) -> float:
    return _POINTS / max_drop if max_drop > 0 else math.inf


def _code(metric: UserMetric) -> Sequence[Path]:
    if metric.code is None:
        return ()
    return (Path(metric.code.module).parent if metric.code.is_file else Path.cwd(),)
