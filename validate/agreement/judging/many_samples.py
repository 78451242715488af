"""What a limit on the maximum of many samples has to be, which grows with their number. Arithmetic, apart from gates.

In one sample the file's error is held against the maximum of `MEMBERS` honest runs. Were it one of them, and each error
of one Gaussian, its ratio would pass g with the probability

    p(g) = integral of 2 phi(z) erf(z / (g sqrt 2)) ** MEMBERS dz

over z > 0, and some of n samples would with n p(g) at most. That is of outputs of one value, the worst case: the
maximum over several values varies less. At a limit of 3 it is one file in 1 800 of `SAMPLES` samples. More samples are
held to the limit at which it stays so: 3.8 for 500, 4.7 for 10 000.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from validate.agreement.worker.ensemble import MOVED

MEMBERS = MOVED + 2
SAMPLES = 32
"""Those of a comparison unless more are asked for: 16 drawn, and 16 structured and saturating ones."""

_POINTS = np.linspace(0.0, 12.0, 1201)
_DENSITY = 2 * np.exp(-(_POINTS**2) / 2) / math.sqrt(2 * math.pi) * (_POINTS[1] - _POINTS[0])


def beyond(ratio: float) -> float:
    """The probability that the ratio of one sample is more.

    >>> round(beyond(1.0), 4), round(1 / (MEMBERS + 1), 4)
    (0.0526, 0.0526)
    """
    inner = np.array([math.erf(float(z) / (ratio * math.sqrt(2))) for z in _POINTS])
    return float(np.sum(_DENSITY * inner**MEMBERS))


@lru_cache(maxsize=64)
def limit_for(limit: float, samples: int) -> float:
    """The limit for the maximum of so many samples that honest files pass as seldom as `limit` in `SAMPLES`.

    >>> limit_for(3.0, 16), limit_for(3.0, 500), limit_for(3.0, 10_000)
    (3.0, 3.76, 4.69)
    """
    if samples <= SAMPLES or not 0 < limit < math.inf:
        return limit
    wanted = SAMPLES / samples * beyond(limit)
    low, high = limit, limit * samples
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if beyond(middle) > wanted else (low, middle)
    return round(high, 2)  # as it is printed
