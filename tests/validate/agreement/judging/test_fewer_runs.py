"""What the first runs of the ensemble settle, and that all of its runs say the same."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.formats import Precision
from tests.validate.agreement.judging.test_judge import NOISE, Bench, living
from validate.agreement.judging.metrics import sigmoid
from validate.agreement.losses import UNPROVEN
from validate.agreement.rows import OutputRow
from validate.agreement.verdicts import settled
from validate.agreement.worker.ensemble import ALL, FIRST, MOVED


class Labels(Bench):
    def map(self, values: Any) -> Any:
        return sigmoid(values)


def write_noise(bench: Bench, first: Any, every: Any) -> None:
    (bench.work / ALL).mkdir(exist_ok=True)
    for folder, errors in (("oracle", first), (ALL, every)):
        for stem in ("out", "logits"):
            np.save(bench.work / folder / f"noise_{stem}.0.npy", np.asarray(errors, np.float64))


def by_both(bench: Bench, values: Any, precision: Precision) -> list[OutputRow]:
    """The row by the first runs, and that by all."""
    found = []
    for folder in ("oracle", ALL):
        bench.reference = replace(bench.reference, noise=folder)
        found.append(bench.judge(values, precision=precision))
    return found


def drawn_case(bench: Bench, rng: np.random.Generator) -> Any:
    """Noise of the first runs and of all, and a file's values: noisy, of other classes or dead."""
    first = NOISE * rng.uniform(0, 3, 16) ** 2
    write_noise(bench, first, first * rng.uniform(1, 10, 16))
    values = bench.mine + NOISE * rng.choice([0.0, 1.0, 3.0, 10.0]) * rng.standard_normal(bench.exact.shape)
    if rng.random() < 0.4:
        values[rng.integers(16)] = np.roll(values[rng.integers(16)], 1)
    return np.broadcast_to(values.mean(axis=0), values.shape) if rng.random() < 0.1 else values


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from([None, "softmax", "sigmoid"]),
    precision=st.sampled_from([Precision.FLOAT32, Precision.FLOAT16, Precision.INT8]),
    own=st.booleans(),
)
def test_what_the_first_runs_settle_all_of_them_say_too(
    seed: int, kind: str | None, precision: Precision, *, own: bool
) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        exact = living() * rng.choice([3 * NOISE, 30 * NOISE, 1.0])
        bench = (Labels if kind == "sigmoid" else Bench)(Path(folder), exact, kind)
        bench.reference = replace(bench.reference, drawn=not own)
        first, every = by_both(bench, drawn_case(bench, rng), precision)
    assert (first.moved_runs, every.moved_runs) == (FIRST, MOVED)
    if not settled(first):
        return
    # A constant that passes by the greater noise alone is told from the file by the first runs.
    assert every.status == first.status or (first.status, every.status) == ("agree", "inconclusive")
    assert first.loss is not None
    assert every.loss is not None
    assert every.loss.status in {first.loss.status, *([UNPROVEN] if every.status != first.status else [])}


def test_what_does_not_keep_to_the_first_runs_is_not_settled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, living())
    write_noise(bench, np.full(16, NOISE), np.full(16, 10 * NOISE))
    loud, quiet = (by_both(bench, bench.exact + error * NOISE, Precision.FLOAT32) for error in (20, 2))
    assert [row.status for row in loud] == ["disagree", "agree"]
    assert [settled(row) for row in loud] == [False, True]
    assert settled(quiet[0])
    assert quiet[0].noise_ratio == pytest.approx(2.0, rel=1e-6)
    assert quiet[1].noise_ratio == pytest.approx(0.2, rel=1e-6)


def test_a_class_that_may_yet_be_a_tie_is_not_settled_in_any_precision(tmp_path: Path) -> None:
    exact = living()
    exact[:, :2] += 5.0
    exact[5, 1] = exact[5, 0] + 20 * NOISE
    bench = Bench(tmp_path, exact, "softmax")
    write_noise(bench, np.full(16, NOISE), np.full(16, 10 * NOISE))
    flipped = bench.mine.copy()
    flipped[5, :2] = flipped[5, 1::-1]
    first, every = by_both(bench, flipped, Precision.INT8)
    assert (first.status, every.status) == ("agree", "agree")
    assert first.loss is not None
    assert every.loss is not None
    assert (first.loss.status, every.loss.status) == ("unproven", "kept")
    assert not settled(first)
