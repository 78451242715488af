"""Measures what the gates are derived from, and on which models they are confirmed: honest files and broken ones.

    scripts/measure_agreement.py FOLDER honest|power|float32|reduced|faults|localize [NAME:H,W,C | FILE.keras]...

Without names: the models that the gates were fixed on, then those that they are reported on, which had no part in it.
Each architecture is built with random weights and warmed batch norms and exported. `float32`: the float32 files on
every honest road (TensorFlow, TFLite with and without XNNPACK, ONNX Runtime at each level of optimisation), all samples
in one batch and one by one, and what `edgeport validate` says of them. `reduced`: what it says of the files of reduced
precisions. `faults`: its self-test, on ONNX. `localize`: one `edgeport localize` for each mutant that has one broken
layer, as ONNX and as TFLite: the layer that was broken, what was named, and the seconds of the command. Prints one row
a model (of `localize` one a mutant), as markdown; a model that cannot be had is named, with the reason, and the rest
goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 6
FIXED_ON = (
    "examples/digits_se_inception.keras",
    "mobilenet_v2:96,96,3",
    "densenet121:96,96,3",
    "efficientnet_b0:96,96,3",
    "efficientnet_v2_b0:96,96,3",
)
REPORTED_ON = (
    "trained_digits",
    "inception_v3:96,96,3",
    "mobilenet_v3_small:96,96,3",
    "xception:96,96,3",
    "se_googlenet:96,96,3",
    "ConvNeXtTiny:96,96,3",
    "NASNetMobile:96,96,3",
)
FLOAT32 = ("float32",)
REDUCED = ("float16", "dynamic_int8", "int8")
LEVELS = ("off", "basic", "extended", "all")
RANDOM = 64
"""Models of the random zoo."""


def edgeport(*arguments: str | Path) -> dict[str, Any]:
    """The command's document; 1 (a gate failed) and 10 (some formats were made) are answers too."""
    command = [sys.executable, "-m", "exporter.cli.main", *map(str, arguments), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1, 10}:
        raise RuntimeError(done.stdout[-600:] + done.stderr[-600:])
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def again(*arguments: str | Path) -> str:
    """This script in a process of its own, which may hold a framework; what it prints."""
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-600:])
    return done.stdout


def checkpoint_of(folder: Path, given: str) -> Path:
    """The checkpoint, made once."""
    name, _, shape = given.partition(":")
    plain = given.replace(":", "-").replace(",", "x")
    checkpoint = Path(given) if given.endswith(".keras") else folder / f"{plain}.keras"
    if not checkpoint.exists() and (name in {"trained_digits", "long_mean"} or name != name.lower()):
        again(folder, "--build", given, checkpoint)
    elif not checkpoint.exists():
        edgeport("build", name, "-o", checkpoint, *(("--input-shape", shape) if shape else ()))
    return checkpoint


def export(folder: Path, checkpoint: Path, precisions: tuple[str, ...]) -> Path:
    """The folder of its files in these precisions, made once."""
    bundle = folder / f"{checkpoint.stem}-{precisions[0]}"
    if not bundle.exists():
        chosen = [word for precision in precisions for word in ("-p", precision)]
        how = () if precisions == FLOAT32 else ("--calibration", "random", "--calibration-samples", "32")
        edgeport("export", checkpoint, "-o", bundle, *chosen, *how)
    return bundle


