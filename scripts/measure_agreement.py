"""Measures what the gates are derived from, and on which models they are confirmed: honest files and broken ones.

    scripts/measure_agreement.py FOLDER [NAME:H,W,C | FILE.keras]...

Without names: the models that the gates were fixed on, then those that they are reported on, which had no part in it.
Each architecture is built with random weights and warmed batch norms and exported; then every honest road (TensorFlow,
TFLite with and without XNNPACK, ONNX Runtime at each level of optimisation) is run, each reduced precision judged
against its emulated rounding, and the known faults put into the model. Prints one row a model, as markdown.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 6
FIXED_ON = (
    "examples/digits_se_inception.keras", "mobilenet_v2:96,96,3", "densenet121:96,96,3", "efficientnet_b0:96,96,3",
)  # fmt: skip
REPORTED_ON = ("resnet50_v2:96,96,3", "xception:96,96,3", "mobilenet_v3_small:96,96,3", "efficientnet_v2_b0:96,96,3")
PRECISIONS = ("float16", "dynamic_int8", "int8")
LEVELS = ("off", "basic", "extended", "all")


def edgeport(*arguments: str | Path) -> dict[str, Any]:
    """The command's document; 1 (a gate failed) and 10 (some formats were made) are answers too."""
    command = [sys.executable, "-m", "exporter.cli.main", *map(str, arguments), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1, 10}:
        raise SystemExit(done.stderr)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def export(folder: Path, given: str) -> tuple[Path, Path]:
    """The checkpoint and the folder of its files in every precision, made once."""
    name, _, shape = given.partition(":")
    checkpoint, bundle = folder / f"{name}.keras", folder / name
    if given.endswith(".keras"):
        checkpoint, bundle = Path(given), folder / Path(given).stem
    elif not checkpoint.exists():
        edgeport("build", name, "-o", checkpoint, *(("--input-shape", shape) if shape else ()))
    if not bundle.exists():
        chosen = [word for precision in ("float32", *PRECISIONS) for word in ("-p", precision)]
        edgeport("export", checkpoint, "-o", bundle, *chosen, "--calibration", "random", "--calibration-samples", "32")
    return checkpoint, bundle


def rounding(checkpoint: Path, bundle: Path) -> dict[str, str]:
    """By reduced file, its error over that of the emulated precision and what the judge says of it."""
    files = [p for p in sorted(bundle.iterdir()) if any(f".{precision}." in p.name for precision in PRECISIONS)]
    found = {}
    for verdict in edgeport("validate", checkpoint, *files)["verdicts"]:
        _, precision, fmt = Path(verdict["artifact"]).name.rsplit(".", 2)
        told = [row["rounding_ratio"] for row in verdict["outputs"] if row["rounding_ratio"] is not None]
        found[f"{fmt} {precision}"] = f"{max(told):.2f} {verdict['status']}" if told else verdict["status"]
    return found


def faults(checkpoint: Path) -> dict[str, str]:
    """By fault, in memory and as ONNX, the status and the noise ratio."""
    rows = edgeport("validate", "--self-test", checkpoint, "-f", "onnx")["mutants"]
    return {
        f"{row['mutant']} ({row['subject']})": row["status"] if row["noise_ratio"] is None
        else f"{row['status']} {row['noise_ratio']:.2g}"
        for row in rows if row["status"] != "no place"
    }  # fmt: skip


def ratios(checkpoint: Path, bundle: Path) -> dict[str, float]:
    """The greatest noise ratio on the logits of every road, in batches of 1 and of all samples."""
    from converters.checkpoints.identify import identify
    from converters.checkpoints.loading import load, loaded_model
    from converters.checkpoints.ranges import input_hints
    from validate.agreement.gates import least_noise
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
    least = least_noise(plain.averaged)
    noise = {k: max(keras_error[k], least * float(np.abs(truth[k]).max())) for k in truth}
    found = {}
    for path in sorted(p for p in bundle.iterdir() if ".float32." in p.name):
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


def shown(title: str, cells: dict[str, Any]) -> None:
    texts = (f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in cells.items())
    print(f"| {title} | " + " | ".join(texts) + " |", flush=True)


def measure(folder: Path, given: str) -> None:
    checkpoint, bundle = export(folder, given)
    command = [sys.executable, __file__, str(folder), "--one", str(checkpoint), str(bundle)]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="", flush=True)
    shown(f"{bundle.name}, rounding", dict(rounding(checkpoint, bundle)))
    shown(f"{bundle.name}, faults", dict(faults(checkpoint)))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if sys.argv[2:3] == ["--one"]:
        shown(f"{Path(sys.argv[4]).name}, noise", dict(ratios(Path(sys.argv[3]), Path(sys.argv[4]))))
        return
    for given in sys.argv[2:] or (*FIXED_ON, *REPORTED_ON):
        measure(folder, given)


if __name__ == "__main__":
    main()
