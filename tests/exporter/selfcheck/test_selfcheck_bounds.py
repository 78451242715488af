"""The bounds on probabilities follow from the gate on logits, and are no wider than they must be."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.formats import Precision
from exporter.selfcheck.bounds import CLASS, LABEL, NONE, Bound, Judgement, bound_of, is_softmax
from validate.agreement.judging.metrics import sigmoid, softmax
from validate.agreement.rows import GateRow, OutputRow

LOGITS = np.random.default_rng(0).normal(0, 8, (16, 5))


def output_row(**known: Any) -> OutputRow:
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(OutputRow))
    given = {"name": "labels", "basis": "logits", "gate": GateRow(), "status": "inconclusive", "samples": 16}
    return OutputRow(**nothing | given | known)


def judgement(allowed: float | None, measure: str = "noise_ratio", **more: Any) -> Judgement:
    row = {"basis": more.pop("basis", "logits"), **more.pop("row", {})}
    limit = 3.0 if measure == "noise_ratio" else 13.0
    gate = {"measure": measure, "value": 1.0, "limit": limit, "allowed": allowed, "tie": more.pop("tie", 0.0)}
    precision = more.pop("precision", Precision.FLOAT32)
    golden = more.pop("golden", softmax(LOGITS).astype(np.float32))
    exclusive = bool(np.allclose(golden.sum(axis=-1), 1, atol=1e-3))
    known = {"decides": "classes" if exclusive else "labels", "gate": GateRow(**gate)}
    return Judgement(output_row(**known | row), precision, golden, **more)


def kept(bound: Bound, got: Any, want: Any) -> bool:
    assert bound.absolute is not None
    limit = bound.absolute + np.abs(want) * (bound.rounding + bound.relative * (1 - np.abs(want)))
    return bool((np.abs(got - want) <= limit).all())


@given(st.integers(0, 2**32 - 1), st.floats(1e-7, 2.0), st.sampled_from([softmax, sigmoid]))
def test_logits_that_keep_to_the_gate_give_probabilities_that_keep_to_the_bound(
    seed: int, reach: float, function: Any
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, rng.uniform(0.1, 20), (8, 6))
    want = function(logits)
    moved = logits + rng.choice([-reach, reach, rng.uniform(-reach, reach)], logits.shape)
    activation = "softmax" if function is softmax else "sigmoid"
    bound = bound_of(judgement(reach, golden=want, activation=activation), 8)
    assert bound is not None
    assert kept(bound, function(moved), want)


@pytest.mark.parametrize("function", [softmax, sigmoid])
def test_one_logit_that_moves_by_thrice_the_gate_is_found_however_small_its_probability(function: Any) -> None:
    reach = 1e-3
    want = function(LOGITS)
    bound = bound_of(judgement(reach, golden=want), 16)
    assert bound is not None
    place = np.unravel_index(np.where(want > 1e-3, want, np.inf).argmin(), want.shape)
    if function is softmax:
        place = np.unravel_index(want.argmin(), want.shape)
        assert want[place] < 1e-8
    moved = LOGITS.copy()
    moved[place] += 3 * 2 * reach
    assert not kept(bound, function(moved), want)


def test_plain_outputs_are_held_to_the_gate_itself() -> None:
    bound = bound_of(judgement(0.25, basis="outputs", golden=LOGITS), 16)
    assert bound is not None
    assert (bound.absolute, bound.rounding, bound.relative, bound.rms, bound.flips) == (0.25, 0.0, 0.0, None, None)
    assert "0.25" in bound.why


def test_without_an_oracle_the_gate_is_an_rms_and_the_bound_allows_its_crest() -> None:
    bound = bound_of(judgement(0.25, "sqnr_db", basis="outputs", golden=LOGITS), 16)
    assert bound is not None
    assert bound.absolute == 1.0


def test_reduced_precisions_are_held_to_their_mean_error_and_their_decisions() -> None:
    plain = bound_of(judgement(0.25, "sqnr_db", basis="outputs", golden=LOGITS, precision=Precision.INT8), 16)
    assert plain is not None
    assert (plain.absolute, plain.rms, plain.decision, plain.flips) == (None, 0.25, NONE, None)
    picture = bound_of(judgement(0.25, "sqnr_db", precision=Precision.INT8, row={"decides": ""}), 16)
    assert picture is not None
    assert (picture.decision, picture.flips) == (NONE, None), "its values are no decisions"
    classes = bound_of(judgement(0.25, "sqnr_db", precision=Precision.INT8), 16)
    assert classes is not None
    assert (classes.decision, classes.flips, classes.absolute) == (CLASS, 1, 2.0**-7)
    golden = softmax(LOGITS)
    assert classes.rms is not None
    assert classes.rms < np.sqrt(((golden - golden.mean(axis=0)) ** 2).mean())  # a dead model has that error
    labels = bound_of(judgement(0.25, "sqnr_db", precision=Precision.FLOAT16, golden=sigmoid(LOGITS)), 256)
    assert labels is not None
    assert (labels.decision, labels.flips) == (LABEL, 3)  # 0.2 % of 256 samples of 5 labels


def test_tolerances_that_overrode_the_gates_count_here_too() -> None:
    strict = bound_of(judgement(0.25, "sqnr_db", precision=Precision.INT8, tolerances={"top1": 1.0}), 16)
    assert strict is not None
    assert strict.flips == 0


@pytest.mark.parametrize("allowed", [None])
def test_no_gate_no_bound(allowed: None) -> None:
    assert bound_of(judgement(allowed), 16) is None
    assert bound_of(Judgement(output_row(), Precision.FLOAT32, LOGITS), 16) is None


def test_a_softmax_is_known_by_its_name_or_its_sum() -> None:
    assert is_softmax(judgement(1.0))
    assert not is_softmax(judgement(1.0, golden=sigmoid(LOGITS)))
    assert not is_softmax(judgement(1.0, activation="sigmoid"))
    assert not is_softmax(judgement(1.0, golden=np.ones((4, 1))))


def test_what_the_verdict_took_for_ties_may_change_on_a_device_too() -> None:
    golden = softmax(np.array([[0.0, 0.1, -9.0], [0.0, 8.0, -9.0], [0.2, 0.0, -9.0]]))
    for tie, flips in ((0.0, 1), (0.06, 2), (0.11, 3)):
        bound = bound_of(judgement(0.25, "rounding_ratio", precision=Precision.INT8, golden=golden, tie=tie), 3)
        assert bound is not None
        assert bound.flips == flips


def test_an_artifact_that_passed_may_show_its_own_greatest_error_again() -> None:
    def reach(**row: Any) -> float:
        bound = bound_of(judgement(0.25, "rounding_ratio", precision=Precision.INT8, row=row), 16)
        assert bound is not None
        return bound.relative

    assert reach() == reach(status="disagree", max_abs=1.5) == pytest.approx(np.expm1(2 * 4 * 0.25))
    assert reach(status="agree", max_abs=1.5) == pytest.approx(np.expm1(2 * 2 * 1.5))
