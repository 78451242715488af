"""A file whose makers named its ends otherwise: which is which of the checkpoint's, and the file under those names.

Inputs are matched by shape, dtype and order; outputs by shape and dtype, and where several fit by trying which agrees
best. Channels that come first are no reordering of names: such shapes do not fit, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from converters.arrays import Array, Arrays
from converters.errors import UsageError
from converters.signature import BATCH, Signature, TensorSpec
from validate.agreement.worker.taps import Tapped
from validate.runtimes.base import Runtime
from validate.runtimes.quantized import FloatEnds, dequantized

Names = Mapping[str, str]
"""The file's name -> the reference's."""


@dataclass(frozen=True)
class Trial:
    """What outputs are told apart on: a few samples, and what the reference makes of them, by its names."""

    inputs: Arrays
    truths: Arrays


def renamed(tapped: Tapped, reference: Signature, given: Names, trial: Trial) -> tuple[Tapped, Names, list[str]]:
    """The file under the reference's names; which of its names stand for others, and how that was found.

    Raises:
        UsageError: `given` names what the reference does not have.
        StepError: the file failed on the samples by which its outputs are told apart.
    """
    file = tapped.runtime.signature
    told = given_names(given, file, reference)
    inputs, outputs = (
        matched(ours, theirs, {name: told[name] for name in told if name in {s.name for s in theirs}})
        for ours, theirs in ((reference.inputs, file.inputs), (reference.outputs, file.outputs))
    )
    names: Names = {**in_order(*inputs, reference.inputs), **outputs[0]}
    left = {spec.name: them for spec, them in zip(reference.outputs, outputs[1], strict=True) if them}
    if left:
        names = by_values(names, left, _errors(RenamedTapped(tapped, names, reference), left, trial))
    differing = {theirs: ours for theirs, ours in names.items() if theirs != ours}
    if not differing:
        return in_its_order(tapped, names, reference)
    ways = {
        theirs: "by --map"
        if theirs in told
        else "by value"
        if ours in left
        else "by order"
        if theirs not in {**inputs[0], **outputs[0]}
        else "by shape"
        for theirs, ours in differing.items()
    }
    words = ", ".join(f"{theirs} is {ours} ({ways[theirs]})" for theirs, ours in differing.items())
    return RenamedTapped(tapped, names, reference), differing, [f"Its names are not the reference's: {words}."]


def in_its_order(tapped: Tapped, names: Names, reference: Signature) -> tuple[Tapped, Names, list[str]]:
    """A file with the reference's very names, in the reference's order."""
    turned = RenamedTapped(tapped, names, reference)
    sides = (turned.runtime.signature, tapped.runtime.signature)
    if not tapped.runtime.ordered or sides[0] == sides[1]:
        return tapped, {}, []
    inputs, outputs = (", ".join(names) for names in (sides[1].input_names, sides[1].output_names))
    return turned, {}, [f"Its order is not the reference's: its inputs are {inputs}; its outputs {outputs}."]


def _errors(tapped: Tapped, left: Mapping[str, Sequence[str]], trial: Trial) -> dict[tuple[str, str], float]:
    """Of each of the file's outputs that may be one of the reference's, how far it lies from that."""
    ends = FloatEnds(tapped.runtime, set(trial.inputs))
    outputs = ends.run(trial.inputs)
    values = {name: dequantized(tapped.runtime, name, value) for name, value in outputs.items()}
    return {(name, ours): distance(values[name], trial.truths[ours]) for ours, them in left.items() for name in them}


def given_names(given: Names, file: Signature, reference: Signature) -> Names:
    """The part of the user's mapping that is of this file.

    Raises:
        UsageError: a name stands for none of the reference's, or for one of the other side.
    """
    result = {}
    for theirs, ours in given.items():
        for kind, specs, known in (
            ("input", file.inputs, reference.input_names),
            ("output", file.outputs, reference.output_names),
        ):
            if theirs in {spec.name for spec in specs}:
                if ours not in known:
                    raise UsageError(
                        f"--map {theirs}={ours}: the reference has no {kind} {ours}.",
                        next_step=f"Its {kind}s are {', '.join(known)}.",
                    )
                result[theirs] = ours
    return result


def matched(expected: Sequence[TensorSpec], got: Sequence[TensorSpec], given: Names) -> tuple[Names, list[list[str]]]:
    """Names that are settled by the user, by being the same, or by being the only one that fits; and what is left.

    Returns:
        The names, and for each place of `expected` the file's names that may be it: none where it is settled.
    """
    names = dict(given) | {s.name: s.name for s in got if s.name in {e.name for e in expected} - set(given.values())}
    open_places = [e for e in expected if e.name not in names.values()]
    free = [s for s in got if s.name not in names]
    possible = {e.name: [s.name for s in free if fits(e, s)] for e in open_places}
    while single := next((ours for ours, theirs in possible.items() if len(theirs) == 1), None):
        (theirs,) = possible.pop(single)
        names[theirs] = single
        possible = {ours: [name for name in them if name != theirs] for ours, them in possible.items()}
    return names, [possible.get(e.name, []) for e in expected]


def fits(expected: TensorSpec, got: TensorSpec) -> bool:
    """Whether one may be the other: shapes of the same sizes where both are known, the batch apart, and dtypes."""
    same_kind = expected.dtype == got.dtype or (expected.dtype.startswith("float") and "int8" in got.dtype)
    if not same_kind or len(expected.shape) != len(got.shape):
        return False
    pairs = list(zip(expected.shape, got.shape, strict=True))
    start = 1 if pairs and BATCH in pairs[0] else 0
    return all(isinstance(a, str) or isinstance(b, str) or a == b for a, b in pairs[start:])


def in_order(names: Names, possible: Sequence[Sequence[str]], expected: Sequence[TensorSpec]) -> Names:
    """The open places filled in the file's order."""
    result = dict(names)
    for spec, theirs in zip(expected, possible, strict=True):
        name = next((name for name in theirs if name not in result), None)
        if name is not None:
            result[name] = spec.name
    return result


