"""The worker's side of a comparison: run the reference, the oracle and the candidates, write what they give.

The folder of one comparison: `inputs/in.<k>`, `reference/{out,logits,out1,logits1}.<k>`, `oracle/{out,logits}.<k>` and
`<candidate>/{out,logits,out1,logits1}.<k>`, all `.npy`, k being the place in the reference's signature; a `1` stands
for the small batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.checkpoints.opening import Opening
from converters.errors import EdgeportError, StepError
from converters.isolation import Channel, Message
from converters.signature import Signature
from validate import inputs as inputs_of
from validate.agreement.arrays import Writer, read
from validate.agreement.cache import cache_key, recall, remember
from validate.agreement.plan import Plan, make_plan, small_batches
from validate.agreement.special import special_values
from validate.agreement.structure import compare_structure
from validate.agreement.taps import Tapped, open_tapped
from validate.agreement.taps.quantized import in_floats
from validate.runtimes import Arrays, RuntimeOptions, fixed_batch

Run = Callable[[Mapping[str, Any]], tuple[Arrays, Arrays]]

_UNKNOWN_SIZES = (inputs_of.UNKNOWN_SIZE, 64, 128, 16, 8)


def run_reference(request: Message, channel: Channel) -> Message:
    """Loads the reference, makes or reads the inputs, runs it and its oracle.

    Returns:
        `signature`, `plan`, `kinds` (output name to softmax or sigmoid), `ranges`, `has_labels` and `notes`.
    """
    work, path = Path(request["work"]), Path(request["path"])
    options = RuntimeOptions(threads=request["threads"], opening=Opening.from_json(request["opening"]))
    tapped = open_tapped(path, options, work / "taps" / "reference")
    signature = tapped.runtime.signature
    given = inputs_that_run(request, tapped, signature)
    inputs = given.arrays
    with Writer(work / "inputs", "in", signature.input_names, given.samples) as writer:
        writer.append(inputs, given.samples)
    if given.labels is not None:
        np.save(work / "labels.npy", given.labels, allow_pickle=False)
    plan = _plan(tapped, inputs, given.samples, signature)
    notes = [*given.notes, *tapped.runtime.notes]
    run_batches(tapped.run, inputs, plan, signature, work / "reference", lambda f: channel.event(fraction=0.5 * f))
    reason = _cached_oracle(request, inputs, plan, work / "oracle", lambda folder: _run_oracle(
        tapped, inputs, plan, folder, lambda f: channel.event(fraction=0.5 + 0.5 * f)
    ))  # fmt: skip
    if reason is not None:
        plan = Plan(plan.samples, plan.singles, plan.batch, 0)
        notes.append(f"There is no float64 oracle for {path.name}: {reason}.")
    unexercised = _unexercised(tapped)  # before special values pass through the same watches
    return {
        "signature": signature.to_json(), "plan": plan.to_json(), "kinds": tapped.kinds,
        "ranges": {name: limits.to_json() for name, limits in given.ranges.items()}, "notes": notes,
        "has_labels": given.labels is not None, "unexercised": unexercised,
        "special": special_values(tapped.run, _first(inputs, signature)),
    }  # fmt: skip


def _unexercised(tapped: Tapped) -> list[str]:
    """Layers whose activations bend where no input came, see `coverage`; an artifact does not tell."""
    extremes = getattr(tapped, "extremes", None)
    return [] if extremes is None else list(extremes.unexercised())


def inputs_that_run(request: Message, tapped: Any, signature: Signature) -> inputs_of.Inputs:
    """The given inputs, or drawn ones; unknown dimensions get the first size that the model accepts."""
    if request["inputs"] is not None:
        return inputs_of.read(Path(request["inputs"]), signature)
    sizes = _UNKNOWN_SIZES if any(spec.is_dynamic for spec in signature.inputs) else _UNKNOWN_SIZES[:1]
    options = _drawing(request, tapped, signature)
    refusals: list[StepError] = []
    for size in sizes:
        given = inputs_of.generate(signature, replace(options, unknown_size=size))
        try:
            tapped.run(_first(given.arrays, signature))
        except StepError as error:
            refusals.append(error)
        else:
            return given
    raise refusals[0]


def _drawing(request: Message, tapped: Any, signature: Signature) -> inputs_of.InputOptions:
    model = _model(tapped)
    hints = {}
    if model is not None:
        from converters.checkpoints.ranges import input_hints

        hints = input_hints(model)
    fixed = fixed_batch(signature) or 1
    wanted = tuple(request["input_range"]) if request["input_range"] else None
    return inputs_of.InputOptions(-(-int(request["samples"]) // fixed) * fixed, request["seed"], wanted, hints)


def _first(inputs: Arrays, signature: Signature) -> Arrays:
    """As few samples as the model takes at once."""
    return {name: array[: fixed_batch(signature) or 1] for name, array in inputs.items()}


def _model(tapped: Any) -> Any:
    """The Keras model behind a checkpoint; None for an artifact."""
    return getattr(getattr(tapped, "loaded", None), "model", None)


def _plan(tapped: Tapped, inputs: Arrays, samples: int, signature: Signature) -> Plan:
    fixed = fixed_batch(signature)
    few = _first(inputs, signature)
    outputs, logits = tapped.run(few)
    arrays = [*few.values(), *outputs.values(), *logits.values()]
    row_bytes = sum(array.nbytes for array in arrays) // (fixed or 1)
    model = _model(tapped)
    return make_plan(samples, row_bytes, model.count_params() if model is not None else 0, fixed)


def _cached_oracle(
    request: Message, inputs: Arrays, plan: Plan, folder: Path, run: Callable[[Path], str | None]
) -> str | None:
    """The oracle's outputs, from the cache where the same checkpoint ran on the same inputs before."""
    cache = request.get("cache")
    if cache is None:
        return run(folder)
    key = cache_key(Path(request["path"]), inputs, plan.oracle)
    if recall(Path(cache), key, folder):
        return None
    reason = run(folder)
    if reason is None:
        remember(Path(cache), key, folder)
    return reason


