from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from validate.agreement.plan import Plan, make_plan


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
