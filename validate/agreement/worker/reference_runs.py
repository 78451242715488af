"""The worker's side of a comparison: run the reference, the oracle and the reduced precisions, write what they give.

The folder of one comparison: `inputs/in.<k>`, `reference/{out,logits,out1,logits1}.<k>`, `oracle/{out,logits}.<k>`,
`{oracle,ensemble}/noise_{out,logits}.<k>` (float32's noise by sample, of the first runs and of all, see `ensemble`),
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

from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.identify import confirm
from converters.checkpoints.load_options import LoadOptions
from converters.compat.patch import noting
from converters.errors import StepError
from converters.isolation import Channel, Message
from converters.signature import Signature
from validate import inputs as inputs_of
from validate.agreement.arrays import Writer
from validate.agreement.judging.gates import computed
from validate.agreement.plan import Plan, make_plan
from validate.agreement.worker.batches import Run, read_inputs, run_batches
from validate.agreement.worker.doubts import Doubt, EagerTapped, find_doubt
from validate.agreement.worker.ensemble import ALL
from validate.agreement.worker.inputs_that_run import first_samples, inputs_that_run
from validate.agreement.worker.oracle_runs import cached, rows_of_oracle, run_oracle, run_rest, uncached_if_eager
from validate.agreement.worker.special_values import special_values
from validate.agreement.worker.taps import Tapped, open_tapped
from validate.runtimes import RuntimeOptions, fixed_batch


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
    work, tapped = Path(request["work"]), _opened(request)
    signature = tapped.runtime.signature
    inputs = inputs_that_run(request, tapped.runtime, tapped.loaded, lambda feeds: tapped.run(feeds)[0])
    if inputs.labels is not None:
        np.save(work / "labels.npy", inputs.labels, allow_pickle=False)
    given, notes = tapped, [*inputs.notes, *tapped.runtime.notes]
    plan, arrays, told = _run_with_oracle(tapped, inputs, request, lambda f: channel.event(fraction=0.8 * f))
    unexercised = _unexercised(given)
    doubt = _doubt(request, tapped, arrays, plan)
    if doubt is not None and doubt.graph_is_wrong:
        for folder in ("reference", "oracle", ALL):
            shutil.rmtree(work / folder, ignore_errors=True)
        tapped = EagerTapped(given)
        plan, arrays, told = _run_with_oracle(tapped, inputs, request, lambda _share: None)
    notes += told
    special = special_values(tapped.run, first_samples(arrays, signature))
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
        "eager": isinstance(tapped, EagerTapped),
    }


def run_all_noise(request: Message, channel: Channel) -> Message:
    """Opens the checkpoint again and makes the runs of the ensemble that were not made, see `run_rest`."""
    tapped: Tapped = _opened(request)
    if request["eager"]:
        tapped = EagerTapped(tapped)
    inputs = read_inputs(Path(request["work"]), tapped.runtime.signature)
    plan = Plan.from_json(request["plan"])
    run_rest(request, tapped, inputs, plan, lambda f: channel.event(fraction=f))
    return {}


def _opened(request: Message) -> Tapped:
    checkpoint = Checkpoint.from_json(request["checkpoint"]) if request["checkpoint"] else None
    if checkpoint is not None:
        confirm(checkpoint)
    options = RuntimeOptions(
        threads=request["threads"], opening=LoadOptions.from_json(request["opening"]), checkpoint=checkpoint
    )
    return open_tapped(Path(request["path"]), options, Path(request["work"]) / "taps" / "reference")


def _doubt(request: Message, tapped: Tapped, inputs: Mapping[str, Any], plan: Plan) -> Doubt | None:
    """Where the reference parts from itself; more than the first runs of the ensemble may excuse it."""
    work, loaded = Path(request["work"]), tapped.loaded
    if loaded is None or loaded.model is None:
        return None
    doubt = find_doubt(loaded, inputs, work, work / "oracle")
    if doubt is None or not plan.oracle:
        return doubt
    run_rest(request, tapped, inputs, plan, lambda _share: None)
    return find_doubt(loaded, inputs, work, work / ALL)


def _run_with_oracle(
    tapped: Tapped, inputs: inputs_of.Inputs, request: Message, on_progress: Callable[[float], None]
) -> tuple[Plan, dict[str, Any], list[str]]:
    """Writes the inputs, runs them, and the oracle on the first of them; the plan, the inputs and notes."""
    work, path = Path(request["work"]), Path(request["path"])
    plan, notes = _run_plan(tapped, inputs, request, lambda f: on_progress(0.4 * f))
    arrays = read_inputs(work, tapped.runtime.signature)
    few = {name: rows_of_oracle(array, plan) for name, array in arrays.items()}
    reason = cached(
        uncached_if_eager(request, tapped),
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


def _model(tapped: Tapped) -> Any:
    """The Keras model behind a checkpoint; None for an artifact."""
    return None if tapped.loaded is None else tapped.loaded.model


def _plan(tapped: Tapped, inputs: inputs_of.Inputs, signature: Signature) -> Plan:
    fixed = fixed_batch(signature)
    few = first_samples(inputs.arrays, signature)
    outputs, logits = tapped.run(few)
    arrays = [*few.values(), *outputs.values(), *logits.values()]
    row_bytes = sum(array.nbytes for array in arrays) // (fixed or 1)
    model = _model(tapped)
    plan = make_plan(inputs.samples, row_bytes, model.count_params() if model is not None else 0, fixed)
    return replace(plan, steps=plan.oracle // plan.batch * plan.batch) if signature.states else plan
