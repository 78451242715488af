"""Judges honest artifacts of one checkpoint on many seeds, in one process: `repeat_seeds.py CHECKPOINT SEEDS FILE...`.

Prints as JSON, by file, how often it did not agree and the greatest noise ratio.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from converters.checkpoints.loading import loaded_model
from converters.checkpoints.ranges import input_hints
from converters.formats import Precision
from validate import inputs as inputs_of
from validate.agreement.judging.gates import gate_for
from validate.agreement.judging.judge import judge_output
from validate.agreement.judging.reference_values import Candidate, Reference
from validate.agreement.plan import make_plan
from validate.agreement.worker.batches import run_batches
from validate.agreement.worker.ensemble import Subject, measure_noise
from validate.agreement.worker.oracle import float64_clone, float64_default
from validate.agreement.worker.taps import open_tapped
from validate.agreement.worker.taps.function import TappedFunction
from validate.runtimes import RuntimeOptions


def main(checkpoint: Path, seeds: int, files: list[Path]) -> dict[str, Any]:
    options = RuntimeOptions(threads=2)
    with tempfile.TemporaryDirectory() as scratch:
        tapped: Any = open_tapped(checkpoint, options, Path(scratch) / "taps")
        model, signature = tapped.loaded.model, tapped.runtime.signature
        with float64_default():
            loaded = loaded_model(float64_clone(model))
            exact = TappedFunction(loaded.function, loaded.signature)
        candidates = {file.name: open_tapped(file, options, Path(scratch) / file.name) for file in files}
        found: dict[str, dict[str, float]] = {name: {"alarms": 0} for name in candidates}
        for seed in range(seeds):
            work = Path(scratch) / "run"
            given = inputs_of.generate(signature, inputs_of.InputOptions(16, seed, None, input_hints(model)))
            plan = make_plan(16, 1000, model.count_params(), None)
            more = inputs_of.edge_cases(given.arrays, given.ranges, seed, plan.saturating)
            arrays = {name: np.concatenate([array, more[name]]) for name, array in given.arrays.items()}
            runs = {"reference": tapped.run, "oracle": exact.run, **{n: c.run for n, c in candidates.items()}}
            for name, run in runs.items():
                run_batches(run, arrays, plan, signature, work / name, lambda _share: None)
            few = {name: array.astype("float32", copy=False) for name, array in arrays.items()}
            measure_noise(Subject(tapped.run, model, signature, plan.batch), few, work / "oracle")
            reference = Reference(work, plan, signature.output_names, dict(tapped.kinds))
            for name, candidate in candidates.items():
                there = Candidate(work / name, dict(candidate.kinds))
                row = judge_output(reference, {}, there, 0, gate_for(Precision.FLOAT32, {}))
                found[name]["alarms"] += row.status != "agree"
                for kind, ratio in row.noise_ratios.items():
                    found[name][kind] = max(found[name].get(kind, 0.0), ratio)
        return found


if __name__ == "__main__":
    print("RESULT" + json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), [Path(p) for p in sys.argv[3:]])))
