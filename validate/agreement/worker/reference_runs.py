"""The worker's side of a comparison: run the reference, the oracle and the reduced precisions, write what they give.

The folder of one comparison: `inputs/in.<k>`, `reference/{out,logits,out1,logits1}.<k>`, `oracle/{out,logits}.<k>`,
`oracle/noise_{out,logits}.<k>` (float32's noise by sample, see `ensemble`),
`rounded/<precision>-<draw>/{out,logits}.<k>` and `<candidate>/{out,logits,out1,logits1,out32,logits32}.<k>`, all
`.npy`, k being the place in the reference's signature; a `1` stands for the small batches, `32` for the wide one. Of a
step model there are `{out,logits}steps.<k>` too: its first samples as one sequence. Rows come in the order of the plan:
its samples (of the oracle: the first of them), then the structured ones, then the saturating ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.identify import confirm
from converters.checkpoints.load_options import LoadOptions
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.sizes import emptied, settle
from converters.compat.patch import noting
from converters.errors import StepError, UsageError
from converters.isolation import Channel, Message
from converters.shapes import check_shapes
from converters.signature import Signature
from validate import inputs as inputs_of
from validate.agreement.arrays import Writer
from validate.agreement.judging.gates import computed
from validate.agreement.plan import Plan, make_plan
from validate.agreement.worker.batches import Run, read_inputs, run_batches
from validate.agreement.worker.doubts import EagerTapped, find_doubt
from validate.agreement.worker.oracle_runs import cached_oracle, run_oracle
from validate.agreement.worker.special_values import special_values
from validate.agreement.worker.taps import Tapped, open_tapped
from validate.runtimes import Runtime, RuntimeOptions, fixed_batch
from validate.runtimes.base import refuse_other_batches


def run_reference(request: Message, channel: Channel) -> Message:
    """Loads the reference and runs it, with a note for each part of a library that edgeport had to leave alone.

    Returns:
        As `_run_reference`.
    """
    with noting() as left_out:
        result = _run_reference(request, channel)
    return {**result, "notes": [*result["notes"], *left_out]}


def _run_reference(request: Message, channel: Channel) -> Message:
    """Loads the reference, makes or reads the inputs, runs it, its oracle and its reduced precisions.

    Returns:
        `signature`, `plan`, `kinds` (output name to softmax or sigmoid, where logits were read), `heads` (where it
        ends in one, whether they were read or not), `ranges`, `has_labels`, `notes`,
        `unexercised`, `special`, `shapes`, `texts` and `doubts`: sentences on where the reference parts from itself.
    """
    work, path = Path(request["work"]), Path(request["path"])
    checkpoint = Checkpoint.from_json(request["checkpoint"]) if request["checkpoint"] else None
    if checkpoint is not None:
        confirm(checkpoint)
    options = RuntimeOptions(
        threads=request["threads"], opening=LoadOptions.from_json(request["opening"]), checkpoint=checkpoint
    )
    tapped = open_tapped(path, options, work / "taps" / "reference")
    signature = tapped.runtime.signature
    inputs = inputs_that_run(request, tapped.runtime, tapped.loaded, lambda feeds: tapped.run(feeds)[0])
    if inputs.labels is not None:
        np.save(work / "labels.npy", inputs.labels, allow_pickle=False)
    given, notes = tapped, [*inputs.notes, *tapped.runtime.notes]
    plan, arrays, told = _run_with_oracle(tapped, inputs, request, lambda f: channel.event(fraction=0.8 * f))
    unexercised = _unexercised(given)
    doubt = None if tapped.loaded is None or tapped.loaded.model is None else find_doubt(tapped.loaded, arrays, work)
    if doubt is not None and doubt.graph_is_wrong:
        for folder in ("reference", "oracle"):
            shutil.rmtree(work / folder, ignore_errors=True)
        tapped = EagerTapped(given)
        plan, arrays, told = _run_with_oracle(tapped, inputs, request, lambda _share: None)
    notes += told
    special = special_values(tapped.run, _first(arrays, signature))
    notes += _run_rounded(request, tapped, arrays, plan, lambda f: channel.event(fraction=0.8 + 0.2 * f))
    return {
        "signature": signature.to_json(),
        "plan": plan.to_json(),
        "kinds": tapped.kinds,
        "heads": given.kinds,
        "ranges": {name: limits.to_json() for name, limits in inputs.ranges.items()},
        "texts": dict(inputs.texts),
        "notes": notes,
        "doubts": [] if doubt is None else [doubt.note],
        "has_labels": inputs.labels is not None,
        "unexercised": unexercised,
        "special": special,
        "shapes": inputs_of.run_shapes(signature, inputs.arrays),
    }


def _run_with_oracle(
    tapped: Tapped, inputs: inputs_of.Inputs, request: Message, on_progress: Callable[[float], None]
) -> tuple[Plan, dict[str, Any], list[str]]:
    """Writes the inputs, runs them, and the oracle on the first of them; the plan, the inputs and notes."""
    work, path = Path(request["work"]), Path(request["path"])
    plan, notes = _run_plan(tapped, inputs, request, lambda f: on_progress(0.4 * f))
    arrays = read_inputs(work, tapped.runtime.signature)
    few = {name: _rows(array, plan) for name, array in arrays.items()}
    cached = request if not isinstance(tapped, EagerTapped) else {**request, "cache": None}
    reason = cached_oracle(
        cached,
        few,
        work / "oracle",
        lambda folder: run_oracle(tapped, few, plan, folder, lambda f: on_progress(0.4 + 0.6 * f)),
    )
    if reason is not None:
        plan = replace(plan, oracle=0)
        notes.append(f"There is no float64 oracle for {path.name}: {reason}.")
    return plan, arrays, notes


def _run_plan(
    tapped: Tapped, inputs: inputs_of.Inputs, request: Message, on_progress: Callable[[float], None]
) -> tuple[Plan, list[str]]:
    """Writes the inputs and runs them; the samples alone, with a note, where the model does not take the edge cases."""
    work, signature = Path(request["work"]), tapped.runtime.signature

    def run(plan: Plan) -> Plan:
        _write_inputs(work, inputs, signature, plan, request["seed"])
        arrays, narrow = read_inputs(work, signature), replace(plan, wide=0)
        run_batches(tapped.run, arrays, narrow, signature, work / "reference", on_progress)
        return plan

    plan = _plan(tapped, inputs, signature)
    try:
        return run(plan), []
    except StepError as error:
        if not plan.edge_cases:
            raise
        plan = run(replace(plan, structured=0, saturating=0))
        return plan, [
            f"It is judged without structured and saturating samples, which it does not take: {error.message}"
        ]


def _write_inputs(work: Path, inputs: inputs_of.Inputs, signature: Signature, plan: Plan, seed: int) -> None:
    """Writes the given or drawn samples, then the edge cases: what a comparison runs is on disk."""
    with Writer(work / "inputs", "in", signature.input_names, plan.total) as writer:
        writer.append(inputs.arrays, inputs.samples)
        if plan.edge_cases:
            writer.append(inputs_of.edge_cases(inputs.arrays, inputs.ranges, seed, plan.saturating), plan.edge_cases)


def _rows(array: Array, plan: Plan) -> Array:
    """The inputs that the oracle runs: the first samples and the edge cases."""
    if plan.oracle == plan.samples:
        return array
    return np.concatenate([array[: plan.oracle], array[plan.samples :]])


def _run_rounded(
    request: Message, tapped: Tapped, inputs: Mapping[str, Any], plan: Plan, on_progress: Callable[[float], None]
) -> list[str]:
    """Writes what each reduced precision asked for must cost; a note for each that cannot be emulated."""
    precisions, model = [computed(name) for name in request.get("precisions", ())], _model(tapped)
    if model is None or not precisions:
        return []
    if isinstance(tapped, EagerTapped):
        return ["What reduced precisions round cannot be emulated in a wrong graph: they are judged by decibels."]
    from converters.checkpoints.loading import loaded_model
    from validate.agreement.worker.rounding import DRAWS, run_rounded
    from validate.agreement.worker.taps.function import TappedFunction

    signature, steps = tapped.runtime.signature, min(plan.steps, plan.rounded // plan.batch * plan.batch)
    few = Plan(plan.rounded, 0, plan.batch, plan.rounded, steps=steps)
    written = 0

    def write(name: str, run: Run) -> None:
        nonlocal written
        run_batches(run, inputs, few, signature, Path(request["work"]) / "rounded" / name, lambda _share: None)
        written += 1
        on_progress(written / (len(precisions) * len(DRAWS)))

    reasons = run_rounded(model, lambda: TappedFunction(loaded_model(model).function, signature), precisions, write)
    return [
        f"What {name} rounds cannot be emulated here ({why}): it is judged by decibels."
        for name, why in reasons.items()
    ]


def _unexercised(tapped: Tapped) -> list[str]:
    """Layers with a breakpoint that no input crossed, see `activation_coverage`; an artifact does not tell."""
    return [] if tapped.extremes is None else list(tapped.extremes.unexercised())


def inputs_that_run(
    request: Message, runtime: Runtime, loaded: Loaded | None, run: Callable[[Arrays], Arrays]
) -> inputs_of.Inputs:
    """The given inputs, or drawn ones; unknown sizes as `request["shapes"]` has them, or as the model needs them.

    Args:
        loaded: the model in memory, whose layers tell what range and size an input has; None for an artifact.

    Raises:
        UsageError: a shape that was given does not fit, or leaves a layer without values.
    """
    signature = runtime.signature
    refuse_other_batches(signature)
    given = {name: tuple(sizes) for name, sizes in request["shapes"].items()}
    if request["inputs"] is not None:
        check_shapes(signature, given)
        inputs = _read(Path(request["inputs"]), signature, given, None if loaded is None else loaded.model)
        shapes = inputs_of.run_shapes(signature, inputs.arrays)
        problem = emptied(loaded, shapes) if loaded is not None and shapes else None
        if problem is not None:
            raise UsageError(
                f"The inputs in {request['inputs']} cannot be run: {problem}.", next_step="Give larger ones."
            )
        return inputs
    options = _input_options(request, runtime, None if loaded is None else loaded.model)
    if loaded is not None:
        options = replace(options, shapes=settle(loaded, given))
    else:
        known = replace(options, texts={name: texts.narrower[-1] for name, texts in options.texts.items()})
        shapes = inputs_of.shapes_that_run(
            signature,
            given,
            lambda shapes: run(_first(inputs_of.generate(signature, replace(known, shapes=shapes)).arrays, signature)),
        )
        options = replace(options, shapes=shapes)
    if options.texts:
        texts = inputs_of.texts_that_run(
            options.texts,
            lambda texts: inputs_of.generate(signature, replace(options, texts=texts)).arrays,
            run,
            fixed_batch(signature) or 1,
        )
        options = replace(options, texts=texts)
    return inputs_of.generate(signature, options)


def _read(path: Path, signature: Signature, shapes: Mapping[str, Any], model: Any) -> inputs_of.Inputs:
    """The user's arrays; those that hold ids are known by the vocabulary that they are looked up in."""
    inputs = inputs_of.read(path, signature, shapes)
    ids = {name for name, hint in _hints(model).items() if hint.whole}
    return replace(inputs, ranges={name: replace(limits, whole=name in ids) for name, limits in inputs.ranges.items()})


