"""Runs the batches of a plan and writes what they give. Worker side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.signature import Signature
from validate.agreement.arrays import Writer, read
from validate.agreement.plan import Plan, small_batches
from validate.runtimes import Arrays

Run = Callable[[Mapping[str, Any]], tuple[Arrays, Arrays]]


def read_inputs(work: Path, signature: Signature) -> dict[str, Any]:
    """The inputs of a comparison by name, mapped from disk."""
    return {name: read(work / "inputs", "in", k) for k, name in enumerate(signature.input_names)}


def run_batches(
    run: Run, inputs: Mapping[str, Any], plan: Plan, signature: Signature, folder: Path,
    on_progress: Callable[[float], None],
) -> None:  # fmt: skip
    """Runs the plan's batches, then its small ones in reverse order, and writes outputs and logits in order."""
    names, total, done = signature.output_names, plan.total + plan.singles, 0
    large = [plan.batch] * -(-plan.total // plan.batch)
    for suffix, count, sizes in (("", plan.total, large), ("1", plan.singles, small_batches(plan.singles))):
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
