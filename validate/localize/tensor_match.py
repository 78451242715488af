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
    """Outputs of the checkpoint's layers, and how noisy float32 is in each: at worst, and in the rms.

    Reduced precisions are judged by the rms. The worst value of an integer file is one that its scales clip, and which
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
            max_abs = float(np.abs(exact).max(initial=0.0))
            floor = FLOOR_ULPS * ULP * max_abs * (1 if document["oracle"] else 8)
            self.truths[name] = exact
            self.signal[name] = float(np.mean(np.square(exact, dtype=np.float64))) if exact.size else 0.0
            gap = difference(plain, exact)
            self.noise[name] = max(gap.max_abs, floor) or ULP
            self.noise_rms[name] = max(math.sqrt(gap.mean_square), floor / FLOOR_ULPS) or ULP

    def ratio(self, name: str, max_abs: float, mean_square: float, *, rms: bool) -> float:
        """An error in this layer over float32's own."""
        return math.sqrt(mean_square) / self.noise_rms[name] if rms else max_abs / self.noise[name]

    def noise_ratio(self, name: str, value: Array, *, rms: bool) -> float:
        gap = difference(value, self.truths[name])
        return math.inf if gap.nonfinite else self.ratio(name, gap.max_abs, gap.mean_square, rms=rms)

    def feeds(self, name: str, observed: set[str]) -> list[str]:
        """The nearest layers before this one whose values the file holds."""
        layers: dict[str, None] = {}
        queue, visited = [name], {name}
        while queue:
            for earlier in self.before[queue.pop()]:
                if earlier in observed:
                    layers[earlier] = None
                elif earlier not in visited:
                    visited.add(earlier)
                    queue.append(earlier)
        return list(layers)

    def ancestors(self, name: str) -> set[str]:
        """All layers that this one is computed from."""
        layers, queue = set[str](), [name]
        while queue:
            new = [earlier for earlier in self.before[queue.pop()] if earlier not in layers]
            layers.update(new)
            queue += new
        return layers

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
        values_by_layer: dict[str, Array] = {}
        for name, place in self.places.items():
            tensor = links.made.get(place)
            value = self._produced_value(name, tensor)
            if last[place] == name:  # of layers that change nothing, the last answers for what is read further on
                value = self._consumed_value(name, value, tensor, links.read.get(place, []))
            if value is not None:
                values_by_layer[name] = value
        return values_by_layer

    def tensors(self) -> dict[str, str]:
        """By layer, the candidate's tensor that stands for it: what is read further on, where that is another."""
        links = Correspondence.of(self.twin, self.broken)
        last = {place: name for name, place in self.places.items()}
        available, tensors_by_layer = self.broken.made, {}
        for name, place in self.places.items():
            producer = links.made.get(place)
            readers = (
                [tensor for tensor in links.read.get(place, ()) if tensor != producer] if last[place] == name else []
            )
            counterpart = next((tensor for tensor in (*readers, producer) if tensor in available), None)
            if counterpart is not None:
                tensors_by_layer[name] = counterpart
        return tensors_by_layer

    def _produced_value(self, name: str, tensor: str | None) -> Array | None:
        truth = self.layers.truths[name]
        value = None
        if tensor in self.broken.tensors and self.broken.value(tensor).size == truth.size:
            value = in_layout(self.broken.value(tensor), truth)
            if not self._diverges(name, value):
                return value
        probe = Probe(truth)
        for other in self.broken.of_size(truth.size):  # the files' structures differ: the value may lie elsewhere
            if self.broken.distance(other, probe) < _SAME:
                elsewhere = in_layout(self.broken.value(other), truth)
                if not self._diverges(name, elsewhere):
                    return elsewhere
        return value

    def _consumed_value(self, name: str, value: Array | None, producer: str | None, readers: list[str]) -> Array | None:
        truth = self.layers.truths[name]
        for tensor in readers:
            if tensor == producer or self.broken.value(tensor).size != truth.size:
                continue
            read_value = in_layout(self.broken.value(tensor), truth)
            if value is None or self._diverges(name, read_value):
                value = read_value
        return value

    def _diverges(self, name: str, value: Array) -> bool:
        return self.layers.noise_ratio(name, value, rms=self.rms) > self.limits[name]


@dataclass(frozen=True)
class Twin:
    """A healthy file: which tensor is which layer, and how far each may lie from the oracle.

    Attributes:
        limits: by layer, of the noise ratio.
        max_abs: by layer, of any one value.
        rms: noise ratios are those of the rms, see `Layers`.
    """

    file: File
    places: dict[str, str]
    limits: dict[str, float]
    max_abs: dict[str, float]
    rms: bool

    @classmethod
    def of(cls, file: File, layers: Layers, precision: Precision) -> Twin:
        rms = precision is not Precision.FLOAT32
        places = match_by_value(file, layers.truths, _MATCH.get(precision, 0.3))
        limits, max_abs = {}, {}
        for name, place in places.items():
            gap = difference(in_layout(file.value(place), layers.truths[name]), layers.truths[name])
            ratio = math.inf if gap.nonfinite else layers.ratio(name, gap.max_abs, gap.mean_square, rms=rms)
            limits[name] = LIMIT * max(1.0, ratio)
            max_abs[name] = LIMIT * max(layers.noise[name], gap.max_abs)
        return cls(file, places, limits, max_abs, rms)
