"""The worker's side of the self-test: breaks the model, runs it, has it written; then measures what was not caught."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from converters.arrays import Arrays
from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import loaded_model
from converters.errors import EdgeportError
from converters.isolation import Channel, Message, error_document, resolve
from converters.signature import Signature
from validate.agreement.arrays import read
from validate.agreement.judging.metrics import row_errors
from validate.agreement.plan import Plan
from validate.agreement.worker.batches import run_batches
from validate.agreement.worker.oracle import float64_clone, float64_default
from validate.agreement.worker.taps.function import TappedFunction
from validate.mutants.catalogue import HEALTHY, Survey, broken
from validate.mutants.faults import MUTATIONS
from validate.runtimes import RuntimeOptions
from validate.runtimes.keras import KerasRuntime

KERAS = "keras"
_MUTATION_BY_NAME = {mutation.name: mutation for mutation in MUTATIONS}
_EFFECT_SAMPLES = 8


def break_model(request: Message, channel: Channel) -> Message:
    """Breaks the checkpoint in each of the ways that `mutants` names, one after the other.

    With `first_look` the model in memory runs the samples alone.

    Events: `{loaded}`, then as `converters.isolation.batch` reads them. While a mutant is in hand: `{layer}` when it
    has a place (null where no single layer is broken), `{subject, ran}` for the model in memory and `{subject, path}`
    or `{subject, unwritten}` for each format, also of the healthy model (`HEALTHY`); `path` is the parent's to remove.
    Its result is `{place}`: whether the model has one.
    """
    job = _Job(request)
    survey = job.survey()
    channel.event(loaded=True)
    for name in request["mutants"]:
        channel.event(item=name)
        place = None if name == HEALTHY else _MUTATION_BY_NAME[name].find(job.model, survey)
        if name == HEALTHY:
            job.write_all(name, channel)
        elif place is not None:
            channel.event(item=name, layer=place.layer)
            with broken(job.model, place):
                channel.event(item=name, subject=KERAS, ran=job.run(job.work / f"mutant-{name}"))
                job.write_all(name, channel)
        channel.event(item=name, result={"place": name == HEALTHY or place is not None})
    return {}


def measure_effects(request: Message, _channel: Channel) -> Message:
    """How far each named fault moves the float64 oracle in each of the first samples, by output name, over the logits
    where there are any."""
    job = _Job(request)
    survey = job.survey()
    places = [(name, _MUTATION_BY_NAME[name].find(job.model, survey)) for name in request["mutants"]]
    few = {name: array[:_EFFECT_SAMPLES] for name, array in job.inputs.items()}
    with float64_default():
        clone = float64_clone(job.model)
        before = _values(loaded_model(clone), job.loaded.signature, few)
        effects = {}
        for name, place in places:
            assert place is not None
            with broken(clone, place):
                after = _values(loaded_model(clone), job.loaded.signature, few)
            effects[name] = {key: row_errors(after[key], before[key]).tolist() for key in before}
    return {"effects": effects}


def _values(loaded: Loaded, signature: Signature, inputs: Mapping[str, Any]) -> Arrays:
    exact = TappedFunction(loaded.function, loaded.signature)
    names = dict(zip(signature.input_names, loaded.signature.input_names, strict=True))
    outputs, logits = exact.run({names[key]: value for key, value in inputs.items()})
    return {**outputs, **logits}


class _Job:
    """The checkpoint, loaded once, and the inputs that the reference ran on."""

    def __init__(self, request: Message) -> None:
        self.work, self.request = Path(request["work"]), request
        options = RuntimeOptions(threads=request["threads"], opening=LoadOptions.from_json(request["opening"]))
        self.loaded = KerasRuntime(Path(request["path"]), options).loaded
        self.model = self.loaded.model
        self.plan = Plan.from_json(request["plan"])
        if request.get("first_look", False):
            self.plan = self.plan.first_look
        names = self.loaded.signature.input_names
        self.inputs: dict[str, Any] = {name: read(self.work / "inputs", "in", k) for k, name in enumerate(names)}

    def survey(self) -> Survey:
        """The range of each activation on the first samples."""
        tapped = TappedFunction(self.loaded.function, self.loaded.signature, watched=True)
        tapped.run({name: array[:_EFFECT_SAMPLES] for name, array in self.inputs.items()})
        return tapped.extremes.ranges

    def run(self, folder: Path) -> Message:
        """The model as it is now, in float32: what a candidate's worker would write."""
        loaded = loaded_model(self.model)
        tapped = TappedFunction(loaded.function, loaded.signature)
        run_batches(tapped.run, self.inputs, self.plan, self.loaded.signature, folder, lambda _share: None)
        return {"problems": [], "notes": [], "kinds": tapped.kinds, "ran": True}

    def write_all(self, name: str, channel: Channel) -> None:
        """The model as it is now, in every format."""
        for fmt in self.request["formats"]:
            channel.event(item=name, subject=fmt, **self._write(name.replace(" ", "-"), fmt))

    def _write(self, name: str, fmt: str) -> dict[str, Any]:
        make: Callable[..., Any] = resolve(self.request["make"])
        folder = self.work / f"made-{name}-{fmt}"
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier look left, where nothing could be written
        folder.mkdir()
        try:
            return {"path": str(make(self.model, fmt, "float32", folder))}
        except EdgeportError as error:
            return {"unwritten": error_document(error)}
