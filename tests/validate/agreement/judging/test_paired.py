"""The named metrics, and what a file loses of one, on resamples of the same samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from validate.agreement.judging.named_metrics import NAMED_METRICS
from validate.agreement.judging.paired import drop_between, drop_of, interval_of, known, samples_that_would_do
from validate.agreement.losses import METRICS, Estimate

RNG = np.random.default_rng(5)
SCORES = RNG.random((50, 8))
CLASSES = SCORES.argmax(axis=1)
MAPS = RNG.random((30, 4, 4, 3))


def value(name: str, outputs: Any, labels: Any) -> float:
    metric = NAMED_METRICS[name]
    rows = metric.rows(outputs, labels)
    assert rows is not None
    assert len(rows) == len(outputs)
    return float(metric.total(rows.sum(axis=0)))


def test_each_metric_is_what_its_name_says() -> None:
    off = np.where(np.arange(50) < 5, (CLASSES + 1) % 8, CLASSES)
    assert value("top1", SCORES, CLASSES) == 1.0
    assert value("top1", SCORES, off) == value("top1", SCORES, np.eye(8)[off]) == 0.9
    worst = SCORES.argmin(axis=1)
    assert value("top5", SCORES, worst) == 0.0
    labels = SCORES > 0.5
    flipped = labels.copy()
    flipped[:, 0] ^= True
    true = (flipped & labels).sum()
    assert value("f1", SCORES, flipped) == pytest.approx(2 * true / (labels.sum() + flipped.sum()))
    assert value("mae", SCORES, SCORES + 0.25) == pytest.approx(0.25)
    guessed = MAPS.argmax(axis=-1)
    assert value("miou", MAPS, guessed) == 1.0
    swapped = np.where(guessed == 2, 1, guessed)
    share = (guessed == 1).sum() / (guessed > 0).sum()
    assert value("miou", MAPS, swapped) == pytest.approx((1.0 + share + 0.0) / 3)


@pytest.mark.parametrize(
    ("name", "outputs", "labels"),
    [
        ("top1", SCORES, CLASSES.astype(float)),
        ("top1", SCORES, CLASSES + 1),
        ("top1", SCORES, CLASSES[:, None, None]),
        ("top5", SCORES[:, :5], CLASSES % 5),
        ("f1", SCORES, 2 * (SCORES > 0.5)),
        ("miou", SCORES, CLASSES),
        ("mae", SCORES, CLASSES),
    ],
)
def test_labels_that_do_not_fit_are_told(name: str, outputs: Any, labels: Any) -> None:
    assert NAMED_METRICS[name].rows(outputs, labels) is None


def test_a_drop_is_told_in_points_with_its_sign() -> None:
    metric = NAMED_METRICS["top1"]
    right = metric.rows(SCORES, CLASSES)
    wrong = metric.rows(SCORES, np.where(np.arange(50) < 5, (CLASSES + 1) % 8, CLASSES))
    assert right is not None
    assert wrong is not None
    drop = drop_of(metric, right, wrong)
    assert (drop.reference, drop.value) == (1.0, 0.9)
    assert drop.drop.value == pytest.approx(10.0)
    assert drop.drop.low < 10.0 < drop.drop.high
    assert drop_of(metric, wrong, right).drop.value == pytest.approx(-10.0)
    mae = NAMED_METRICS["mae"]
    near, far = mae.rows(SCORES, SCORES + 0.1), mae.rows(SCORES, SCORES + 0.4)
    assert near is not None
    assert far is not None
    assert drop_of(mae, near, far).drop.value == pytest.approx(0.3), "less is better, and no points"


def test_no_change_in_few_samples_proves_little() -> None:
    metric = NAMED_METRICS["top1"]
    for count, reach in ((20, 14.0), (2000, 0.2)):
        rows = np.ones((count, 2))
        high = drop_of(metric, rows, rows).drop.high
        assert high is not None
        assert reach / 2 < high < reach
    assert known(Estimate(0.0, 0.0, 0.0), 0.8, 100) == Estimate(0.0, -0.024, 0.024)


def test_how_many_samples_would_do() -> None:
    assert samples_that_would_do(Estimate(0.1, -0.9, 1.1), 0.6, 100) == 400
    assert samples_that_would_do(Estimate(0.7, 0.0, 1.4), 0.6, 100) is None, "no number would"


def test_few_samples_widen_an_interval() -> None:
    drops = np.linspace(-1, 1, 1001)
    plain, wider = (interval_of(drops, 0.0, 20, corrected=flag) for flag in (False, True))
    assert plain.high == pytest.approx(0.95)
    assert wider.high == pytest.approx(0.95 * (20 / 19) ** 0.5 * 2.093024 / 1.959964)


def test_files_are_held_against_each_other_by_what_was_kept_of_each() -> None:
    rng = np.random.default_rng(0)
    before = np.stack([rng.random(200) < 0.9, np.ones(200)], axis=1)
    after = before.copy()
    after[:4, 0] = 0
    named = NAMED_METRICS["top1"]
    direct = drop_of(named, before, after)
    found = drop_between(
        named, ({"rows": before.astype(np.float32)}, {"rows": after.astype(np.float32)}), (0, 0), lower=False
    )
    assert found is not None
    assert found.drop == direct.drop
    assert drop_between(named, ({"rows": before}, {"rows": after[:100]}), (0, 0), lower=False) is None
    assert drop_between(named, ({"rows": before}, {}), (0, 0), lower=False) is None
    resampled = rng.normal(0.5, 0.1, 498)
    sides = tuple({"resampled": resampled + gap, "samples": np.array(200)} for gap in (0.0, 0.05))
    found = drop_between(None, sides, (0.5, 0.55), lower=True)
    assert found is not None
    assert found.samples == 200
    assert found.drop.value == pytest.approx(0.05), "less is better"
    assert found.drop.high == pytest.approx(0.05, abs=0.01), "on the same resamples both move together"


def test_each_metric_that_has_a_name_has_its_arithmetic() -> None:
    assert tuple(NAMED_METRICS) == METRICS
