"""Layers kept in float so that a metric holds: edgeport's rescue beside NNCF's accuracy control, on the same .onnx.

    python3.11 -m venv DIR && DIR/bin/pip install nncf onnx onnxruntime "numpy<2.5"      # an environment of its own
    python scripts/bench_rescue.py DIR/bin/python [--max-drop 1.0 0.5]

The digits network, and two copies of it with channels scaled by 1000 in a batch norm and undone by the next layer,
which int8 spoils and float does not notice. Both tools calibrate on the same scans, choose the layers with the same
half of the labelled ones, and are held to the other half here. NNCF takes the drop as it is; edgeport half of it, where
so few samples could not show the whole (`exporter.rescue.metric_search`). Seconds are of whole processes, imports
included. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.isolation import run_step
from converters.readers.onnx_graph import OnnxGraph, read_onnx_graph
from exporter.bundle.golden import write_golden
from exporter.rescue.values import NO_LEVEL, Goal, MetricGoal
from validate.agreement.metric import apart

EXAMPLES = Path(__file__).parents[1] / "examples"
ENV = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
BUDGET = 1.0
MODELS: dict[str, list[str]] = {
    "digits": [],
    "digits, one layer scaled": ["inception1_3x3"],
    "digits, four layers scaled": ["inception1_3x3", "inception1_5x5", "inception2_3x3", "inception2_5x5"],
}

_HARDEN = """
import sys, keras
model = keras.models.load_model(sys.argv[1])
for name in sys.argv[3:]:
    scaled, undone = model.get_layer(f"{name}_reduce_bn"), model.get_layer(name)
    gamma, beta, *rest = scaled.get_weights()
    gamma[:3] *= 1000
    beta[:3] *= 1000
    scaled.set_weights([gamma, beta, *rest])
    (kernel,) = undone.get_weights()
    kernel[:, :, :3] /= 1000
    undone.set_weights([kernel])
model.save(sys.argv[2])
"""

_NNCF = """
import sys, numpy as np, onnx, onnxruntime as ort, nncf
source, chosen, calibration, target, drop = sys.argv[1:6]
model = onnx.load(source)
name = model.graph.input[0].name
given, fit = np.load(chosen), np.load(calibration)["image"]

def right(model, samples):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    hits = [float(session.run(None, {name: image})[0].argmax() == label) for image, label in samples]
    return float(np.mean(hits)), hits

