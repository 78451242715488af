"""Measures what the float32 gate is derived from: how far honest files of many architectures lie from the oracle.

    scripts/measure_agreement.py FOLDER NAME[:H,W,C]...

Builds each architecture with random weights and warmed batch norms, exports it, runs every honest road (TensorFlow,
TFLite with and without XNNPACK, ONNX Runtime at each level of optimisation) and prints the noise ratios.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 6
LEVELS = ("off", "basic", "extended", "all")


def edgeport(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "exporter.cli.main", *map(str, arguments), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 10}:  # 10: some formats were made
        raise SystemExit(done.stderr)


def export(folder: Path, given: str) -> tuple[Path, Path]:
    """The checkpoint and the folder of its three float32 files, made once."""
    name, _, shape = given.partition(":")
    checkpoint, bundle = folder / f"{name}.keras", folder / name
    if given.endswith(".keras"):
        checkpoint, bundle = Path(given), folder / Path(given).stem
    elif not checkpoint.exists():
        edgeport("build", name, "-o", checkpoint, *(("--input-shape", shape) if shape else ()))
    if not bundle.exists():
        edgeport("export", checkpoint, "-o", bundle)
    return checkpoint, bundle


def ratios(checkpoint: Path, bundle: Path) -> dict[str, float]:
    """The greatest noise ratio on the logits of every road, in batches of 1 and of all samples."""
    from converters.checkpoints.identify import identify
    from converters.checkpoints.loading import load, loaded_model
    from converters.checkpoints.ranges import input_hints
    from validate.agreement.gates import FLOOR_ULPS, ULP
    from validate.agreement.oracle import float64_clone, float64_default
    from validate.agreement.taps import open_tapped
    from validate.agreement.taps.function import TappedFunction
    from validate.inputs import InputOptions, generate
    from validate.runtimes import RuntimeOptions
    from validate.runtimes.saved_model import prepare_tensorflow

    prepare_tensorflow(RuntimeOptions(threads=2))
    loaded = load(identify(checkpoint))
    inputs = generate(loaded.signature, InputOptions(SAMPLES, 0, None, input_hints(loaded.model))).arrays
    with float64_default():
        clone = loaded_model(float64_clone(loaded.model))
        exact = TappedFunction(clone.function, clone.signature)
    truth = _values(exact.run(dict(zip(clone.signature.input_names, inputs.values(), strict=True))))
    plain = TappedFunction(loaded.function, loaded.signature)
    keras_error = _error(_both(plain.run, inputs), truth)
    noise = {k: max(keras_error[k], FLOOR_ULPS * ULP * float(np.abs(truth[k]).max())) for k in truth}
    found = {}
    for path in sorted(p for p in bundle.iterdir() if p.suffix in {".onnx", ".tflite", ".savedmodel"}):
        roads: dict[str, dict[str, Any]] = {"": {}}
        if path.suffix == ".onnx":
            roads = {f" {level}": {"graph_optimization": level} for level in LEVELS}
        if path.suffix == ".tflite":
            roads = {" XNNPACK": {}, " built-in": {"delegates": False}}
        for label, more in roads.items():
            tapped = open_tapped(path, RuntimeOptions(threads=2, **more), Path(tempfile.mkdtemp()) / "tap")
            error = _error(_both(tapped.run, inputs), truth)
            found[path.suffix[1:] + label] = max(error[k] / noise[k] for k in truth)
    return found


def _values(result: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """Each output's logits where there are any."""
    return dict(enumerate({**result[0], **result[1]}.values()))  # type: ignore[arg-type]


def _both(run: Any, inputs: dict[str, Any]) -> list[dict[str, Any]]:
    singles = [_values(run({k: v[i : i + 1] for k, v in inputs.items()})) for i in range(SAMPLES)]
    alone = {k: np.concatenate([single[k] for single in singles]) for k in singles[0]}
    return [_values(run(inputs)), alone]


def _error(runs: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, float]:
    return {k: max(float(np.abs(run[k] - truth[k]).max()) for run in runs) for k in truth}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if sys.argv[2] == "--one":
        found = ratios(Path(sys.argv[3]), Path(sys.argv[4]))
        print("| " + Path(sys.argv[4]).name + " | " + " | ".join(f"{k} {v:.2f}" for k, v in found.items()) + " |")
        return
    for given in sys.argv[2:]:
        checkpoint, bundle = export(folder, given)
        command = [sys.executable, __file__, str(folder), "--one", str(checkpoint), str(bundle)]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="", flush=True)


if __name__ == "__main__":
    main()
