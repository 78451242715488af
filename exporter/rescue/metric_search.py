"""The search for the layers that must stay float by the user's metric: fewest multiply-adds for a drop. Worker side.

Operations are ranked by the noise that they add, for itself and for each of their multiply-adds; of each ranking the
shortest beginning that holds the metric is found by bisection, and of the cheaper one whatever it holds without is
taken back. Each try is a file, made and run on the samples that are there to choose with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.load_options import Code
from converters.common import Common
from converters.user_arrays import read_labels, read_user_arrays
from exporter.rescue.blame import blame_of
from exporter.rescue.patient import Patient, finite
from exporter.rescue.values import NO_LEVEL, Goal, MetricGoal
from validate.agreement.judging.named_metrics import NAMED_METRICS
from validate.agreement.judging.paired import MetricDrop, drop_of
from validate.agreement.losses import Estimate
from validate.agreement.metric import UserMetric, apart
from validate.agreement.worker.user_metric import UserFunction
from validate.runtimes import Runtime, RuntimeOptions, fixed_batch, open_artifact

_TURNS, _PRUNED, _BATCH = 4, 24, 32


class Task:
    """The user's metric on the samples to choose with, against the float file."""

    def __init__(self, goal: MetricGoal, patient: Patient) -> None:
        arrays, labels = read_user_arrays(Path(goal.inputs), patient.signature).arrays, read_labels(Path(goal.inputs))
        size = fixed_batch(patient.signature) or 1
        count = len(next(iter(labels.values())))
        which = apart(count, goal.samples, goal.seed)[0][: goal.samples // size * size]
        self._inputs = {name: array[which] for name, array in arrays.items()}
        named, code = NAMED_METRICS.get(goal.name), Code(**goal.code) if goal.code else None
        labels = {name: array[which] for name, array in labels.items()}
        self._metric = UserMetric(goal.name, named, code, goal.lower, goal.max_drop, labels, Common(seed=goal.seed))
        self._function = UserFunction(code, goal.folder) if code else None
        self._reference = self._scored(patient.base)
        self.provable = bool((self.drop(patient.base).drop.high or np.inf) <= goal.max_drop)
        self.max_drop = goal.max_drop

    def drop(self, path: Path) -> MetricDrop:
        """How far a file's metric falls; of a function without an interval."""
        got, before = self._scored(path), self._reference
        if self._metric.named is not None:
            return drop_of(self._metric.named, before, got, self._metric.common.seed)
        fall = float(got - before) if self._metric.lower else float(before - got)
        return MetricDrop(float(before), float(got), Estimate(fall, None, None), len(next(iter(self._inputs.values()))))

    def holds(self, drop: MetricDrop) -> bool:
        """The interval's far end is within the drop; where so few samples could not show that, half the drop is."""
        if self.provable:
            return (drop.drop.high or 0.0) <= self.max_drop
        return (drop.drop.value or 0.0) <= self.max_drop / 2

    def _scored(self, path: Path) -> Array:
        """What each sample adds, or what a function gives."""
        outputs = _outputs(open_artifact(path, RuntimeOptions(threads=os.cpu_count() or 1)), self._inputs)
        if self._function is None:
            return self._metric.rows(outputs)
        return np.array(self._function.value(outputs, self._metric.labels))


def _outputs(runtime: Runtime, inputs: Arrays) -> Arrays:
    size = fixed_batch(runtime.signature) or _BATCH
    count = len(next(iter(inputs.values())))
    parts = [
        runtime.run({name: array[start : start + size] for name, array in inputs.items()})
        for start in range(0, count, size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in runtime.signature.output_names}


class _Tries:
    """Files with some operations in float, and whether they reach the goal; each is made once."""

    def __init__(self, patient: Patient, goal: Goal, task: Task) -> None:
        self._patient, self._goal, self._task = patient, goal, task
        self._known: dict[frozenset[str], bool] = {}
        self.drops: dict[frozenset[str], MetricDrop] = {}

    def passes(self, keep: Sequence[str]) -> bool:
        key = frozenset(keep)
        if key not in self._known:
            path = self._patient.make(list(keep))
            self.drops[key] = drop = self._task.drop(path)
            level = self._goal.sqnr_db <= NO_LEVEL or self._patient.meets(self._patient.values(path), self._goal)
            self._known[key] = level and self._task.holds(drop)
        return self._known[key]

    @property
    def count(self) -> int:
        return len(self._known)


def search_by_metric(patient: Patient, goal: Goal, metric: MetricGoal) -> dict[str, Any]:
    """The answer of a rescue, as `exporter.rescue.search` gives it, with `drops` of the metric before and after."""
    task = Task(metric, patient)
    tries = _Tries(patient, goal, task)
    keys: list[str] = []
    reached = tries.passes(keys)
    start = patient.measure([])
    before = after = patient.sqnr(start)
    if not reached:
        keys, reached = _shortest(patient, goal, tries, start)
    rows: list[dict[str, Any]] = []
    if reached:
        keys, rows = _taken_back(patient, tries, keys)
        after = patient.sqnr(patient.measure(keys))
    drops = [tries.drops[frozenset(chosen)].drop.value for chosen in ([], keys) if frozenset(chosen) in tries.drops]
    reason = (
        ""
        if reached
        else (
            f"{tries.count} files with layers in float, up to {goal.budget:.0%} of the multiply-adds, were tried, and "
            f"{metric.name} falls too far in all of them."
        )
    )
    return {
        "reached": reached,
        "keys": keys,
        "kept": rows,
        "macs_share": sum(patient.shares[key] for key in keys),
        "before": finite(before),
        "after": finite(after),
        "reason": reason,
        "drops": [drops[0], drops[-1]],
        "tries": tries.count,
    }


def _shortest(patient: Patient, goal: Goal, tries: _Tries, values: Arrays) -> tuple[list[str], bool]:
    """The cheapest beginning of a ranking that holds the metric. What no ranking mends is ranked again with half of it
    in float: the noise that is left has other causes."""
    keep: list[str] = []
    for _turn in range(_TURNS):
        blame = blame_of(patient, values, keep)
        orders = [
            _affordable(patient, goal, keep, list(blame)),
            _affordable(patient, goal, keep, sorted(blame, key=lambda key: -blame[key] / (patient.shares[key] + 1e-4))),
        ]
        found = [part for order in orders if (part := _bisected(tries, keep, order)) is not None]
        if found:
            return min(found, key=lambda part: sum(patient.shares[key] for key in part)), True
        if not orders[0]:
            break
        keep = [*keep, *orders[0][: -(-len(orders[0]) // 2)]]
        values = patient.measure(keep)
    return keep, False


def _affordable(patient: Patient, goal: Goal, keep: Sequence[str], order: Sequence[str]) -> list[str]:
    """Those of a ranking that the budget takes, one after the other."""
    spent, taken = sum(patient.shares[key] for key in keep), []
    for key in order:
        if spent + patient.shares[key] <= goal.budget:
            spent += patient.shares[key]
            taken.append(key)
    return taken


def _bisected(tries: _Tries, keep: list[str], order: list[str]) -> list[str] | None:
    """`keep` with the shortest beginning of `order` that passes; None where all of it does not."""
    if not order or not tries.passes([*keep, *order]):
        return None
    fails, passes = 0, len(order)
    while passes - fails > 1:
        middle = (fails + passes) // 2
        if tries.passes([*keep, *order[:middle]]):
            passes = middle
        else:
            fails = middle
    return [*keep, *order[:passes]]


def _taken_back(patient: Patient, tries: _Tries, keys: list[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """Quantizes again what the metric holds without, the most multiply-adds first; tells what each other one buys."""
    remaining = list(keys)
    for key in sorted(keys, key=lambda k: -patient.shares[k])[:_PRUNED]:
        fewer = [k for k in remaining if k != key]
        if tries.passes(fewer):
            remaining = fewer
    rows = []
    for key in remaining:
        fewer = [k for k in remaining if k != key]
        tries.passes(fewer)
        drop = tries.drops[frozenset(fewer)].drop.value
        rows.append(patient.kept(key, patient.sqnr(patient.measure(fewer))) | {"drop_without": drop})
    tries.passes(remaining)
    return remaining, rows