def verdicts(checkpoint: Path, bundle: Path) -> dict[str, str]:
    """By file the status and the greatest noise ratio of each kind of inputs, or the error over the rounding's,
    or the decibels."""
    files = [p for p in sorted(bundle.iterdir()) if any(f".{name}." in p.name for name in (*FLOAT32, *REDUCED))]
    found = {}
    for verdict in edgeport("validate", checkpoint, *files)["verdicts"]:
        _, precision, fmt = Path(verdict["artifact"]).name.rsplit(".", 2)
        rows = verdict["outputs"]
        told = [row["rounding_ratio"] for row in rows if row["rounding_ratio"] is not None]
        levels = [row["gate"]["value"] for row in rows if row["gate"].get("measure") == "sqnr_db"]
        kinds = sorted({kind for row in rows for kind in row["noise_ratios"]}) if precision == "float32" else []
        shown = [f"{kind} {max(row['noise_ratios'].get(kind, 0.0) for row in rows):.2f}" for kind in kinds]
        shown += [f"{max(told):.2f}"] if told else []
        shown += [f"{min(levels):.1f} dB"] if levels else []  # rounding is no yardstick there
        found[f"{fmt} {precision}"] = " ".join([verdict["status"], *shown])
    return found


def faults(checkpoint: Path) -> dict[str, str]:
    """By fault, in memory and as ONNX, the status and the noise ratio."""
    rows = edgeport("validate", "--self-test", checkpoint, "-f", "onnx")["mutants"]
    return {
        f"{row['mutant']} ({row['subject']})": row["status"]
        if row["noise_ratio"] is None
        else f"{row['status']} {row['noise_ratio']:.2g}"
        for row in rows
        if row["status"] != "no place"
    }


def localized(folder: Path, checkpoint: Path) -> None:
    """Prints one row a mutant and format. The mutants are those of the tests, made once."""
    script = Path(__file__).parents[1] / "tests" / "validate" / "localize" / "write_mutants.py"
    mutants = folder / f"{checkpoint.stem}-mutants"
    if not mutants.exists():
        command = [sys.executable, str(script), str(checkpoint), str(mutants), "onnx", "tflite"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-600:])
    for path, broken in json.loads((mutants / "places.json").read_text()).items():
        started = time.monotonic()
        found = edgeport("localize", checkpoint, path)
        seconds = time.monotonic() - started
        named = ", ".join(name for name in (found["first_divergent_layer"], *found["suspects"]) if name) or "none"
        how = "exactly" if named == broken else "among others" if broken in named.split(", ") else "missed"
        beyond = ", beyond the range" if found["saturating"] else ""
        shown(Path(path).parent.name, {broken: f"{how}{beyond} ({named})", f"{seconds:.0f} s": ""})


def ratios(checkpoint: Path, bundle: Path) -> dict[str, float]:
    """The greatest noise ratio on the logits of every road, in batches of 1 and of all samples."""
    from converters.checkpoints.identify import identify
    from converters.checkpoints.loading import load, loaded_model
    from converters.checkpoints.ranges import input_hints
    from validate.agreement.arrays import path_of
    from validate.agreement.judging.gates import FLOOR_ULPS, ULP
    from validate.agreement.judging.metrics import row_errors, row_maxima
    from validate.agreement.worker.ensemble import STEM, Subject, measure_noise
    from validate.agreement.worker.oracle import float64_clone, float64_default
    from validate.agreement.worker.taps import open_tapped
    from validate.agreement.worker.taps.function import TappedFunction
    from validate.inputs import InputOptions, generate
    from validate.runtimes import RuntimeOptions
    from validate.runtimes.saved_model import prepare_tensorflow

    prepare_tensorflow(RuntimeOptions(threads=2))
    loaded = load(identify(checkpoint))
    inputs = generate(loaded.signature, InputOptions(SAMPLES, 0, None, input_hints(loaded.model))).arrays
    with float64_default():
        clone = loaded_model(float64_clone(loaded.model))
        exact = TappedFunction(clone.function, clone.signature)
    folder, stems = Path(tempfile.mkdtemp()), {}
    for stem, values in zip(
        ("out", "logits"), exact.run(dict(zip(clone.signature.input_names, inputs.values(), strict=True))), strict=True
    ):
        for name, array in values.items():
            k = clone.signature.output_names.index(name)
            stems[k] = stem
            np.save(path_of(folder, stem, k), array)
    truth = {k: np.load(path_of(folder, stem, k)) for k, stem in stems.items()}
    plain = TappedFunction(loaded.function, loaded.signature)
    measure_noise(Subject(plain.run, loaded.model, loaded.signature, SAMPLES), inputs, folder)
    noise = {}
    for k, stem in stems.items():
        maxima = row_maxima(truth[k])
        floor = FLOOR_ULPS * ULP * np.maximum(maxima, np.median(maxima))
        keras = row_errors(_values(plain.run(inputs))[k], truth[k])
        noise[k] = np.maximum.reduce([np.load(path_of(folder, STEM + stem, k)), keras, floor])
    found = {}
    for path in sorted(p for p in bundle.iterdir() if ".float32." in p.name):
        roads: dict[str, dict[str, Any]] = {"": {}}
        if path.suffix == ".onnx":
            roads = {f" {level}": {"graph_optimization": level} for level in LEVELS}
        if path.suffix == ".tflite":
            roads = {" XNNPACK": {}, " built-in": {"delegates": False}}
        for label, more in roads.items():
            tapped = open_tapped(path, RuntimeOptions(threads=2, **more), Path(tempfile.mkdtemp()) / "tap")
            runs = _both(tapped.run, inputs)
            found[path.suffix[1:] + label] = max(
                float((row_errors(run[k], truth[k]) / noise[k]).max()) for run in runs for k in truth
            )
    return found


