"""Where does a candidate part from its checkpoint? The parent's side."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import RefusedError, UsageError
from converters.formats import Format, Precision, format_of, precision_in_name
from converters.isolation import Limits, Message, run_step
from validate.agreement.arrays import read
from validate.agreement.gates import FLOOR_ULPS, GATES, ULP
from validate.agreement.metrics import difference
from validate.localize.align import Correspondence, File, match_by_value, nearest
from validate.localize.blame import Member, broken_member
from validate.runtimes import runtime_name
from validate.runtimes.base import Array

Make = Callable[[Path, Format, Precision], Path]
"""Makes a healthy twin of the candidate from the checkpoint, with the exporter's own converters."""

_LIMIT = GATES[Precision.FLOAT32].noise_ratio or 4.0
_MATCH = {Precision.FLOAT32: 1e-3, Precision.FLOAT16: 0.05}
"""How close, relative and rms, a tensor of the healthy twin lies to the layer that it holds; 0.3 where quantized."""


@dataclass(frozen=True)
class LocalizeOptions:
    """As in `CompareOptions`; `samples` is an upper bound, less are taken of a model with big layers."""

    inputs: Path | None = None
    samples: int = 16
    seed: int = 0
    input_range: tuple[float, float] | None = None
    limits: Limits = field(default_factory=Limits)
    log: Path | None = None
    precision: Precision | None = None
    threads: int = 2


@dataclass(frozen=True)
class LayerRow:
    """One layer, in the order of execution.

    Attributes:
        noise_ratio: greatest error against the oracle over float32 Keras' own in this layer; None where the candidate
            holds no such value, because it is fused into the next.
        sqnr_db: the layer's signal over the error; infinite (null in JSON) where there is none.
        limit: what a healthy file of this kind may show here.
    """

    name: str
    kind: str
    noise_ratio: float | None
    sqnr_db: float | None
    limit: float | None
    diverges: bool

    def to_json(self) -> dict[str, Any]:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(self).items()}
        return {**finite, "observed": self.noise_ratio is not None}


@dataclass(frozen=True)
class Localization:
    """The outcome.

    Attributes:
        first_divergent_layer: None where no layer parts.
        suspects: further layers that explain the same fault, where the file fuses them into one.
    """

    reference: Path
    candidate: Path
    first_divergent_layer: str | None
    suspects: tuple[str, ...]
    layers: tuple[LayerRow, ...]
    samples: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": str(self.reference), "candidate": str(self.candidate),
            "first_divergent_layer": self.first_divergent_layer, "suspects": list(self.suspects),
            "samples": self.samples, "layers": [row.to_json() for row in self.layers], "notes": list(self.notes),
        }  # fmt: skip


def localize(
    reference: Path, candidate: Path, make: Make, options: LocalizeOptions = LocalizeOptions(),
    on_progress: Callable[[str, float], None] = lambda _label, _share: None,
) -> Localization:  # fmt: skip
    """The first layer at which the candidate's values leave the checkpoint's.

    A file's own tensors are read, unfused; which tensor is which layer is told by a healthy twin that `make` makes from
    the checkpoint in the same format and precision, and that also shows what error is honest in each layer.

    Raises:
        UsageError: a path is not there.
        RefusedError: the reference is no Keras checkpoint, or a file is damaged.
        EdgeportError: a worker failed.
    """
    for path in (reference, candidate):
        if not path.exists():
            raise UsageError(f"{path} is not there.", next_step="Check the path.", file=path)
    if runtime_name(reference) != "keras":
        raise RefusedError(
            f"{reference} is no Keras checkpoint: only that has layers to name.",
            next_step="Give the .keras or .h5 file that the candidate was made from.", file=reference,
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="edgeport-localize-") as folder:
        return _Run(Path(folder), options, on_progress).through(reference, candidate, make)


