"""The rounding of lesser floating point, bit by bit against NumPy; and what it adds to that of integers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.formats import Precision
from validate.agreement.judging.metrics import signal
from validate.agreement.judging.reference_values import Candidate, ReferenceValues, Rounding
from validate.agreement.worker.rounding import GRIDS, _in_floats
from validate.runtimes.devices import Arithmetic

LOST = {Arithmetic.BFLOAT16: 16, Arithmetic.TF32: 13}
"""Bits of a float32 that are gone."""


def rounded(values: Any, lost: int) -> Any:
    """To the nearest value with so many bits less; ties apart, which the drawn values do not have."""
    bits = values.view(np.uint32).astype(np.uint64)
    return (((bits + (1 << (lost - 1))) >> lost) << lost).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("arithmetic", LOST)
def test_values_lie_on_the_grid_of_the_arithmetic(arithmetic: Arithmetic) -> None:
    values = np.random.default_rng(0).normal(0, 100, 4096).astype(np.float32)
    ties = (values.view(np.uint32) & ((1 << LOST[arithmetic]) - 1)) == 1 << (LOST[arithmetic] - 1)
    found = _in_floats(values, GRIDS[arithmetic]).numpy()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[~ties], rounded(values, LOST[arithmetic])[~ties])
    step = 2.0 ** (LOST[arithmetic] - 24)
    gap = np.abs(found / values - 1).max()
    assert step / 2 < gap <= step


def test_a_half_is_clipped_where_it_ends() -> None:
    values = np.array([70000.0, -70000.0, 1.0], np.float32)
    np.testing.assert_array_equal(_in_floats(values, GRIDS[Precision.FLOAT16]).numpy(), [65504.0, -65504.0, 1.0])


def test_what_the_arithmetic_costs_is_added_to_integers_and_stands_for_floats() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    kept = {
        Precision.INT8: Rounding(3.0, 5.0),
        Precision.FLOAT16: Rounding(1.0, 2.0),
        Arithmetic.BFLOAT16: Rounding(4.0, 7.0),
    }
    expected = ReferenceValues(values, None, None, signal(values), None, roundings=kept)
    candidate = Candidate(Path(), {}, Precision.INT8)
    assert expected.rounding(candidate) == Rounding(3.0, 5.0)
    in_less = replace(candidate, arithmetic=Arithmetic.BFLOAT16)
    assert expected.rounding(in_less) == Rounding(math.hypot(3.0, 4.0), 12.0)
    for precision in (Precision.FLOAT32, Precision.FLOAT16):
        assert expected.rounding(replace(in_less, precision=precision)) == Rounding(4.0, 7.0)
    assert expected.rounding(replace(candidate, precision=Precision.FLOAT32)) is None
