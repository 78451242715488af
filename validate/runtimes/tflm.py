"""TensorFlow Lite for Microcontrollers (TFLM): `.tflite` files in its reference kernels, through its own interpreter.

Its shapes are fixed, and so is its batch: it runs what the file states, sample by sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from converters.arrays import Array, Arrays
from converters.errors import RefusedError
from converters.isolation import Channel, Message
from converters.readers.facts import TensorFact
from converters.readers.tflite_file import TfliteFacts, read_tflite
from converters.readers.tflite_signed import NOTE
from converters.signature import Signature, TensorSpec
from validate.compat.litert import has_variables
from validate.runtimes import base, tflm_arena
from validate.runtimes.base import Runtime, RuntimeOptions
from validate.runtimes.batching import run_in_fixed_batches
from validate.runtimes.devices import Device

INSTALL = "pip install 'edgeport[tflm]'"
_Ends = tuple[tuple[str, int], ...]
"""Names of the signature with the places of their tensors among the file's inputs or outputs."""


class TflmRuntime(Runtime):
    """A `.tflite` file in TFLM's interpreter. A file that keeps a state between calls begins every run anew.

    Args:
        path: the file.
        content: runs these bytes instead of the file's, whose inputs and outputs have the same places.

    Raises:
        RefusedError: the file is damaged, or TFLM does not start it; with its own words.
        DeviceUnavailableError: the package is not installed.
    """

    ordered = True
    device = Device.TFLM

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> None:
        _require()
        self.path = path
        facts = read_tflite(path)
        self._inputs, self._outputs = _ends(path, facts, options.key)
        self.notes = () if facts.signatures else (NOTE,)
        self._content = path.read_bytes() if content is None else content
        found, self._room = tflm_arena.start(self._content, len(self._inputs))
        if not found.ok:
            _refused(path, found)
        self._interpreter = tflm_arena.interpreter(self._content, self._room)
        inputs = {name: self._interpreter.get_input_details(place) for name, place in self._inputs}
        outputs = {name: self._interpreter.get_output_details(place) for name, place in self._outputs}
        self.signature = Signature(_specs(inputs), _specs(outputs))
        self.quantization = _quantization({**inputs, **outputs})
        self._keeps_state = has_variables(self._content)

    @cached_property
    def arena(self) -> tflm_arena.Arena | None:
        return tflm_arena.measure(self._content, self._room, len(self._inputs))

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        feeds = base.ordered_inputs(self.signature, inputs, self.path)
        return run_in_fixed_batches(self.signature, feeds, self._run)

    def refuses(self, feeds: Arrays) -> bool:
        return base.turned_away(self._run, base.ordered_inputs(self.signature, feeds, self.path))

    def _run(self, feeds: Arrays) -> Arrays:
        try:
            if self._keeps_state:
                self._interpreter.reset()
            for name, place in self._inputs:
                self._interpreter.set_input(feeds[name], place)
            self._interpreter.invoke()
            return {name: np.array(self._interpreter.get_output(place)) for name, place in self._outputs}
        except Exception as cause:
            base.failed(self.path, cause)


def arena_of(request: Message, _channel: Channel) -> Message:
    """The arena of the file at `path`: a worker's step, for whoever did not have it judged there. Raises as the
    runtime."""
    measured = TflmRuntime(Path(request["path"])).arena
    return {"arena": None if measured is None else vars(measured)}


def _require() -> None:
    if find_spec("tflite_micro") is None:
        raise base.DeviceUnavailableError(
            "tflm is not available: the package tflite-micro is not installed.", next_step=f"Run {INSTALL}."
        )


def _ends(path: Path, facts: TfliteFacts, key: str | None) -> tuple[_Ends, _Ends]:
    """The inputs and outputs by name, in the file's order. Raises RefusedError where TFLM could not be fed so."""
    signature = facts.signature(key)
    sides = (facts.inputs, facts.outputs)
    if open_sizes := [fact.name for fact in facts.inputs if None in (fact.shape or ())[1:]]:
        _unfit(path, f"it leaves sizes of {', '.join(open_sizes)} open, and TFLM runs fixed shapes alone")
    if signature is None and facts.signatures:
        _unfit(path, f"of its signatures {facts.keys} none is the default (--signature NAME chooses)")
    if signature is None:
        named = facts.by_tensors
        return _numbered(named.inputs), _numbered(named.outputs)
    inputs, outputs = (_placed(path, named, side) for named, side in zip(signature.tensors, sides, strict=True))
    return inputs, outputs


def _numbered(facts: Sequence[TensorFact]) -> _Ends:
    return tuple((fact.name, place) for place, fact in enumerate(facts))


def _placed(path: Path, named: Mapping[str, str], side: Sequence[TensorFact]) -> _Ends:
    """The signature's names in the order of the first subgraph, which is the one that TFLM runs."""
    places = {fact.name: place for place, fact in enumerate(side)}
    if len(places) != len(side) or not {*named.values()} <= places.keys():
        _unfit(path, "its signature is not that of its first subgraph, which is the one that TFLM runs")
    return tuple(sorted(((name, places[tensor]) for name, tensor in named.items()), key=lambda end: end[1]))


def _specs(tensors: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, tuple(int(size) for size in details["shape"]), np.dtype(details["dtype"]).name)
        for name, details in tensors.items()
    )


def _quantization(tensors: Mapping[str, Any]) -> dict[str, tuple[float, int]]:
    found = {name: details["quantization_parameters"] for name, details in tensors.items()}
    return {
        name: (float(told["scales"][0]), int(told["zero_points"][0]) if len(told["zero_points"]) else 0)
        for name, told in found.items()
        if len(told["scales"]) == 1 and told["scales"][0]
    }


def _unfit(path: Path, why: str) -> NoReturn:
    raise RefusedError(
        f"{path.name} cannot be run by TensorFlow Lite for Microcontrollers: {why}.",
        next_step="Export the model with --batch 1 and every size known (--shape).",
        file=path,
    )


def _refused(path: Path, found: tflm_arena.Start) -> NoReturn:
    how = f"ends its process ({found.ended})" if found.ended else "refuses it"
    words = f", in its words: {found.words}" if found.words else " and says nothing"
    raise RefusedError(
        f"{path.name} does not start in TensorFlow Lite for Microcontrollers, which {how}{words}",
        next_step="Ship another artifact of the model there: its kernels are those of int8, int16x8 and float32.",
        file=path,
    )
