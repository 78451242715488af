"""Float32's own noise: how far honest float32 evaluations of a checkpoint lie from the oracle, sample by sample.

The members, beside Keras in the batches of the plan: Keras one by one; sums added one after the other
(`sequential_sums`); and `MOVED` runs with every float weight and input moved by -1, 0 or +1 unit in the last place,
which shows what rounding anywhere in the model may do (Monte Carlo arithmetic: Parker 1997; Verificarlo: Denis et al.
2016; CADNA: Jezequel and Chesneaux 2008). None of them alone is enough: moved weights do not show a long sum, sums do
not show a subtraction of nearly equal inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.signature import Signature
from validate.agreement.arrays import path_of, read
from validate.agreement.judging.metrics import row_errors
from validate.agreement.worker.batches import Run
from validate.agreement.worker.sequential_sums import sequential_sums
from validate.runtimes import fixed_batch

MOVED = 16
"""Runs with moved weights and inputs: enough that honest files lay at twice the maximum at most (docs/agreement.md)."""

FIRST = 4
"""How many of them are made at first. The others can only raise the yardstick: they are made where a file does not keep
to that of the first (docs/agreement.md, "Fewer runs")."""

ALL = "ensemble"
"""The folder beside the oracle's for what all runs gave."""

FAR = 64
"""Units in the last place by which further runs move everything where an output is whole numbers: it jumps where two
classes are nearly alike, and what an honest run may turn these runs show."""

WHOLE = "iubS"
"""NumPy's kinds of what has nothing in between: whole numbers, truths and texts."""

STEM = "noise_"
"""`noise_out.<k>` and `noise_logits.<k>` beside the oracle's values hold the maximum error of each of its samples."""

MOVED_STEM = "moved_"
"""`moved_out.<k>`: the same of the runs in the oracle's own batches alone, see `doubts`."""

UNDECIDED = "undecided_"
"""`undecided_out.<k>`, of an output of whole numbers, tells of each value whether some member has another."""


