"""The worker's side of a comparison: open the candidates of one runtime, run them, write what they give."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.compat.patch import noting
from converters.errors import EdgeportError
from converters.isolation import Channel, Message, error_document
from converters.signature import Signature
from validate.agreement.arrays import read
from validate.agreement.plan import Plan
from validate.agreement.structure import compare_structure
from validate.agreement.worker.batches import Run, in_whole_batches, read_inputs, run_batches
from validate.agreement.worker.mapping import Names, Trial, renamed
from validate.agreement.worker.special_values import special_values
from validate.agreement.worker.taps import Tapped, open_tapped
from validate.runtimes import DeviceUnavailableError, fixed_batch, runtime_of
from validate.runtimes.base import Runtime
from validate.runtimes.devices import Device
from validate.runtimes.quantized import FloatEnds
from validate.runtimes.variant import Variant
from validate.written import written


def run_candidates(request: Message, channel: Channel) -> Message:
    """Runs candidates of one runtime, one after the other; events tell which is at work and what each gave.

    Events: `{item, fraction}` while one runs, `{item, result}` or `{item, error}` when it is done.
    """
    reference = Signature.from_json(request["signature"])
    work = Path(request["work"])
    inputs = read_inputs(work, reference)
    for entry in request["candidates"]:
        key = entry["key"]
        channel.event(item=key, fraction=0.0)
        try:
            with noting() as left_out:
                result = _run_candidate(entry, request, reference, inputs, channel)
        except DeviceUnavailableError as error:
            told = {"reason": error.message, "next": error.next_step}
            channel.event(item=key, result={"unavailable": told})
        except EdgeportError as error:
            channel.event(item=key, error=error_document(error))
        else:
            channel.event(item=key, result={**result, "notes": [*result["notes"], *left_out]})
    return {}


def _run_candidate(
    entry: Message, request: Message, reference: Signature, inputs: Mapping[str, Any], channel: Channel
) -> Message:
    work, path, device = Path(request["work"]), Path(entry["path"]), Device(entry["device"])
    options = Variant.from_json(entry["variant"]).options(device, request["threads"])
    options = replace(options, machine=entry["machine"], signature=request.get("key"))
    tapped = open_tapped(path, options, work / "taps" / entry["key"])
    runtime = runtime_of(path, device)
    version = tapped.runtime.version or runtime.version
    ran = {"runtime": runtime.name, "runtime_version": version, "arithmetic": tapped.runtime.arithmetic}
    if not request.get("first_look", False):
        ran["arena"] = written(tapped.runtime.arena)
    mapping: Names = {}
    told: list[str] = []
    if request.get("mapping") is not None:
        trial = _trial(work, reference, inputs, fixed_batch(tapped.runtime.signature) or 1)
        tapped, mapping, told = renamed(tapped, reference, request["mapping"], trial)
    tapped = in_floats(tapped, reference)
    signature = tapped.runtime.signature
    problems, notes = compare_structure(
        reference,
        signature,
        ordered=tapped.runtime.ordered,
        fixed_batch=request["fixed_batch"],
        theirs=request.get("mapping") is not None,
    )
    notes = [*told, *notes, *tapped.runtime.notes]
    result = {"problems": problems, "notes": notes, "kinds": tapped.kinds, "mapping": mapping, "ran": False, **ran}
    if problems:
        return result
    plan, first_look = Plan.from_json(request["plan"]), request.get("first_look", False)
    few_alone = entry["few"] is not None
    plan = plan.first_look if first_look else plan.few(entry["few"]) if few_alone else plan
    fixed = fixed_batch(signature)
    run: Run = tapped.run
    if fixed is not None and fixed > 1:
        plan = replace(plan, singles=0, wide=0, batch=-(-plan.batch // fixed) * fixed)
        run = in_whole_batches(run, fixed)

    def report(fraction: float) -> None:
        channel.event(item=entry["key"], fraction=fraction)

    run_batches(run, inputs, plan, reference, work / entry["key"], report)
    if first_look:
        return {**result, "ran": True}
    result |= {
        "ran": True,
        "answers": _digest(work / entry["key"]),
        "first_answers": _first_digest(work / entry["key"], entry["first"]),
    }
    if few_alone:  # what else is tried of a file is the host's
        return result
    few = {name: np.array(array[: fixed or 1]) for name, array in inputs.items()}
    return {
        **result,
        "special": special_values(tapped.run, few),
        "accepted": shapes_accepted(tapped.runtime, few),
    }


def default_arithmetic(_request: Message, _channel: Channel) -> Message:
    """What OpenVINO computes float32 files in on this processor, told nothing: `arithmetic`, None where that is float32
    or OpenVINO is not there."""
    from validate.runtimes.openvino import default_arithmetic as told

    try:
        return {"arithmetic": told()}
    except DeviceUnavailableError:
        return {"arithmetic": None}


def _digest(folder: Path) -> str:
    """Of every answer of a candidate, bit for bit."""
    sha = hashlib.sha256()
    for file in sorted(folder.glob("*.npy")):
        sha.update(f"{file.name} ".encode())
        with file.open("rb") as content:
            sha.update(hashlib.file_digest(content, "sha256").digest())
    return sha.hexdigest()


def _first_digest(folder: Path, count: int) -> str:
    """Of a candidate's outputs for the first samples."""
    sha = hashlib.sha256()
    for file in sorted(folder.glob("out.*.npy")):
        sha.update(np.ascontiguousarray(np.load(file, mmap_mode="r")[:count]).tobytes())
    return sha.hexdigest()


def _trial(work: Path, reference: Signature, inputs: Mapping[str, Any], batch: int) -> Trial:
    """The first samples, as many as the file takes at once where it takes more than one."""
    rows = max(batch, 4) // batch * batch
    truths = {name: read(work / "reference", "out", k) for k, name in enumerate(reference.output_names)}
    return Trial(
        {name: np.array(array[:rows]) for name, array in inputs.items()},
        {name: np.array(array[:rows]) for name, array in truths.items() if array is not None},
    )


def shapes_accepted(runtime: Runtime, few: Arrays) -> dict[str, list[int]]:
    """By input, a shape that the file takes though it states another: one more along a dimension that it fixes.

    Nothing is told of runtimes that cannot be asked (files with integer ends).
    """
    shapes: dict[str, list[int]] = {}
    for spec in runtime.signature.inputs:
        for axis in [k for k, size in enumerate(spec.shape) if isinstance(size, int) and size > 0]:
            longer = _longer(few[spec.name], axis)
            if runtime.refuses({**few, spec.name: longer}) is False:
                shapes[spec.name] = list(longer.shape)
    return shapes


def _longer(array: Array, axis: int) -> Array:
    """One more along the axis, the last repeated."""
    longer: Array = np.concatenate([array, np.take(array, [-1], axis=axis)], axis=axis)
    return longer


def in_floats(tapped: Tapped, reference: Signature) -> Tapped:
    """The same file with float ends, where the reference has floats and the file has integers with a scale."""
    floats = {s.name for s in (*reference.inputs, *reference.outputs) if s.dtype.startswith("float")}
    ends = FloatEnds(tapped.runtime, floats)
    return _TappedFloatEnds(tapped, ends) if ends.ends else tapped


class _TappedFloatEnds(Tapped):
    def __init__(self, tapped: Tapped, ends: FloatEnds) -> None:
        self._tapped, self._ends = tapped, ends
        self.runtime: Runtime = ends
        self.kinds = tapped.kinds

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        outputs, logits = self._tapped.run(self._ends.in_codes(inputs))
        return self._ends.in_floats(outputs), logits