pairs = [(given["image"][k : k + 1], given["labels"][k]) for k in range(len(given["labels"]))]
made = nncf.quantize_with_accuracy_control(
    model,
    nncf.Dataset([fit[k : k + 1] for k in range(len(fit))], lambda image: {name: image}),
    nncf.Dataset(pairs, lambda pair: {name: pair[0]}),
    lambda model, _items: right(model, pairs),
    max_drop=float(drop) / 100,
    drop_type=nncf.DropType.ABSOLUTE,
)
onnx.save(made, target)
"""


@dataclass(frozen=True)
class Row:
    """One tool's file: see `_float_layers`; drops in points."""

    layers: int
    share: float
    run_layers: int
    run_share: float
    chosen: float
    others: float
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nncf", type=Path, metavar="PYTHON", help="Of the environment with NNCF.")
    parser.add_argument("--max-drop", type=float, nargs="+", default=[1.0, 0.5], metavar="POINTS")
    options = parser.parse_args()
    print("| model | max drop | tool | float weights | computed in float | drop, chosen / other scans | seconds |")
    print("|---|---:|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="bench-rescue-") as scratch:
        folder = Path(scratch)
        data = _data(folder)
        for name, scaled in MODELS.items():
            source = _made(folder, scaled)
            for drop in options.max_drop:
                for tool, run in (("edgeport", _edgeport), ("NNCF", lambda *given: _nncf(options.nncf, *given))):
                    row = _row(source, folder, data, run, drop)
                    print(
                        f"| {name} | {drop:g} | {tool} | {row.layers}, {row.share:.1%} | "
                        f"{row.run_layers}, {row.run_share:.1%} | {row.chosen:.2f} / "
                        f"{row.others:.2f} | {row.seconds:.1f} |",
                        flush=True,
                    )
    return 0


def _data(folder: Path) -> dict[str, Any]:
    """The scans to choose with and the others, and the files of them that both tools read."""
    with np.load(EXAMPLES / "digits.npz") as stored:
        images, labels = stored["image"], stored["labels"]
    parts = dict(zip(("chosen", "others"), apart(len(labels), len(labels) // 2, 0), strict=True))
    data = {name: (images[which], labels[which]) for name, which in parts.items()}
    np.savez(folder / "chosen.npz", image=data["chosen"][0], labels=data["chosen"][1])
    write_golden(folder / "golden.npz", {"image": data["chosen"][0][:16]}, {})
    return data


def _made(folder: Path, scaled: list[str]) -> Path:
    """The float32 file, and beside it the bundle's manifest."""
    checkpoint, out = folder / f"scaled{len(scaled)}.keras", folder / f"float{len(scaled)}"
    keras = [sys.executable, "-c", _HARDEN, str(EXAMPLES / "digits_se_inception.keras"), str(checkpoint), *scaled]
    subprocess.run(keras, env=ENV, check=True, capture_output=True)
    edgeport = str(Path(sys.executable).with_name("edgeport"))
    words = ["export", str(checkpoint), "-o", str(out), "-f", "onnx", "-q"]
    subprocess.run([edgeport, *words], env=ENV, check=True, capture_output=True)
    return next(out.glob("*.onnx"))


def _row(source: Path, folder: Path, data: dict[str, Any], run: Any, drop: float) -> Row:
    target = folder / "made.onnx"
    target.unlink(missing_ok=True)
    began = time.monotonic()
    run(source, folder, target, drop)
    seconds = time.monotonic() - began
    before, after = ({name: _top1(path, *part) for name, part in data.items()} for path in (source, target))
    return Row(
        *_float_layers(source, target), before["chosen"] - after["chosen"], before["others"] - after["others"], seconds
    )


def _edgeport(source: Path, folder: Path, target: Path, drop: float) -> None:
    signature = json.loads((source.parent / "manifest.json").read_text())["signature"]
    chosen = folder / "chosen.npz"
    samples = len(np.load(chosen)["labels"])
    metric = MetricGoal("top1", None, str(folder), False, drop, str(chosen), samples, 0)
    request = {
        "artifact": str(target),
        "base": str(source),
        "format": "onnx",
        "precision": "int8",
        "signature": signature,
        "io": "float",
        "device": "cpu",
        "method": "minmax",
        "golden": str(folder / "golden.npz"),
        "calibration": str(EXAMPLES / "digits_calibration.npz"),
        "goal": asdict(Goal(NO_LEVEL, 0.0, BUDGET, metric)),
        "layers": [],
    }
    answer = run_step(
        "exporter.rescue.search:rescue_in_worker",
        request,
        step="rescue",
        reads=[source, folder, EXAMPLES],
        writes=[folder],
    )
    if not answer["reached"]:
        sys.exit(f"edgeport: {answer['reason']}")


def _nncf(python: Path, source: Path, folder: Path, target: Path, drop: float) -> None:
    words = [str(source), str(folder / "chosen.npz"), str(EXAMPLES / "digits_calibration.npz"), str(target), str(drop)]
    done = subprocess.run([str(python), "-c", _NNCF, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"NNCF: {done.stderr[-2000:]}")


def _top1(path: Path, images: Any, labels: Any) -> float:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {session.get_inputs()[0].name: images})
    return 100.0 * float((outputs.argmax(axis=1) == labels).mean())


def _float_layers(source: Path, target: Path) -> tuple[int, float, int, float]:
    """Layers whose weights are no integers, and those that ONNX Runtime computes in float, each with their share of the
    float file's multiply-adds. A layer of integer weights whose output nothing rounds is computed in float there."""
    import onnx

    shaped = source.with_name("shaped.onnx")
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(source)), shaped)
    graph = read_onnx_graph(shaped)
    macs = {node.name: graph.macs(node) or 0 for node in graph.nodes}
    made = read_onnx_graph(target)
    integer = {name for node in made.nodes if node.kind == "DequantizeLinear" for name in node.outputs}
    plain = {node.name for node in made.nodes if macs.get(node.name) and node.inputs[1] not in integer}
    computed = {node.name for node in _as_run(target).nodes if macs.get(node.name) and "Q" not in node.kind}
    total = sum(macs.values())
    shares = (sum(macs[name] for name in names) / total for names in (plain, computed))
    return len(plain), next(shares), len(computed), next(shares)


def _as_run(path: Path) -> OnnxGraph:
    """The graph as ONNX Runtime runs it, with what it joins joined."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path.with_name("as_run.onnx"))
    options.log_severity_level = 3
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return read_onnx_graph(path.with_name("as_run.onnx"))


if __name__ == "__main__":
    sys.exit(main())
