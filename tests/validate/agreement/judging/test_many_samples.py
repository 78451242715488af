"""The limit for many samples, held against simulated honest runs."""

from __future__ import annotations

import numpy as np
import pytest

from validate.agreement.judging.many_samples import MEMBERS, SAMPLES, beyond, limit_for

FILES = 1500


def accused(limit: float, samples: int, values: int = 1) -> float:
    """The share of honest files with a ratio above the limit in some sample, each error the maximum of `values`."""
    rng = np.random.default_rng(samples + values)
    count = 0
    for _ in range(FILES):
        errors = np.abs(rng.standard_normal((MEMBERS + 1, samples, values), np.float32)).max(axis=-1)
        count += bool((errors[0] > limit * errors[1:].max(axis=0)).any())
    return count / FILES


@pytest.mark.parametrize("samples", [SAMPLES, 400])
def test_honest_files_are_accused_as_seldom_however_many_samples_there_are(samples: int) -> None:
    """At a limit so low that it is seen: of 1 500 files, four standard deviations are 0.04."""
    wanted = 1 - (1 - beyond(1.5)) ** SAMPLES
    assert accused(limit_for(1.5, samples), samples) == pytest.approx(wanted, abs=0.04)
    assert accused(1.5, 400) > wanted + 0.3  # without it


def test_outputs_of_many_values_are_accused_less() -> None:
    assert accused(1.5, SAMPLES, values=10) < accused(1.5, SAMPLES) / 2


def test_a_maximum_grows_slowly() -> None:
    assert limit_for(3.0, 16) == limit_for(3.0, SAMPLES) == 3.0
    limits = [limit_for(3.0, samples) for samples in (33, 100, 1000, 100_000)]
    assert limits == sorted(limits)
    assert 3.0 < limits[0] < 3.02
    assert limits[-1] < 6.0
    assert limit_for(50.0, 500) > 50.0
    assert SAMPLES * beyond(3.0) == pytest.approx(1 / 1800, rel=0.05)
