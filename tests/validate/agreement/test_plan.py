from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validate.agreement.plan import Plan, make_plan
from validate.agreement.processes import Entry
from validate.targets import Device, Place


@given(st.integers(1, 2000), st.integers(0, 2**30), st.integers(0, 2**28), st.one_of(st.none(), st.integers(1, 8)))
def test_every_plan_is_bounded_and_runs_every_sample(samples: int, row: int, weights: int, fixed: int | None) -> None:
    if fixed:
        samples *= fixed
    plan = make_plan(samples, row, weights, fixed)
    assert plan.samples == samples
    assert 1 <= plan.oracle <= samples
    assert 0 <= plan.singles <= min(13, samples)
    assert plan.edge_cases in {0, 16 + -16 % (fixed or 1)}
    assert plan.oracle < 16 + (fixed or 1) or row * 2 * samples <= 256 << 20
    if fixed:
        assert (plan.batch, plan.singles, plan.oracle % fixed, plan.total % fixed) == (fixed, 0, 0, 0)
    elif samples > 1:
        assert plan.batch >= 2
        assert plan.singles >= 1


def test_plans_of_the_main_examples() -> None:
    assert make_plan(500, 1000, 104_745, None) == Plan(500, 13, 32, 500, 12, 4, 0)
    wide = make_plan(16, 1000, 104_745, None)
    assert (wide.batch, wide.wide, sorted(set(wide.wide_rows))) == (16, 32, list(range(16)))
    assert wide.wide_rows[:16] != sorted(wide.wide_rows[:16])
    assert make_plan(16, 600_000, 22_364_081, None).oracle == 16
    assert make_plan(16, 51 << 20, 140_160, None) == Plan(16, 1, 2, 2, 0, 0, 0)


def test_where_every_run_takes_long_the_first_samples_are_run() -> None:
    plan = make_plan(500, 1000, 100_000, None)
    few = plan.few(32)
    assert (few.samples, few.singles, few.batch, few.wide, few.edge_cases) == (32, 3, 32, 0, 0)
    assert plan.few(2).singles == 2


@pytest.mark.parametrize(
    ("size", "samples", "few"),
    [(1000, 500, 32), (1000, 32, None), (1000, 16, None), (90_000_000, 16, 2), (20_000_000, 16, 10), (10**9, 16, 2)],
)
def test_big_files_are_emulated_on_few_samples(tmp_path: Path, size: int, samples: int, few: int | None) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(size)
    assert Entry(path, Place(Device("arm64:cortex-a76"))).few(samples) == few
    assert Entry(path, Place(Device("ssh:board"))).few(samples) is None
    assert Entry(path).few(samples) is None
