"""Which tensor of a file is which layer's output: by value in a healthy file, by structure in a broken one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from converters.isolation import Message
from validate.agreement.arrays import path_of
from validate.runtimes.base import Array

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
    _open: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, stem: str, document: Message) -> File:
        nodes = [(op, list(given), list(made)) for op, given, made in document["nodes"]]
        return cls(folder, stem, nodes, dict(document["tensors"]), list(document["inputs"]))

    def value(self, name: str) -> Array:
        if name not in self._open:
            self._open[name] = np.load(path_of(self.folder, self.stem, self.tensors[name]), mmap_mode="r")
        return self._open[name]

    def of_size(self, size: int) -> list[str]:
        return [name for name in self.tensors if self.value(name).size == size]

    @property
    def made(self) -> set[str]:
        """What its operations give, whether it was read or not."""
        return {name for _, _, made in self.nodes for name in made}

    def token(self, node: tuple[str, list[str], list[str]], *, shaped: bool) -> tuple[Any, ...]:
        made = [name for name in node[2] if name in self.tensors] if shaped else []
        return (node[0], tuple(self.value(made[0]).shape[1:]) if made else None)


def as_layer(value: Array, truth: Array) -> list[Array]:
    """The value in the layer's layout: as it is, or with its channels moved last; both where both fit."""
    if value.size != truth.size:
        return []
    found = [np.asarray(value).reshape(truth.shape)] if _keeps_order(value, truth) else []
    if value.ndim == truth.ndim > 2:
        moved = np.moveaxis(value, 1, -1)
        if moved.shape == truth.shape:
            found.append(moved)
    return found or [np.asarray(value).reshape(truth.shape)]


def _keeps_order(value: Array, truth: Array) -> bool:
    """Shapes that differ by dimensions of one only hold the same numbers in the same order."""
    return [d for d in value.shape[1:] if d != 1] == [d for d in truth.shape[1:] if d != 1]


def nearest(value: Array, truth: Array) -> tuple[Array | None, float]:
    """The layout of `value` that lies closest to the truth at some thousand places, and the relative rms distance."""
    best: tuple[Array | None, float] = (None, np.inf)
    if not truth.size:
        return best
    places = np.random.Generator(np.random.PCG64(0)).integers(0, truth.size, min(_PROBES, truth.size))
    index = np.unravel_index(places, truth.shape)
    want = np.asarray(truth[index], dtype=np.float64)
    scale = float(np.sqrt(np.mean(want**2))) or 1.0
    for layout in as_layer(value, truth):
        got = np.asarray(layout[index], dtype=np.float64)
        distance = float(np.sqrt(np.mean((got - want) ** 2))) / scale
        if distance < best[1]:
            best = (layout, distance)
    return best


def match_by_value(file: File, truths: Mapping[str, Array], limit: float) -> dict[str, str]:
    """By layer, the tensor of a healthy file that holds its output; the earliest where several hold the same.

    Args:
        limit: greatest relative rms distance of a match.
    """
    by_size: dict[int, list[str]] = {}
    for name in file.tensors:
        by_size.setdefault(file.value(name).size, []).append(name)
    found: dict[str, str] = {}
    for layer, truth in truths.items():
        best, distance = None, limit
        for name in by_size.get(truth.size, ()):
            near = nearest(file.value(name), truth)[1]
            if near < distance * (1 - 1e-6):
                best, distance = name, near
        if best is not None:
            found[layer] = best
    return found


def align(healthy: File, broken: File) -> list[tuple[int, int]]:
    """Pairs of operations that stand for one another, by type and shape along the order of execution.

    Of a file whose tensors could not be read the types alone are known.
    """
    shaped = bool(broken.tensors)
    left, right = ([file.token(n, shaped=shaped) for n in file.nodes] for file in (healthy, broken))
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
    """What stands in the broken file for a tensor of the healthy one.

    Attributes:
        made: by the operation that makes it.
        read: by the operations that read it: another tensor where something was put between, or left out.
    """

    made: dict[str, str] = field(default_factory=dict)
    read: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, healthy: File, broken: File) -> Correspondence:
        self = cls(dict(zip(healthy.inputs, broken.inputs, strict=True)))
        known = broken.tensors or broken.made
        for a, b in align(healthy, broken):
            (op, given, made), (other, taken, results) = healthy.nodes[a], broken.nodes[b]
            self.made.update(dict(zip(made, results, strict=False)))
            if op == other and len(given) == len(taken):
                for mine, theirs in zip(given, taken, strict=True):
                    if mine in healthy.tensors and theirs in known:
                        self.read.setdefault(mine, []).append(theirs)
        return self
