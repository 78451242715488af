"""The arrays that a report shows beyond the manifest: golden inputs, answers and raw latency samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from converters.arrays import NamedArrays


@dataclass(frozen=True)
class Evidence:
    """The arrays that a report draws.

    Attributes:
        inputs, outputs: the golden samples and what the reference makes of them, by tensor name.
        answers: by artifact, what it makes of the first of them, by output name.
        samples: by index in the manifest's `timings`, the duration of each run in milliseconds.
    """

    inputs: NamedArrays = field(default_factory=dict)
    outputs: NamedArrays = field(default_factory=dict)
    answers: Mapping[str, NamedArrays] = field(default_factory=dict)
    samples: Mapping[int, npt.NDArray[np.float64]] = field(default_factory=dict)
