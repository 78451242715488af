"""Reads each layer's value off a candidate's file, by its healthy twin, and measures it against the oracle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.arrays import Array
from converters.formats import Precision
from converters.isolation import Message
from validate.agreement.arrays import read
from validate.agreement.judging.gates import FLOOR_ULPS, GATES, ULP
from validate.agreement.judging.metrics import difference
from validate.localize.align import Correspondence, File, Probe, match_by_value, nearest

LIMIT = GATES[Precision.FLOAT32].noise_ratio or 4.0
_MATCH = {Precision.FLOAT32: 1e-3, Precision.FLOAT16: 0.05}
"""How close, relative and rms, a tensor of the healthy twin lies to the layer that it holds; 0.3 where quantized."""
_SAME = 1e-3


class Layers:
    """What the checkpoint's layers give, and how noisy float32 is in each: at worst, and in the rms.

    Reduced precisions are told by the rms. The worst value of an integer file is one that its scales clip, and which
    those are differs from one honest calibration to the next.
    """

    def __init__(self, work: Path, document: Message) -> None:
        self.names: list[str] = [layer[0] for layer in document["layers"]]
        self.kinds = {layer[0]: str(layer[1]) for layer in document["layers"]}
        self.before: dict[str, list[str]] = {layer[0]: list(layer[2]) for layer in document["layers"]}
        self.biased = {layer[0]: bool(layer[3]) for layer in document["layers"]}
        self.truths: dict[str, Array] = {}
        self.signal: dict[str, float] = {}
        self.noise: dict[str, float] = {}
        self.noise_rms: dict[str, float] = {}
        for k, name in enumerate(self.names):
            plain = read(work, "plain", k)
            exact = read(work, "exact", k) if document["oracle"] else plain
            assert plain is not None
            assert exact is not None
            greatest = float(np.abs(exact).max(initial=0.0))
            floor = FLOOR_ULPS * ULP * greatest * (1 if document["oracle"] else 8)
            self.truths[name] = exact
            self.signal[name] = float(np.mean(np.square(exact, dtype=np.float64))) if exact.size else 0.0
            gap = difference(plain, exact)
            self.noise[name] = max(gap.max_abs, floor) or ULP
            self.noise_rms[name] = max(math.sqrt(gap.mean_square), floor / FLOOR_ULPS) or ULP

    def ratio(self, name: str, greatest: float, mean_square: float, *, rms: bool) -> float:
        """An error in this layer over float32's own."""
        return math.sqrt(mean_square) / self.noise_rms[name] if rms else greatest / self.noise[name]

    def noise_ratio(self, name: str, value: Array, *, rms: bool) -> float:
        gap = difference(value, self.truths[name])
        return math.inf if gap.nonfinite else self.ratio(name, gap.max_abs, gap.mean_square, rms=rms)

    def feeds(self, name: str, observed: set[str]) -> list[str]:
        """The nearest layers before this one whose values the file holds."""
        found: dict[str, None] = {}
        queue, seen = [name], {name}
        while queue:
            for earlier in self.before[queue.pop()]:
                if earlier in observed:
                    found[earlier] = None
                elif earlier not in seen:
                    seen.add(earlier)
                    queue.append(earlier)
        return list(found)

    def ancestors(self, name: str) -> set[str]:
        """All layers that this one is computed from."""
        found, queue = set[str](), [name]
        while queue:
            new = [earlier for earlier in self.before[queue.pop()] if earlier not in found]
            found.update(new)
            queue += new
        return found

    def fused_into(self, name: str, observed: set[str]) -> list[str]:
        """The layer and those before it whose values the file does not hold, in order."""
        group, queue = {name}, [name]
        while queue:
            for earlier in self.before[queue.pop()]:
                if earlier not in observed and earlier not in group:
                    group.add(earlier)
                    queue.append(earlier)
        return [n for n in self.names if n in group]


def in_layout(value: Array, truth: Array) -> Array:
    layout = nearest(value, Probe(truth))[0]
    return np.asarray(value) if layout is None else layout


@dataclass
class Reading:
    """Reads each layer's value off the candidate's file, by the healthy twin."""

    layers: Layers
    twin: File
    broken: File
    places: Mapping[str, str]
    limits: Mapping[str, float]
    rms: bool

    def values(self) -> dict[str, Array]:
        links = Correspondence.of(self.twin, self.broken)
        last = {place: name for name, place in self.places.items()}
        found: dict[str, Array] = {}
        for name, place in self.places.items():
            mine = links.made.get(place)
            value = self._made(name, mine)
            if last[place] == name:  # of layers that change nothing, the last answers for what is read further on
                value = self._read(name, value, mine, links.read.get(place, []))
            if value is not None:
                found[name] = value
        return found

    def tensors(self) -> dict[str, str]:
        """By layer, the candidate's tensor that stands for it: what is read further on, where that is another."""
        links = Correspondence.of(self.twin, self.broken)
        last = {place: name for name, place in self.places.items()}
        known, found = self.broken.made, {}
        for name, place in self.places.items():
            mine = links.made.get(place)
            readers = [tensor for tensor in links.read.get(place, ()) if tensor != mine] if last[place] == name else []
            chosen = next((tensor for tensor in (*readers, mine) if tensor in known), None)
            if chosen is not None:
                found[name] = chosen
        return found

    def _made(self, name: str, tensor: str | None) -> Array | None:
        truth = self.layers.truths[name]
        value = None
        if tensor in self.broken.tensors and self.broken.value(tensor).size == truth.size:
            value = in_layout(self.broken.value(tensor), truth)
            if not self._parts(name, value):
                return value
        probe = Probe(truth)
        for other in self.broken.of_size(truth.size):  # the files' structures differ: the value may lie elsewhere
            if self.broken.distance(other, probe) < _SAME:
                elsewhere = in_layout(self.broken.value(other), truth)
                if not self._parts(name, elsewhere):
                    return elsewhere
        return value

    def _read(self, name: str, value: Array | None, mine: str | None, readers: list[str]) -> Array | None:
        truth = self.layers.truths[name]
        for tensor in readers:
            if tensor == mine or self.broken.value(tensor).size != truth.size:
                continue
            read_value = in_layout(self.broken.value(tensor), truth)
            if value is None or self._parts(name, read_value):
                value = read_value
        return value

    def _parts(self, name: str, value: Array) -> bool:
        return self.layers.noise_ratio(name, value, rms=self.rms) > self.limits[name]


@dataclass(frozen=True)
class Twin:
    """A healthy file: which tensor is which layer, and how far each may lie from the oracle.

    Attributes:
        limits: by layer, of the noise ratio.
        greatest: by layer, of any one value.
        rms: noise ratios are those of the rms, see `Layers`.
    """

    file: File
    places: dict[str, str]
    limits: dict[str, float]
    greatest: dict[str, float]
    rms: bool

    @classmethod
    def of(cls, file: File, layers: Layers, precision: Precision) -> Twin:
        rms = precision is not Precision.FLOAT32
        places = match_by_value(file, layers.truths, _MATCH.get(precision, 0.3))
        limits, greatest = {}, {}
        for name, place in places.items():
            gap = difference(in_layout(file.value(place), layers.truths[name]), layers.truths[name])
            ratio = math.inf if gap.nonfinite else layers.ratio(name, gap.max_abs, gap.mean_square, rms=rms)
            limits[name] = LIMIT * max(1.0, ratio)
            greatest[name] = LIMIT * max(layers.noise[name], gap.max_abs)
        return cls(file, places, limits, greatest, rms)
