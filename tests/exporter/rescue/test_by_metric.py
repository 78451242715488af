"""A rescue by the user's metric: which samples it chooses with, and that it finds the fewest multiply-adds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from converters.common import Common
from exporter.rescue.apart import Apart
from exporter.rescue.metric_search import _shortest, _taken_back
from exporter.rescue.values import NO_LEVEL, ByMetric, Goal, Rescue
from validate.agreement import JudgeJob, JudgeOptions
from validate.agreement.metric import UserMetric, apart


def judge(folder: Path, count: int, name: str = "top1", max_drop: float | None = 1.0) -> JudgeJob:
    np.savez(folder / "given.npz", x=np.zeros((count, 3), np.float32), labels=np.arange(count) % 4)
    return JudgeJob(JudgeOptions(metric=name, max_drop=max_drop), Common(inputs=folder / "given.npz", seed=3))


@pytest.mark.parametrize(
    ("count", "max_drop", "chosen_with", "judged_on"),
    [
        (1000, 1.0, 500, 500),
        (700, 1.0, 325, 375),  # to prove a point takes 300 samples, and some change
        (500, 1.0, 500, 0),
        (500, 1.5, 250, 250),
        (100, 20.0, 100, 0),
        (1000, 0.0, 1000, 0),
    ],
)
def test_samples_are_kept_apart_where_there_are_enough(
    tmp_path: Path, count: int, max_drop: float, chosen_with: int, judged_on: int
) -> None:
    found = Apart.of(judge(tmp_path, count, max_drop=max_drop))
    assert found is not None
    assert (found.goal.samples, found.judged_on) == (chosen_with, judged_on)
    everything = found.with_all()
    assert (everything.goal.samples, everything.judged_on) == (count, 0)


def test_what_was_chosen_with_is_not_judged_on(tmp_path: Path) -> None:
    job = judge(tmp_path, 700)
    chosen, others = apart(700, 325, 3)
    assert sorted([*chosen, *others]) == list(range(700))
    metric = UserMetric.of(job.options, job.common, 325)
    assert metric is not None
    np.testing.assert_array_equal(metric.labels["labels"], others % 4)
    assert Apart.of(JudgeJob()) is None
    assert Apart.of(judge(tmp_path, 700, max_drop=None)) is None


class Tries:
    """A file whose metric holds once these layers are in float."""

    def __init__(self, needed: set[str]) -> None:
        self.needed, self.known = needed, dict[frozenset[str], bool]()
        self.drops: Any = self

    def __getitem__(self, key: frozenset[str]) -> Any:
        return SimpleNamespace(drop=SimpleNamespace(value=float(len(self.needed - key))))

    def passes(self, keep: Any) -> bool:
        return self.known.setdefault(frozenset(keep), self.needed <= set(keep))


def patient(shares: dict[str, float]) -> Any:
    return SimpleNamespace(
        shares=shares, measure=lambda keys: {}, sqnr=lambda values: 20.0, kept=lambda key, db: {"key": key}
    )


def test_the_fewest_multiply_adds_are_found_in_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"layer{k}" for k in range(64)]
    blame = {name: 1.0 / (k + 1) for k, name in enumerate(names)}
    monkeypatch.setattr("exporter.rescue.metric_search.blame_of", lambda patient, values, keep: blame)
    needed, tries = {"layer2", "layer9"}, Tries({"layer2", "layer9"})
    body = patient(dict.fromkeys(names, 0.01) | {"layer0": 0.2})
    keys, reached = _shortest(body, Goal(NO_LEVEL, 0.0, 0.9), tries, {})  # type: ignore[arg-type]
    assert reached
    assert keys == names[1:10], "layer0 costs twenty times as much as the others: by the multiply-add it comes later"
    assert len(tries.known) < 16
    keys, rows = _taken_back(body, tries, keys)  # type: ignore[arg-type]
    assert set(keys) == {row["key"] for row in rows} == needed
    assert [row["drop_without"] for row in rows] == [1.0, 1.0]


def test_what_the_budget_does_not_take_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    blame = {"big": 1.0, "small": 0.5}
    monkeypatch.setattr(
        "exporter.rescue.metric_search.blame_of",
        lambda patient, values, keep: {k: v for k, v in blame.items() if k not in keep},
    )
    tries = Tries({"big"})
    keys, reached = _shortest(
        patient({"big": 0.5, "small": 0.01}),
        Goal(NO_LEVEL, 0.0, 0.1),
        tries,  # type: ignore[arg-type]
        {},
    )
    assert not reached
    assert keys == ["small"]
    assert all("big" not in tried for tried in tries.known)


def test_a_rescue_says_on_what_it_was_chosen_and_judged() -> None:
    rescue = Rescue(Path("x.onnx"), True, (), 0.05, (7.0, 30.0), "", ByMetric("top1", 3.0, 0.25, 250, 250, 12))
    assert "top1 falls by 0.25 instead of 3 on the 250 samples" in rescue.sentence
    assert "told from the 250 others" in rescue.sentence
    few = Rescue(Path("x.onnx"), True, (), 0.05, (7.0, 30.0), "", ByMetric("top1", 3.0, 0.25, 90, 0, 12))
    assert "told from these too" in few.sentence
    assert rescue.to_json()["by_metric"]["judged_on"] == 250