class _Run:
    def __init__(self, work: Path, options: LocalizeOptions, on_progress: Callable[[str, float], None]) -> None:
        self.work, self.options, self.on_progress = work, options, on_progress
        self.notes: list[str] = []

    def _step(self, target: str, request: Message) -> Message:
        options = self.options
        request = {**request, "work": str(self.work), "threads": options.threads}
        return run_step(
            f"validate.localize.{target}", request, step="localize", limits=options.limits, log=options.log
        )

    def through(self, reference: Path, candidate: Path, make: Make) -> Localization:
        options = self.options
        self.on_progress("running the checkpoint", 0.0)
        document = self._step("reference:run_reference", {
            "path": str(reference.resolve()), "samples": options.samples, "seed": options.seed,
            "inputs": str(options.inputs.resolve()) if options.inputs else None,
            "input_range": list(options.input_range) if options.input_range else None,
        })  # fmt: skip
        self.notes += document["notes"]
        self.layers = _Layers(self.work, document)
        if runtime_name(candidate) == "keras":
            values = self._of_checkpoint(candidate)
            limits: dict[str, float] = {}
        else:
            values, limits = self._of_file(reference, candidate, make, document)
        self.on_progress("comparing layers", 0.9)
        rows = tuple(self._row(name, values.get(name), limits.get(name, _LIMIT)) for name in self.layers.names)
        suspects = self._blame(rows, values, limits)
        return Localization(
            reference, candidate, suspects[0] if suspects else None, suspects[1:], rows, int(document["samples"]),
            tuple(self.notes),
        )  # fmt: skip

    def _of_checkpoint(self, candidate: Path) -> dict[str, Array]:
        self.on_progress("running the candidate", 0.5)
        found = self._step("reference:run_checkpoint", {"path": str(candidate.resolve()), "stem": "cand"})["layers"]
        values = {name: read(self.work, "cand", k) for k, name in enumerate(found)}
        return {name: value for name, value in values.items() if value is not None and name in self.layers.truths}

    def _of_file(
        self, reference: Path, candidate: Path, make: Make, document: Message
    ) -> tuple[dict[str, Array], dict[str, float]]:
        precision = self.options.precision or precision_in_name(candidate) or Precision.FLOAT32
        form = format_of(candidate)
        assert form is not None
        names = [spec["name"] for spec in document["signature"]["inputs"]]
        self.on_progress("making a healthy twin", 0.3)
        twin_path = make(reference, form, precision)
        self.on_progress("running the twin", 0.6)
        request = {"path": str(twin_path.resolve()), "stem": "twin", "input_names": names}
        twin = File.of(self.work, "twin", self._step("tensors:read_tensors", request))
        self.on_progress("running the candidate", 0.75)
        request = {"path": str(candidate.resolve()), "stem": "cand", "input_names": names}
        broken = File.of(self.work, "cand", self._step("tensors:read_tensors", request))
        places = match_by_value(twin, self.layers.truths, _MATCH.get(precision, 0.3))
        honest = {name: _as(twin.value(place), self.layers.truths[name]) for name, place in places.items()}
        limits = {
            name: _LIMIT * max(1.0, self.layers.noise_ratio(name, value)) for name, value in honest.items()
        }  # fmt: skip
        return _Reading(self.layers, twin, broken, places, limits).values(), limits

    def _row(self, name: str, value: Array | None, limit: float) -> LayerRow:
        layers = self.layers
        kind = layers.kinds[name]
        if value is None:
            return LayerRow(name, kind, None, None, None, False)
        if value.shape != layers.truths[name].shape:
            return LayerRow(name, kind, math.inf, -math.inf, limit, True)
        gap = difference(value, layers.truths[name])
        ratio = layers.ratio(name, gap.max_abs) if not gap.nonfinite else math.inf
        signal = float(np.mean(np.square(layers.truths[name], dtype=np.float64)))
        sqnr = math.inf if gap.mean_square == 0 else 10 * math.log10(max(signal, 1e-300) / gap.mean_square)
        return LayerRow(name, kind, ratio, sqnr, limit, ratio > limit)

    def _blame(
        self, rows: tuple[LayerRow, ...], values: Mapping[str, Array], limits: Mapping[str, float]
    ) -> tuple[str, ...]:
        """The first layer that parts, or of those fused with it the one that explains what is seen."""
        first = next((row.name for row in rows if row.diverges), None)
        if first is None:
            return ()
        if values[first].shape != self.layers.truths[first].shape:
            return (first,)
        observed = set(values)
        group = self.layers.fused_into(first, observed)
        members = [Member(n, self.layers.kinds[n], self.layers.truths[n], self.layers.biased[n]) for n in group]
        tolerance = limits.get(first, _LIMIT) * self.layers.noise[first]
        return broken_member(members, np.asarray(values[first]), tolerance)


class _Layers:
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

    def fused_into(self, name: str, observed: set[str]) -> list[str]:
        """The layer and those before it whose values the file does not hold, in order."""
        group, queue = {name}, [name]
        while queue:
            for earlier in self.before[queue.pop()]:
                if earlier not in observed and earlier not in group:
                    group.add(earlier)
                    queue.append(earlier)
        return [n for n in self.names if n in group]


def _as(value: Array, truth: Array) -> Array:
    layout = nearest(value, truth)[0]
    return np.asarray(value) if layout is None else layout


@dataclass
class _Reading:
    """Reads each layer's value off the candidate's file, by the healthy twin."""

    layers: _Layers
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
            value = _as(self.broken.value(tensor), truth)
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
            read_value = _as(self.broken.value(tensor), truth)
            if value is None or self._parts(name, read_value):
                value = read_value
        return value

    def _parts(self, name: str, value: Array) -> bool:
        return self.layers.noise_ratio(name, value) > self.limits[name]

