"""Which tensor of a file is which layer's output: by value in a healthy file, by structure in a broken one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.isolation import Message
from validate.agreement.arrays import path_of

Shape = tuple[int, ...]
_PROBES = 4096


@dataclass
class File:
    """The tensors of one artifact, on disk, and its operations in order.

    Attributes:
        nodes: `[op, inputs, outputs]` each.
        tensors: the place of each tensor that was written.
    """

    folder: Path
    stem: str
    nodes: list[tuple[str, list[str], list[str]]]
    tensors: dict[str, int]
    inputs: list[str]
    _arrays: dict[str, Array] = field(default_factory=dict)
    _sizes: dict[int, list[str]] = field(default_factory=dict)
    _samples: dict[tuple[str, Shape, bool], Array] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, stem: str, document: Message) -> File:
        nodes = [(op, list(inputs), list(outputs)) for op, inputs, outputs in document["nodes"]]
        return cls(folder, stem, nodes, dict(document["tensors"]), list(document["inputs"]))

    def value(self, name: str) -> Array:
        if name not in self._arrays:
            self._arrays[name] = np.load(path_of(self.folder, self.stem, self.tensors[name]), mmap_mode="r")
        return self._arrays[name]

    def of_size(self, size: int) -> list[str]:
        if not self._sizes:
            for name in self.tensors:
                self._sizes.setdefault(self.value(name).size, []).append(name)
        return self._sizes.get(size, [])

    def distance(self, name: str, probe: Probe) -> float:
        """A tensor's distance from a layer, in the nearer of its layouts. Its samples are cached: layers are many."""
        distances = [math.inf]
        for moved in _layouts(self.value(name).shape, probe.shape):
            key = (name, probe.shape, moved)
            if key not in self._samples:
                self._samples[key] = probe.sample(self.value(name), moved=moved)
            distances.append(probe.distance(self._samples[key]))
        return min(distances)

    @property
    def made(self) -> set[str]:
        """Names of its operations' outputs, whether they were read or not."""
        return {name for _, _, made in self.nodes for name in made}

    def tokens(self, *, shaped: bool) -> list[tuple[Any, ...]]:
        """Keys of its operations when two files are aligned: the kind, and the shape of the first output."""
        return [self._token(op, outputs, shaped=shaped) for op, _, outputs in self.nodes]

    def _token(self, op: str, outputs: list[str], *, shaped: bool) -> tuple[Any, ...]:
        written_outputs = [name for name in outputs if name in self.tensors] if shaped else []
        return (op, tuple(self.value(written_outputs[0]).shape[1:]) if written_outputs else None)


def as_layer(value: Array, truth: Array) -> list[Array]:
    """The value in the layer's layout: as it is, or with its channels moved last; both where both fit."""
    return [_arranged(value, truth.shape, moved=moved) for moved in _layouts(value.shape, truth.shape)]


def _layouts(shape: Shape, layer: Shape) -> list[bool]:
    """Possible answers to whether channels must be moved last to bring a value of this shape into the layer's."""
    if math.prod(shape) != math.prod(layer):
        return []
    # Shapes that differ by dimensions of one only hold the same numbers in the same order.
    layouts = [False] if [d for d in shape[1:] if d != 1] == [d for d in layer[1:] if d != 1] else []
    if len(shape) == len(layer) > 2 and (shape[0], *shape[2:], shape[1]) == layer:
        layouts.append(True)
    return layouts or [False]


def _arranged(value: Array, layer: Shape, *, moved: bool) -> Array:
    return np.moveaxis(value, 1, -1) if moved else np.asarray(value).reshape(layer)


