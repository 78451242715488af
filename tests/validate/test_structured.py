"""Inputs with a structure: in their range, seeded, and each with the property that it is there for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validate.inputs import MIN_SATURATING, STRUCTURED, Range, edge_cases, suites
from validate.inputs.structured import FILLS

RANGE = Range(-2.0, 3.0, "test")


def made(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    given_ = {"image": np.zeros((5, *shape), np.float32)}
    return edge_cases(given_, {"image": RANGE}, seed, MIN_SATURATING)["image"]


@given(st.lists(st.integers(1, 9), max_size=4).map(tuple), st.integers(0, 99))
def test_every_shape_gets_every_suite_within_the_range(shape: tuple[int, ...], seed: int) -> None:
    values = made(shape, seed)
    assert values.shape == (STRUCTURED + MIN_SATURATING, *shape)
    assert values.dtype == np.float32
    within = values[:STRUCTURED]
    assert RANGE.low <= within.min()
    assert within.max() <= RANGE.high
    np.testing.assert_array_equal(values, made(shape, seed))


def test_each_is_what_its_name_says() -> None:
    values = (made((8, 6, 3)) - RANGE.low) / (RANGE.high - RANGE.low)
    by_name = {name: values[k] for k, (name, _) in enumerate(FILLS)}
    assert np.ptp(by_name["low"]) == np.ptp(by_name["high"]) == 0
    impulses = [values[k] for k, (name, _) in enumerate(FILLS) if name == "impulse"]
    assert [int((impulse > 0.5).sum()) for impulse in impulses] == [1] * 4
    assert impulses[0][0, 0].max() == pytest.approx(1)
    assert impulses[1][-1, -1].max() == pytest.approx(1)
    assert all(np.ptp(by_name["channels"][..., c]) == 0 for c in range(3))
    assert np.ptp(by_name["channels"][0, 0]) > 0
    rows, columns = (values[k] for k, (name, _) in enumerate(FILLS) if name == "gradient")
    assert (np.diff(rows, axis=0) > 0).all()
    assert (np.diff(columns, axis=1) > 0).all()
    np.testing.assert_allclose(np.abs(np.diff(by_name["checkerboard"], axis=0)), 1, atol=1e-6)
    steps = by_name["bytes"] * 255
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_the_last_go_beyond_the_range() -> None:
    beyond = made((8, 6, 3))[STRUCTURED:]
    assert beyond.min() < RANGE.low
    assert beyond.max() > 2 * RANGE.high


def test_whole_numbers_are_picked_from_those_given_and_seeds_differ() -> None:
    words = {"word": np.arange(20, dtype=np.int32).reshape(5, 4)}
    picked = edge_cases(words, {"word": Range(0, 19, "vocabulary")}, 0, 4)["word"]
    assert picked.dtype == np.int32
    assert {tuple(row) for row in picked} <= {tuple(row) for row in words["word"]}
    assert (made((4, 4, 1), 1) != made((4, 4, 1), 2)).any()


def test_the_record_counts_them() -> None:
    assert sum(suites(4).values()) == STRUCTURED + 4
    assert suites(4)["impulse"] == 4


def test_ids_held_in_floats_stay_ids_of_the_vocabulary() -> None:
    """Keras' default input type is float32, also before an Embedding: no case may leave its vocabulary."""
    given_ = {"ids": np.random.default_rng(0).integers(0, 3320, (5, 10)).astype(np.float32)}
    values = edge_cases(given_, {"ids": Range(0, 3319, "vocabulary", whole=True)}, 0, MIN_SATURATING)["ids"]
    assert values.shape == (STRUCTURED + MIN_SATURATING, 10)
    assert np.isin(values, given_["ids"]).all()


def test_one_hot_rows_stay_one_hot() -> None:
    given_ = {"bases": np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (6, 12))]}
    values = edge_cases(given_, {"bases": Range(0, 1, "given")}, 0, MIN_SATURATING)["bases"]
    assert (values.sum(axis=-1) == 1).all()
    assert np.isin(values, (0, 1)).all()
