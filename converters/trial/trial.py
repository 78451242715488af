"""The trial of a file: it opens, it runs, and its answers are not beyond what its precision's rounding could do."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from converters.arrays import Array, Arrays
from converters.errors import StepError, words_of
from converters.formats import Format, Precision
from converters.signature import Signature, TensorSpec
from converters.trial.drawing import Ranges, rounds
from converters.trial.opening import RUNTIMES, ElsewhereError, Run, opened

NOT_RUN = "It was not run when it was made: no runtime here runs it, or the model runs on nothing that was drawn."

_NOISE = 2.0**-21
"""Of an input's value: a few units in the last place of float32."""


@dataclass(frozen=True)
class Bound:
    """How far the answers of a precision may be off.

    Attributes:
        share: of the largest value of an output.
        floor: for outputs that are next to nothing.
        noise: times what the model's own answers move by when its inputs move by `_NOISE`; 0 does not look at that.
    """

    share: float
    floor: float
    noise: float


_FLOAT32 = Bound(share=0.01, floor=1e-5, noise=64)
"""Sums of 10 000 products in a row of 1 000 layers stray by sqrt(10 000 * 1 000) units of 2**-24, a fiftieth of a
percent. What is worse than that is the model's own: it magnifies the smallest noise, and is measured by it."""
_FLOAT16 = Bound(share=0.25, floor=1e-3, noise=64 * 2.0**13)
"""2**13 times as coarse."""
_INTEGER = Bound(share=16, floor=1, noise=0)
"""Integers may lose all that an output says and still be what was asked for, but they end with their scale: a number
far beyond the model's own is none that rounding gives."""
BOUNDS = {Precision.FLOAT32: _FLOAT32, Precision.FLOAT16: _FLOAT16}
_DIFFERENT = 0.5
"""The share of whole numbers, truths and texts that may differ: a tie that is decided the other way changes a few."""


@dataclass(frozen=True)
class Sample:
    """Inputs, and what a file that is run on them should answer."""

    inputs: Arrays
    answers: Arrays


@dataclass(frozen=True)
class Trial:
    """What files of one model are tried with.

    Attributes:
        run: the model itself.
        signature: the model's.
        samples: empty where the model runs on nothing that was drawn.
    """

    run: Run
    signature: Signature
    samples: tuple[Sample, ...]

    @classmethod
    def drawn(cls, run: Run, signature: Signature, ranges: Ranges, given: Arrays | None = None) -> Trial:
        """With the inputs that are given, else with drawn ones: of each round the first that the model runs on."""
        drawn = ([partial(draw.inputs, signature, ranges) for draw in draws] for draws in rounds(signature))
        samples = _samples(run, [[lambda: given]]) if given else ()
        return cls(run, signature, tuple(samples or _samples(run, drawn)))

    def check(self, path: Path, fmt: Format, precision: Precision, signature: Signature) -> bool:
        """Opens and runs a finished file; False where there is nothing to run it on.

        Args:
            signature: the file's own.

        Raises:
            ElsewhereError: no runtime that opens it is here.
            StepError: it does not open, does not run, or answers what no rounding explains.
        """
        try:
            run = opened(path, fmt, self.signature)
        except ElsewhereError:
            raise
        except Exception as cause:  # every runtime has kinds of its own
            raise _failed(fmt, f"cannot be opened by {RUNTIMES[fmt]} ({_text(cause)})") from cause
        for sample in self.samples:
            try:
                answers = run(sample.inputs)
            except Exception as cause:  # as above
                raise _failed(fmt, f"cannot be run by {RUNTIMES[fmt]} ({_text(cause)})") from cause
            faults = (self._fault(spec, sample, answers, precision) for spec in signature.outputs)
            if fault := next(filter(None, faults), None):
                raise _failed(fmt, f"is not what the model is: {fault}")
        return bool(self.samples)

    def _fault(self, spec: TensorSpec, sample: Sample, answers: Arrays, precision: Precision) -> str:
        """What is wrong with one output; empty where nothing is."""
        name, expected, actual = spec.name, sample.answers[spec.name], answers.get(spec.name)
        if actual is None:
            return f"it has no output `{name}`"
        if actual.shape != expected.shape:
            return f"the shape of `{name}` is {list(actual.shape)} instead of {list(expected.shape)}"
        if expected.dtype.kind not in "fc":
            different = float(np.mean(actual != expected)) if expected.size else 0.0
            return f"{different:.0%} of `{name}` is different" if different > _DIFFERENT else ""
        if actual.dtype.kind != expected.dtype.kind:
            return f"`{name}` is {actual.dtype} instead of {expected.dtype}"
        finite = np.isfinite(expected)
        if not np.isfinite(actual[finite]).all():
            return f"`{name}` is not finite where the model is"
        return self._error(name, sample, actual, precision)

    def _error(self, name: str, sample: Sample, actual: Array, precision: Precision) -> str:
        bound, expected = BOUNDS.get(precision, _INTEGER), sample.answers[name]
        error, scale = _distance(actual, expected), _distance(np.zeros_like(expected), expected)
        allowed = bound.share * scale + bound.floor
        if error > allowed and bound.noise:
            allowed += bound.noise * _distance(self.run(_moved(sample.inputs))[name], expected)
        return f"`{name}` is off by {error:.2g}, and its largest value is {scale:.2g}" if error > allowed else ""


def _samples(run: Run, rounds_of_draws: Iterable[Iterable[Callable[[], Arrays]]]) -> list[Sample]:
    """Of each round the first inputs that the model runs on."""
    samples = []
    for draws in rounds_of_draws:
        for draw in draws:
            try:
                inputs = draw()
                answers = run(inputs)
            except Exception:  # sizes that a layer does not take, indices that a table does not have: the next
                traceback.print_exc()
                continue
            samples.append(Sample(inputs, answers))
            break
    return samples


def _distance(one: Array, other: Array) -> float:
    """The largest difference where `other` is finite."""
    finite = np.isfinite(other)
    wide = np.complex128 if other.dtype.kind == "c" else np.float64
    gaps = np.abs(one[finite].astype(wide) - other[finite].astype(wide))
    return float(gaps.max(initial=0.0))


def _moved(inputs: Arrays) -> Arrays:
    generator = np.random.default_rng(1)
    return {
        name: value + (value * _NOISE * generator.uniform(-1, 1, value.shape)).astype(value.dtype)
        if value.dtype.kind == "f"
        else value
        for name, value in inputs.items()
    }


def _text(cause: Exception) -> str:
    return f"{type(cause).__name__}: {words_of(cause)}"


def _failed(fmt: Format, what: str) -> StepError:
    return StepError(
        f"The {fmt.value} file that was made {what}.",
        next_step=f"Report this model's architecture; leave {fmt.value} out with -f meanwhile.",
        step="convert",
    )