class Probe:
    """A layer's value at some thousand places, by which it is recognized."""

    def __init__(self, truth: Array) -> None:
        self.shape: Shape = truth.shape
        count = min(_PROBES, truth.size)
        self.places = np.random.Generator(np.random.PCG64(0)).integers(0, max(1, truth.size), count)
        self._truth = np.ravel(truth)[self.places].astype(np.float64)
        self._scale = math.sqrt(float(np.mean(self._truth**2))) or 1.0 if count else math.inf

    def sample(self, value: Array, *, moved: bool) -> Array:
        """Another value, in one of its layouts, at the same places."""
        if not moved:
            return np.ravel(value)[self.places]
        index = np.unravel_index(self.places, self.shape)
        return np.asarray(value[(index[0], index[-1], *index[1:-1])])

    def distance(self, got: Array) -> float:
        """Relative rms distance; infinite for a layer without values."""
        return math.sqrt(float(np.mean((got - self._truth) ** 2))) / self._scale if got.size else math.inf


def nearest(value: Array, probe: Probe) -> tuple[Array | None, float]:
    """The layout of `value` that lies closest to the truth at the probe's places, and its distance."""
    layouts = [
        (_arranged(value, probe.shape, moved=moved), probe.distance(probe.sample(value, moved=moved)))
        for moved in _layouts(value.shape, probe.shape)
    ]
    near = min(layouts, key=lambda pair: pair[1], default=(None, math.inf))
    return near if near[1] < math.inf else (None, math.inf)


def match_by_value(file: File, truths: Mapping[str, Array], limit: float) -> dict[str, str]:
    """By layer, the tensor of a healthy file that holds its output; the earliest where several hold the same.

    Args:
        limit: maximum relative rms distance of a match.
    """
    matches: dict[str, str] = {}
    for layer, truth in truths.items():
        best, distance = None, limit
        probe = Probe(truth)
        for name in file.of_size(truth.size):
            tensor_distance = file.distance(name, probe)
            if tensor_distance < distance * (1 - 1e-6):
                best, distance = name, tensor_distance
        if best is not None:
            matches[layer] = best
    return matches


def align(healthy: File, broken: File) -> list[tuple[int, int]]:
    """Pairs of operations that stand for one another, by type and shape along the order of execution.

    Of a file whose tensors could not be read the types alone are known.
    """
    shaped = bool(broken.tensors)
    left, right = (file.tokens(shaped=shaped) for file in (healthy, broken))
    pairs: list[tuple[int, int]] = []
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "equal" or (tag == "replace" and a1 - a0 == b1 - b0):
            pairs += list(zip(range(a0, a1), range(b0, b1), strict=True))
        elif tag == "replace":  # one operation became several: their last gives what the one gave
            pairs += _from_the_end(range(a0, a1), range(b0, b1), lambda a, b: left[a][1] == right[b][1])
    return pairs


def _from_the_end(
    first: Sequence[int], second: Sequence[int], same: Callable[[int, int], bool]
) -> Iterable[tuple[int, int]]:
    pairs = []
    for a, b in zip(reversed(first), reversed(second), strict=False):
        if not same(a, b):
            break
        pairs.append((a, b))
    return reversed(pairs)


@dataclass
class Correspondence:
    """Counterparts in the broken file of the healthy one's tensors.

    Attributes:
        made: by the operation that makes it.
        read: by the operations that read it: another tensor where something was put between, or left out.
    """

    made: dict[str, str] = field(default_factory=dict)
    read: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, healthy: File, broken: File) -> Correspondence:
        self = cls(dict(zip(healthy.inputs, broken.inputs, strict=True)))
        candidates = broken.tensors or broken.made
        for a, b in align(healthy, broken):
            (op, inputs, outputs), (other_op, other_inputs, other_outputs) = healthy.nodes[a], broken.nodes[b]
            self.made.update(dict(zip(outputs, other_outputs, strict=False)))
            if op == other_op and len(inputs) == len(other_inputs):
                for tensor, counterpart in zip(inputs, other_inputs, strict=True):
                    if tensor in healthy.tensors and counterpart in candidates:
                        self.read.setdefault(tensor, []).append(counterpart)
        return self
