"""Runs the batches of a plan and writes what they give. Worker side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Arrays
from converters.signature import Signature
from validate.agreement.arrays import Writer, read
from validate.agreement.plan import Plan, small_batches

Run = Callable[[Mapping[str, Any]], tuple[Arrays, Arrays]]


def read_inputs(work: Path, signature: Signature) -> dict[str, Any]:
    """The inputs of a comparison by name, mapped from disk."""
    return {name: read(work / "inputs", "in", k) for k, name in enumerate(signature.input_names)}


def run_batches(
    run: Run,
    inputs: Mapping[str, Any],
    plan: Plan,
    signature: Signature,
    folder: Path,
    on_progress: Callable[[float], None],
) -> None:
    """Runs the plan's batches, then its small ones in reverse order and its wide one, and writes what they give.

    The rows of the small batches are written in order, those of the wide one as `Plan.wide_rows` has them. The steps of
    a step model are run last: each is fed the states that the one before gave, the first the initial ones.
    """
    passes, done = _passes(plan), 0
    total = sum(len(rows) for batches in passes.values() for rows in batches)
    for suffix, batches in passes.items():
        count, turn = sum(len(rows) for rows in batches), -1 if suffix == SMALL else 1
        with (
            Writer(folder, f"out{suffix}", signature.output_names, count) as outputs,
            Writer(folder, f"logits{suffix}", signature.output_names, count) as logits,
        ):
            fed = _initial_states(signature) if suffix == SEQUENCE else {}
            for rows in batches:
                part = {k: np.ascontiguousarray(v[rows][::turn]) for k, v in inputs.items()}
                values, taps = run({**part, **fed})
                fed = {state.input: values[state.output] for state in signature.states if fed}
                outputs.append({k: v[::turn] if v.ndim else v for k, v in values.items()}, len(rows))
                logits.append({k: v[::turn] for k, v in taps.items()}, len(rows))
                done += len(rows)
                on_progress(done / total)


SMALL, WIDE, SEQUENCE = "1", "32", "steps"
"""The suffixes of the stem of the small batches, of the wide one and of the steps of one long run."""


def _initial_states(signature: Signature) -> Arrays:
    return {state.input: np.full(state.shape, state.initial, state.dtype) for state in signature.states}


def _passes(plan: Plan) -> dict[str, list[list[int]]]:
    """By suffix, the samples of each batch. Samples of different kinds share none: a file may scale a whole batch by
    its maximum (ONNX' DynamicQuantizeLinear)."""
    ends = (plan.samples, plan.samples + plan.structured, plan.total)
    large = [
        list(range(k, min(k + plan.batch, end)))
        for begin, end in pairwise((0, *ends))
        for k in range(begin, end, plan.batch)
    ]
    small, start = [], 0
    for size in small_batches(plan.singles):
        small.append(list(range(start, start + size)))
        start += size
    steps = [list(range(k, k + plan.batch)) for k in range(0, plan.steps, plan.batch)]
    passes = {"": large, SMALL: small, WIDE: [plan.wide_rows] if plan.wide else [], SEQUENCE: steps}
    return {suffix: batches for suffix, batches in passes.items() if batches}


def in_whole_batches(run: Run, size: int) -> Run:
    """The same for any number of samples, where `run` takes multiples of `size` alone: the last are run again."""

    def padded(arrays: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
        rows = min(len(array) for array in arrays.values())
        missing = -rows % size
        if not missing:
            return run(arrays)
        more = {k: np.concatenate([v, np.resize(v, (missing, *v.shape[1:]))]) for k, v in arrays.items()}
        outputs, logits = run(more)
        return {k: v[:rows] for k, v in outputs.items()}, {k: v[:rows] for k, v in logits.items()}

    return padded