def by_values(names: Names, possible: Mapping[str, Sequence[str]], error: Mapping[tuple[str, str], float]) -> Names:
    """The open places filled so that values agree: the nearest pair first.

    Args:
        error: of (the file's output, the reference's), over what the reference's moves.
    """
    result, taken = dict(names), set(names.values())
    pairs = sorted(
        (error[theirs, ours], k, theirs, ours) for k, (ours, them) in enumerate(possible.items()) for theirs in them
    )
    for _, _, theirs, ours in pairs:
        if theirs not in result and ours not in taken:
            result[theirs] = ours
            taken.add(ours)
    return result


def distance(value: Array, truth: Array) -> float:
    """RMS difference over the spread of the truth; infinite for other shapes."""
    if value.shape != truth.shape:
        return float("inf")
    gap = np.sqrt(np.mean((value.astype(np.float64) - truth.astype(np.float64)) ** 2))
    return float(gap / (np.std(truth.astype(np.float64)) + 1e-30)) if np.isfinite(gap) else float("inf")


class Renamed(Runtime):
    """A runtime under the reference's names, in its order as far as it has them."""

    def __init__(self, runtime: Runtime, names: Names, reference: Signature) -> None:
        self._runtime, self._names = runtime, names
        self._theirs = {ours: theirs for theirs, ours in names.items()}
        self.device, self.ordered, self.notes = runtime.device, runtime.ordered, runtime.notes
        self.quantization = {names.get(name, name): scale for name, scale in runtime.quantization.items()}
        file = runtime.signature
        self.signature = Signature(
            _renamed(file.inputs, names, reference.input_names), _renamed(file.outputs, names, reference.output_names)
        )

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        return self.ours(self._runtime.run(self.theirs(inputs)))

    def refuses(self, feeds: Arrays) -> bool | None:
        return self._runtime.refuses(self.theirs(feeds))

    def theirs(self, arrays: Mapping[str, Array]) -> Arrays:
        return {self._theirs.get(name, name): array for name, array in arrays.items()}

    def ours(self, arrays: Mapping[str, Array]) -> Arrays:
        return {self._names.get(name, name): array for name, array in arrays.items()}


def _renamed(specs: Iterable[TensorSpec], names: Names, order: Sequence[str]) -> tuple[TensorSpec, ...]:
    renamed = [TensorSpec(names.get(s.name, s.name), s.shape, s.dtype) for s in specs]
    return tuple(sorted(renamed, key=lambda s: order.index(s.name) if s.name in order else len(order)))


class RenamedTapped(Tapped):
    """A tapped file under the reference's names."""

    def __init__(self, tapped: Tapped, names: Names, reference: Signature) -> None:
        self._tapped = tapped
        self._ends = Renamed(tapped.runtime, names, reference)
        self.runtime: Runtime = self._ends
        self.kinds = {names.get(name, name): kind for name, kind in tapped.kinds.items()}

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        outputs, logits = self._tapped.run(self._ends.theirs(inputs))
        return self._ends.ours(outputs), self._ends.ours(logits)