class Noise:
    """Keeps the maximum error of any member against the oracle, by sample; of whole numbers which values differ."""

    def __init__(self, oracle: Path, signature: Signature) -> None:
        self._oracle, self._names = oracle, signature.output_names
        self._errors: dict[tuple[str, int], Array] = {}
        self._undecided: dict[int, Array] = {}

    def add(self, rows: slice, outputs: Arrays, logits: Arrays, *, alone: bool = False) -> None:
        """Takes what a member gave for these of the oracle's samples; `alone` where they were one batch each."""
        for stem, arrays in (("out", outputs), ("logits", logits)):
            for name, values in arrays.items():
                k = self._names.index(name)
                exact = read(self._oracle, stem, k)
                if exact is not None and exact.dtype.kind in WHOLE:
                    differs = self._undecided.setdefault(k, np.zeros(exact.shape, bool))
                    differs[rows] |= values != exact[rows]
                elif exact is not None:
                    found = row_errors(values, exact[rows])
                    for kind in (STEM,) if alone else (STEM, MOVED_STEM):
                        errors = self._errors.setdefault((f"{kind}{stem}", k), np.zeros(len(exact)))
                        errors[rows] = np.maximum(errors[rows], found)

    def take_first(self) -> None:
        """Takes what the first members gave, which is written beside the oracle's values."""
        for k in range(len(self._names)):
            for stem in (f"{kind}{values}" for kind in (STEM, MOVED_STEM) for values in ("out", "logits")):
                errors = read(self._oracle, stem, k)
                if errors is not None:
                    self._errors[stem, k] = np.array(errors)
            differs = read(self._oracle, f"{UNDECIDED}out", k)
            if differs is not None:
                self._undecided[k] = np.array(differs)

    def write(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for (stem, k), errors in self._errors.items():
            np.save(path_of(folder, stem, k), errors, allow_pickle=False)
        for k, differs in self._undecided.items():
            np.save(path_of(folder, f"{UNDECIDED}out", k), differs, allow_pickle=False)

    @property
    def jumps(self) -> bool:
        """Whether some output is whole numbers."""
        return bool(self._undecided)


class Ensemble:
    """The members that run the oracle's samples.

    Args:
        run: the checkpoint in float32.
        weights: its variables.
        batch: how many samples run at once.
    """

    def __init__(self, run: Run, weights: Sequence[Any], batch: int) -> None:
        self._run, self._batch = run, batch
        self._weights = [w for w in weights if w.dtype == "float32"]

    def run_unmoved(self, sequential: Run, inputs: Mapping[str, Array], noise: Noise, *, one_by_one: bool) -> None:
        """The members whose weights stay, but for Keras in the batches of the plan.

        Args:
            sequential: the checkpoint with sums added one after the other.
            one_by_one: the model takes a single sample.
        """
        if one_by_one:
            self._member(self._run, inputs, noise, 1)
        self._member(sequential, inputs, noise, self._batch)

    def run_moved(
        self, inputs: Mapping[str, Array], noise: Noise, numbers: range, on_progress: Callable[[float], None]
    ) -> None:
        """The members of these numbers, whose weights and inputs move; with the last also those that move far, where an
        output is whole numbers."""
        stop = 2 * MOVED if noise.jumps and numbers.stop == MOVED else numbers.stop
        originals = [np.array(weight.numpy()) for weight in self._weights]
        try:
            for k in range(numbers.start, stop):
                rng, by = np.random.Generator(np.random.SFC64(k)), 1 if k < MOVED else FAR
                near = {name: value if _is_exact(value) else moved(value, rng, by) for name, value in inputs.items()}
                self._assign(moved(value, rng, by) for value in originals)
                self._member(self._run, near, noise, self._batch)
                on_progress((k + 1 - numbers.start) / (stop - numbers.start))
        finally:
            self._assign(originals)

    @staticmethod
    def _member(run: Run, inputs: Mapping[str, Array], noise: Noise, batch: int) -> None:
        count = min(len(array) for array in inputs.values())
        for start in range(0, count, batch):
            rows = slice(start, min(start + batch, count))
            part = {name: np.ascontiguousarray(array[rows]) for name, array in inputs.items()}
            noise.add(rows, *run(part), alone=batch == 1)

    def _assign(self, values: Iterable[Array]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.assign(value)


@dataclass(frozen=True)
class Subject:
    """A Keras model whose noise is measured.

    Attributes:
        run: the model in float32, reading its variables when it is called.
        batch: how many samples run at once.
        eager: `run` calls the model eagerly, since its graph is wrong (see `doubts`).
    """

    run: Run
    model: Any
    signature: Signature
    batch: int
    eager: bool = False

    @property
    def sequential(self) -> Run:
        """The same with sums added one after the other."""
        from converters.checkpoints.loading import loaded_model
        from validate.agreement.worker.taps.function import TappedFunction

        def sums_eagerly(arrays: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
            with sequential_sums():
                return self.run(arrays)

        if self.eager:
            return sums_eagerly
        with sequential_sums():
            tapped = TappedFunction(loaded_model(self.model).function, self.signature)
        return sums_eagerly if tapped.is_eager else tapped.run

    @property
    def ensemble(self) -> Ensemble:
        return Ensemble(self.run, self.model.variables, self.batch)


def measure_noise(
    subject: Subject,
    inputs: Arrays,
    oracle: Path,
    moved_runs: int = MOVED,
    on_progress: Callable[[float], None] = lambda _share: None,
) -> None:
    """Runs the ensemble on the oracle's samples, with its first `moved_runs` moved members, and writes `noise_*` beside
    the oracle's values.

    Args:
        oracle: the folder of the oracle's values.
    """
    noise, ensemble = Noise(oracle, subject.signature), subject.ensemble
    one_by_one = not (fixed_batch(subject.signature) or 1) > 1
    ensemble.run_unmoved(subject.sequential, inputs, noise, one_by_one=one_by_one)
    share = 2 / (moved_runs + 2)
    on_progress(share)
    ensemble.run_moved(inputs, noise, range(moved_runs), lambda f: on_progress(share + (1 - share) * f))
    noise.write(oracle)


def measure_rest(
    subject: Subject, inputs: Arrays, oracle: Path, folder: Path, on_progress: Callable[[float], None]
) -> None:
    """Runs the moved members that `measure_noise` left out after the first, and writes to the folder what all gave."""
    noise = Noise(oracle, subject.signature)
    noise.take_first()
    subject.ensemble.run_moved(inputs, noise, range(FIRST, MOVED), on_progress)
    noise.write(folder)


def moved(values: Array, rng: np.random.Generator, by: int = 1) -> Array:
    """Float32 values moved by -1, 0 or +1 times `by` units in the last place, a third each; others, zeros, infinities
    and what is too small to move so far stay."""
    if values.dtype != np.float32:
        return values
    steps = rng.integers(-1, 2, values.shape, np.int8)
    bits = np.asarray(values, order="C").view(np.int32)  # a scalar stays one: Attention has one as its scale
    steps *= np.isfinite(values) & ((bits & 0x7FFFFFFF) >= by)
    result: Array = np.asarray(bits + (steps if by == 1 else steps * np.int32(by))).view(np.float32)
    return result


def _is_exact(values: Array) -> bool:
    """Whether all are whole numbers, as in one-hot rows, ids and images of bytes: no device feeds anything between."""
    return values.dtype.kind != "f" or bool((values == np.rint(values)).all())