def _input_options(request: Message, runtime: Runtime, model: Any) -> inputs_of.InputOptions:
    hints = _hints(model)
    fixed = fixed_batch(runtime.signature) or 1
    value_range = tuple(request["input_range"]) if request["input_range"] else None
    samples = -(-int(request["samples"]) // fixed) * fixed
    return inputs_of.InputOptions(samples, request["seed"], value_range, hints, texts=runtime.texts)


def _hints(model: Any) -> dict[str, inputs_of.Range]:
    """What the layers of a Keras model tell of its inputs; nothing of an artifact."""
    if model is None:
        return {}
    from converters.checkpoints.ranges import input_hints

    return input_hints(model)


def _first(inputs: Arrays, signature: Signature) -> Arrays:
    """As few samples as the model takes at once."""
    return {name: array[: fixed_batch(signature) or 1] for name, array in inputs.items()}


def _model(tapped: Tapped) -> Any:
    """The Keras model behind a checkpoint; None for an artifact."""
    return None if tapped.loaded is None else tapped.loaded.model


def _plan(tapped: Tapped, inputs: inputs_of.Inputs, signature: Signature) -> Plan:
    fixed = fixed_batch(signature)
    few = _first(inputs.arrays, signature)
    outputs, logits = tapped.run(few)
    arrays = [*few.values(), *outputs.values(), *logits.values()]
    row_bytes = sum(array.nbytes for array in arrays) // (fixed or 1)
    model = _model(tapped)
    plan = make_plan(inputs.samples, row_bytes, model.count_params() if model is not None else 0, fixed)
    return replace(plan, steps=plan.oracle // plan.batch * plan.batch) if signature.states else plan
