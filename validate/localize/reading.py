"""Reads each layer's value off a candidate's file, by its healthy twin, and measures it against the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.isolation import Message
from validate.agreement.arrays import read
from validate.agreement.gates import FLOOR_ULPS, ULP
from validate.agreement.metrics import difference
from validate.localize.align import Correspondence, File, nearest
from validate.runtimes.base import Array


class Layers:
    """What the checkpoint's layers give, and how noisy float32 is in each."""

    def __init__(self, work: Path, document: Message) -> None:
        self.names = [layer[0] for layer in document["layers"]]
        self.kinds = {layer[0]: str(layer[1]) for layer in document["layers"]}
        self.before: dict[str, list[str]] = {layer[0]: list(layer[2]) for layer in document["layers"]}
        self.biased = {layer[0]: bool(layer[3]) for layer in document["layers"]}
        self.truths: dict[str, Array] = {}
        self.noise: dict[str, float] = {}
        for k, name in enumerate(self.names):
            plain = read(work, "plain", k)
            exact = read(work, "exact", k) if document["oracle"] else plain
            assert plain is not None
            assert exact is not None
            greatest = float(np.abs(exact).max(initial=0.0))
            floor = FLOOR_ULPS * ULP * greatest * (1 if document["oracle"] else 8)
            self.truths[name] = exact
            self.noise[name] = max(difference(plain, exact).max_abs, floor) or ULP

    def ratio(self, name: str, error: float) -> float:
        return error / self.noise[name]

    def noise_ratio(self, name: str, value: Array) -> float:
        return self.ratio(name, difference(value, self.truths[name]).max_abs)

    def feeds(self, name: str, observed: set[str]) -> list[str]:
        """The nearest layers before this one whose values the file holds; none where the model's input comes nearer."""
        found: dict[str, None] = {}
        queue, seen = [name], {name}
        while queue:
            before = self.before[queue.pop()]
            if not before:
                return []
            for earlier in before:
                if earlier in observed:
                    found[earlier] = None
                elif earlier not in seen:
                    seen.add(earlier)
                    queue.append(earlier)
        return list(found)

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
    layout = nearest(value, truth)[0]
    return np.asarray(value) if layout is None else layout


@dataclass
class Reading:
    """Reads each layer's value off the candidate's file, by the healthy twin."""

    layers: Layers
    twin: File
    broken: File
    places: Mapping[str, str]
    limits: Mapping[str, float]

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

    def _made(self, name: str, tensor: str | None) -> Array | None:
        truth = self.layers.truths[name]
        value = None
        if tensor in self.broken.tensors and self.broken.value(tensor).size == truth.size:
            value = in_layout(self.broken.value(tensor), truth)
            if not self._parts(name, value):
                return value
        for other in self.broken.of_size(truth.size):  # the files' structures differ: the value may lie elsewhere
            elsewhere, distance = nearest(self.broken.value(other), truth)
            if elsewhere is not None and distance < 1e-3 and not self._parts(name, elsewhere):
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
        return self.layers.noise_ratio(name, value) > self.limits[name]
