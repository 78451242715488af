"""`--metric` and `--max-drop`: what is refused beforehand, and what a drop comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.common import Common
from converters.errors import UsageError
from converters.signature import Signature, TensorSpec
from exporter.options import RunOptions
from validate.agreement import JudgeJob, JudgeOptions
from validate.agreement.arrays import Writer
from validate.agreement.judging.paired import MetricDrop
from validate.agreement.losses import KEPT, LOST, UNPROVEN, Estimate, Loss
from validate.agreement.metric import UserMetric

SIGNATURE = Signature((TensorSpec("x", ("batch", 3), "float32"),), (TensorSpec("y", ("batch", 4), "float32"),))


def labelled(folder: Path, count: int = 40, **labels: Any) -> Path:
    given = labels or {"labels": np.arange(count) % 4}
    np.savez(folder / "inputs.npz", x=np.zeros((count, 3), np.float32), **given)
    return folder / "inputs.npz"


def metric(path: Path, name: str = "top1", max_drop: float | None = None) -> UserMetric:
    made = UserMetric.of(JudgeOptions(metric=name, max_drop=max_drop), Common(inputs=path))
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"max_drop": 1.0}, "--max-drop says nothing without a metric"),
        ({"metric_lower": True}, "--metric-lower says nothing without a metric"),
        ({"metric": "top2"}, "There is no metric `top2`"),
        ({"metric": "mae", "metric_lower": True}, "knows its direction"),
        ({"metric": "nowhere.py:f"}, "names the file nowhere.py, which is not there"),
        ({"metric": "top1", "max_drop": -1.0}, "--max-drop has to be"),
    ],
)
def test_words_that_say_nothing_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError) as told:
        JudgeOptions(**given)
    assert reason in told.value.message


def test_drawn_inputs_have_no_labels() -> None:
    for made in (lambda o: JudgeJob(o), lambda o: RunOptions(judge=o)):
        with pytest.raises(UsageError, match="drawn ones have none"):
            made(JudgeOptions(metric="top1"))


def test_labels_are_read_by_name_and_must_fit(tmp_path: Path) -> None:
    path = labelled(tmp_path, **{"labels.y": np.arange(40) % 4, "labels": np.zeros((40, 9))})
    assert set(metric(path).labels) == {"y", "labels"}
    metric(path).check(SIGNATURE)
    with pytest.raises(UsageError, match=r"do not fit --metric mae"):
        metric(path, "mae").check(SIGNATURE)
    with pytest.raises(UsageError, match="needs labels"):
        metric(labelled(tmp_path, other=np.zeros(40)))
    with pytest.raises(UsageError, match="20 samples at least"):
        metric(labelled(tmp_path, 12))


@pytest.mark.parametrize(
    ("drop", "status", "words"),
    [
        ((0.1, -0.2, 0.4), KEPT, "at most 0.4 (95 %), and 0.5 are allowed"),
        ((0.1, -0.5, 0.7), UNPROVEN, "40 samples are too few, about 90 would do"),
        ((0.6, 0.2, 1.0), LOST, "top1 drops by 0.6 points"),
        ((2.0, 1.0, 3.0), LOST, "at most 3"),
    ],
)
def test_the_far_end_of_the_interval_decides(
    tmp_path: Path, drop: tuple[float, float, float], status: str, words: str
) -> None:
    loss = metric(labelled(tmp_path), max_drop=0.5).loss(Loss(KEPT, ""), MetricDrop(0.9, 0.89, Estimate(*drop), 40))
    assert loss.status == status
    assert words in loss.reason
    assert (loss.metric, loss.max_drop, loss.drop) == ("top1", 0.5, Estimate(*drop))


def test_what_each_sample_adds_is_kept_in_few_bytes(tmp_path: Path) -> None:
    held = metric(labelled(tmp_path), max_drop=0.5)
    outputs = np.eye(4, dtype=np.float32)[np.arange(40) % 4]
    for folder in ("reference", "candidate"):
        with Writer(tmp_path / folder, "out", ("y",), 40) as writer:
            writer.append({"y": outputs}, 40)
    rows, kept = held.judged((), ("y",), tmp_path, tmp_path / "candidate")
    assert rows == ()
    np.testing.assert_array_equal(kept["rows"], np.ones((40, 2)))
    assert kept["rows"].dtype == np.float32
    other = metric(labelled(tmp_path, labels=np.zeros(40, int)))
    digests = [bytes(m.judged((), ("y",), tmp_path, tmp_path / "candidate")[1]["labels"]) for m in (held, other)]
    assert digests[0] != digests[1]


def test_without_a_limit_the_metric_is_told_and_decides_nothing(tmp_path: Path) -> None:
    given = Loss(UNPROVEN, "3 of 40 classes change")
    loss = metric(labelled(tmp_path)).loss(given, MetricDrop(0.9, 0.5, Estimate(40.0, 30.0, 50.0), 40))
    assert (loss.status, loss.reason, loss.value) == (UNPROVEN, "3 of 40 classes change", 0.5)


def test_what_float32_does_is_not_in_doubt(tmp_path: Path) -> None:
    drop = MetricDrop(0.9, 0.9, Estimate(0.0, -7.0, 7.0), 40)
    held = metric(labelled(tmp_path), max_drop=0.5)
    assert held.loss(Loss(KEPT, ""), drop).status == UNPROVEN
    assert held.loss(Loss(KEPT, ""), drop, exact=True).status == KEPT
    none = metric(labelled(tmp_path), max_drop=0.0)
    assert none.loss(Loss(KEPT, ""), drop, exact=True).status == KEPT, "nothing may fall, and nothing does"
    assert none.loss(Loss(KEPT, ""), drop).status == LOST
    fallen = MetricDrop(0.9, 0.89, Estimate(1.0, -7.0, 9.0), 40)
    assert none.loss(Loss(KEPT, ""), fallen, exact=True).status == LOST


def test_a_function_of_the_user_s_runs_in_a_worker(tmp_path: Path) -> None:
    code = tmp_path / "own_metric.py"
    code.write_text("def bad(outputs, labels):\n    return float(len(outputs) - 1) / 0\n")
    with pytest.raises(UsageError, match="ZeroDivisionError"):
        metric(labelled(tmp_path), f"{code}:bad").check(SIGNATURE)