def _run_oracle(
    tapped: Tapped, inputs: Arrays, plan: Plan, folder: Path, on_progress: Callable[[float], None]
) -> str | None:
    """Writes the oracle's outputs; the reason where it cannot be had."""
    from validate.agreement.oracle import NoOracleError, float64_clone, float64_default

    model = _model(tapped)
    if model is None:
        return "it is no Keras checkpoint"
    from converters.checkpoints.loading import loaded_model
    from validate.agreement.taps.function import TappedFunction

    try:
        with float64_default():
            loaded = loaded_model(float64_clone(model))
            exact = TappedFunction(loaded.function, loaded.signature)
        if exact.narrowing is not None:
            raise NoOracleError(f"its operation {exact.narrowing} rounds to a narrower type whatever is asked for")
    except NoOracleError as cause:
        return str(cause)
    except EdgeportError as cause:
        return cause.message
    except (TypeError, ValueError, RuntimeError) as cause:  # a layer that mixes float32 constants in fails to trace
        return " ".join(f"it does not run in float64 ({type(cause).__name__}: {cause})".split())[:300]
    mine, theirs = tapped.runtime.signature, loaded.signature
    names = dict(zip(mine.input_names, theirs.input_names, strict=True))
    renamed = dict(zip(theirs.output_names, mine.output_names, strict=True))

    def run(arrays: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
        outputs, logits = exact.run({names[key]: value for key, value in arrays.items()})
        return {renamed[k]: v for k, v in outputs.items()}, {renamed[k]: v for k, v in logits.items()}

    few = Plan(plan.oracle, 0, min(plan.batch, 8) if plan.singles else plan.batch, plan.oracle)
    run_batches(run, inputs, few, mine, folder, on_progress)
    return None


def run_batches(
    run: Run, inputs: Mapping[str, Any], plan: Plan, signature: Signature, folder: Path,
    on_progress: Callable[[float], None],
) -> None:  # fmt: skip
    """Runs the plan's batches, then its small ones in reverse order, and writes outputs and logits in order."""
    names, total, done = signature.output_names, plan.samples + plan.singles, 0
    large = [plan.batch] * -(-plan.samples // plan.batch)
    for suffix, count, sizes in (("", plan.samples, large), ("1", plan.singles, small_batches(plan.singles))):
        with (
            Writer(folder, f"out{suffix}", names, count) as outputs,
            Writer(folder, f"logits{suffix}", names, count) as logits,
        ):
            start, turn = 0, -1 if suffix else 1
            for size in sizes:
                rows = min(size, count - start)
                part = {k: np.ascontiguousarray(v[start : start + rows][::turn]) for k, v in inputs.items()}
                values, taps = run(part)
                outputs.append({k: v[::turn] if v.ndim else v for k, v in values.items()}, rows)
                logits.append({k: v[::turn] for k, v in taps.items()}, rows)
                start += rows
                done += rows
                on_progress(done / total)


def run_candidates(request: Message, channel: Channel) -> Message:
    """Runs candidates of one runtime, one after the other; events tell which is at work and what each gave.

    Events: `{candidate, fraction}` while one runs, `{candidate, result}` or `{candidate, error}` when it is done.
    """
    reference = Signature.from_json(request["signature"])
    work = Path(request["work"])
    inputs = {name: read(work / "inputs", "in", k) for k, name in enumerate(reference.input_names)}
    for entry in request["candidates"]:
        key = entry["key"]
        channel.event(candidate=key, fraction=0.0)
        try:
            result = _run_candidate(entry, request, reference, inputs, channel)
        except EdgeportError as error:
            channel.event(candidate=key, error=error.to_json())
        else:
            channel.event(candidate=key, result=result)
    return {}


def _run_candidate(
    entry: Message, request: Message, reference: Signature, inputs: Mapping[str, Any], channel: Channel
) -> Message:
    work, options = Path(request["work"]), RuntimeOptions(threads=request["threads"])
    tapped = in_floats(open_tapped(Path(entry["path"]), options, work / "taps" / entry["key"]), reference)
    signature = tapped.runtime.signature
    problems, notes = compare_structure(
        reference, signature, ordered=tapped.runtime.ordered, fixed_batch=request["fixed_batch"]
    )
    notes = [*notes, *tapped.runtime.notes]
    result = {"problems": problems, "notes": notes, "kinds": tapped.kinds, "ran": False}
    if problems:
        return result
    plan = Plan.from_json(request["plan"])
    fixed = fixed_batch(signature)
    if fixed is not None and fixed > 1:
        plan = Plan(plan.samples, 0, -(-plan.batch // fixed) * fixed, plan.oracle)

    def report(fraction: float) -> None:
        channel.event(candidate=entry["key"], fraction=fraction)

    run_batches(tapped.run, inputs, plan, reference, work / entry["key"], report)
    few = {name: np.array(array[: fixed or 1]) for name, array in inputs.items()}
    return {**result, "ran": True, "special": special_values(tapped.run, few)}