def _values(result: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """Each output's logits where there are any."""
    return dict(enumerate({**result[0], **result[1]}.values()))  # type: ignore[arg-type]


def _both(run: Any, inputs: dict[str, Any]) -> list[dict[str, Any]]:
    singles = [_values(run({k: v[i : i + 1] for k, v in inputs.items()})) for i in range(SAMPLES)]
    alone = {k: np.concatenate([single[k] for single in singles]) for k in singles[0]}
    return [_values(run(inputs)), alone]


def shown(title: str, cells: dict[str, Any]) -> None:
    texts = (f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in cells.items())
    print(f"| {title} | " + " | ".join(texts) + " |", flush=True)


def measure(folder: Path, what: str, given: str) -> None:
    title = f"{Path(given).stem}, {what}"
    try:
        checkpoint = checkpoint_of(folder, given)
        if what == "localize":
            localized(folder, checkpoint)
            return
        if what == "faults":
            shown(title, dict(faults(checkpoint)))
            return
        bundle = export(folder, checkpoint, FLOAT32 if what == "float32" else REDUCED)
        if what == "float32":
            shown(title, json.loads(again(folder, "--one", checkpoint, bundle)))
        shown(title, dict(verdicts(checkpoint, bundle)))
    except RuntimeError as error:
        shown(title, {"not measured:": " ".join(str(error).split())})


def every_honest_file(folder: Path, names: list[str]) -> None:
    """Judges the honest files of these models, or of all, and prints the table of what there is."""
    from honest_files.models import HARD

    hard, drawn = [f"hard/{name}" for name in HARD], [f"zoo/r-{k}" for k in range(RANDOM)]
    run_module("honest_files", folder, *(names or [*FIXED_ON, *REPORTED_ON, *hard, *drawn]))
    run_module("honest_files.table", folder / "honest.jsonl")


def run_module(name: str, *arguments: str | Path) -> None:
    scripts = Path(__file__).parent
    paths = {"PYTHONPATH": f"{scripts}:{scripts.parent}"}
    subprocess.run([sys.executable, "-m", name, *map(str, arguments)], env=os.environ | paths, check=True)


def main() -> None:
    folder, what = Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    if what == "--one":
        print(json.dumps(ratios(Path(sys.argv[3]), Path(sys.argv[4]))))
    elif what == "--build":
        from measured_models import build

        build(sys.argv[3], Path(sys.argv[4]))
    elif what == "honest":
        every_honest_file(folder, sys.argv[3:])
    elif what == "power":
        run_module("honest_files.power", *sys.argv[3:])
    else:
        for given in sys.argv[3:] or (*FIXED_ON, *REPORTED_ON):
            measure(folder, what, given)


if __name__ == "__main__":
    main()
