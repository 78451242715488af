"""Shares with their intervals, labels against a threshold, scores against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from validate.agreement.judging.class_decisions import allowed, label_agreement, lower_bound, scores, share_interval


@given(st.integers(1, 400), st.data())
def test_intervals_are_those_of_clopper_and_pearson(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    found = share_interval(right, count)
    want = binomtest(right, count).proportion_ci(0.95, "exact")
    assert found["low"] == pytest.approx(want.low, abs=1e-9)
    assert found["high"] == pytest.approx(want.high, abs=1e-9)
    assert lower_bound(right, count) == pytest.approx(
        binomtest(right, count, alternative="greater").proportion_ci(0.95, "exact").low, abs=1e-9
    )


def test_500_alike_of_500_prove_99_4_percent_and_16_of_16_only_83() -> None:
    assert lower_bound(500, 500) == pytest.approx(0.994, abs=1e-3)
    assert lower_bound(16, 16) == pytest.approx(0.829, abs=1e-3)


def test_labels_near_the_threshold_are_ties() -> None:
    want = np.array([[2.0, -1.0, 0.01], [-3.0, 1.0, -0.01]])
    got = np.array([[2.0, 1.0, -0.01], [-3.0, 1.0, -0.01]])
    labels = label_agreement(got, want, 0.1, 0.0)
    assert (labels.flips, labels.ties, labels.count) == (1, 2, 6)
    assert labels.agreement == pytest.approx(5 / 6)


def test_as_many_may_change_as_the_gate_says() -> None:
    assert allowed(500, 0.998) == 1
    assert allowed(500, 1.0) == 0


def test_classes_give_top1_and_top5() -> None:
    outputs = np.eye(8) + 0.1 * np.arange(8)
    found = scores(outputs, np.array([0, 1, 2, 3, 4, 5, 0, 0]))
    assert found is not None
    assert found["top1"]["value"] == 6 / 8
    assert found["top5"]["value"] == 6 / 8
    assert found["top1"]["low"] < 6 / 8 < found["top1"]["high"]
    assert scores(outputs[:, :5], np.zeros(8, int)) is not None
    assert "top5" not in (scores(outputs[:, :5], np.zeros(8, int)) or {})


def test_labels_give_f1_with_an_interval() -> None:
    truth = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]])
    outputs = np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.1], [0.9, 0.6, 0.9], [0.1, 0.2, 0.3]])
    found = scores(outputs, truth)
    assert found is not None
    assert found["f1"]["value"] == pytest.approx(2 * 4 / (2 * 4 + 2))
    assert found["f1"]["low"] <= found["f1"]["value"] <= found["f1"]["high"]
    assert scores(outputs, np.eye(4, 3), "sigmoid") is not None
    assert "f1" in (scores(outputs[:3], np.eye(3), "sigmoid") or {})
    assert "top1" in (scores(outputs[:3], np.eye(3), "softmax") or {})


def test_no_labels_no_scores() -> None:
    assert scores(np.ones((3, 2)), None) is None
    assert scores(np.ones((3, 2)), np.array([0.5, 0.5, 0.5])) is None
