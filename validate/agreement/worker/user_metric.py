"""The user's metric: Python of theirs, in a worker and its sandbox, at most `CALLS` times."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.load_options import Code
from converters.checkpoints.user_code import function_of
from converters.errors import UsageError, words_of
from converters.isolation import Channel, Message

CALLS = 1000
SECONDS = 120.0
"""What all resamples may take together."""

_CHECKS = 4
_LEAST = 100
"""Resamples below which the tails say nothing."""


def evaluate(request: Message, _channel: Channel) -> Message:
    """The metric of the reference and, with a candidate, of that, and both on the same resamples (`resampled`).

    Args:
        request: `code` and `folder` of the function, `labels` (an .npz), `reference` and `candidate` (by output name
            the path of an array; None for a check alone) and `samples`: which rows of them the labels are of.

    Raises:
        UsageError: it raises, gives no finite number, depends on the order of the samples, or takes too long.
    """
    metric = UserFunction(Code(**request["code"]), request["folder"])
    with np.load(request["labels"], allow_pickle=False) as stored:
        labels = {name: stored[name] for name in stored.files}
    samples = np.asarray(request["samples"], np.intp)
    count = len(samples)
    reference = _outputs(request["reference"], samples)
    began = time.perf_counter()
    before = metric.checked(reference, labels)
    seconds = (time.perf_counter() - began) / 2
    if request["candidate"] is None:
        return {"reference": before}
    candidate = _outputs(request["candidate"], samples)
    after = metric.checked(candidate, labels)
    times = min((CALLS - _CHECKS) // 2, int(SECONDS / (2 * max(seconds, 1e-9))))
    if times < _LEAST:
        raise UsageError(
            f"--metric {metric.name} takes {seconds:.2g} s for {count} samples, and an interval needs {2 * _LEAST} "
            f"calls in {SECONDS:g} s.",
            next_step="Make it faster, or give fewer samples.",
        )
    rng = np.random.Generator(np.random.PCG64(0))
    sides = []
    for _ in range(times):
        rows = rng.integers(0, count, count)
        sides.append([metric.value(_picked(side, rows), _picked(labels, rows)) for side in (reference, candidate)])
    if sum(math.isfinite(one - other) for one, other in sides) < _LEAST:
        raise UsageError(
            f"--metric {metric.name} gives no number on most resamples of the samples.",
            next_step="Let it give a number where a class does not occur, or give more samples.",
        )
    return {"reference": before, "value": after, "resampled": sides}


class UserFunction:
    """A function of the user's, with what it gives checked."""

    def __init__(self, code: Code, folder: str) -> None:
        self.name = str(code)
        self._function: Callable[[Arrays, Arrays], Any] = function_of(code, folder)

    def value(self, outputs: Arrays, labels: Arrays) -> float:
        try:
            result = self._function(dict(outputs), dict(labels))
            return float(result)
        except Exception as cause:  # whatever the user's function raises, or gives instead of a number
            text = words_of(cause)
            raise UsageError(
                f"--metric {self.name} fails ({type(cause).__name__}: {text}).",
                next_step="It takes outputs and labels, dicts of arrays with samples first, and returns a number.",
            ) from cause

    def checked(self, outputs: Arrays, labels: Arrays) -> float:
        """The value, once it is finite and the same for the samples in another order."""
        value = self.value(outputs, labels)
        if not math.isfinite(value):
            raise UsageError(
                f"--metric {self.name} gives {value}.", next_step="Let it give a number for these outputs and labels."
            )
        count = len(next(iter(outputs.values())))
        rows = np.random.Generator(np.random.PCG64(1)).permutation(count)
        again = self.value(_picked(outputs, rows), _picked(labels, rows))
        if not math.isclose(value, again, rel_tol=1e-6, abs_tol=1e-9):
            raise UsageError(
                f"--metric {self.name} depends on the order of the samples: it gives {value:.6g} and, for the same "
                f"ones in another order, {again:.6g}.",
                next_step="Let it treat all samples alike: they are resampled to tell how sure the figure is.",
            )
        return value


def _outputs(paths: Mapping[str, str], samples: Array) -> Arrays:
    return {name: np.load(Path(path), mmap_mode="r", allow_pickle=False)[samples] for name, path in paths.items()}


def _picked(arrays: Mapping[str, Array], rows: Array) -> Arrays:
    return {name: np.asarray(array)[rows] for name, array in arrays.items()}
