"""Conversion side by side: edgeport and its peers in fresh processes, alternating, on the same checkpoint.

    python scripts/bench_convert.py --quick      # SE-Inception v3, one peer each, two rounds, under 6 minutes
    python scripts/bench_convert.py --write docs/benchmarks.md

Seconds are wall clock of whole processes, start and imports included; `step` rows are the conversion alone, from a
loaded model to a file. Memory is the peak of the sum of resident memory over a command's process tree, polled every
50 ms. Everything edgeport does is with --no-cache. Ratios are peer / edgeport: above 1 edgeport is faster or smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil

PYTHON = sys.executable
STEPS = Path(__file__).parent / "bench_convert_steps.py"
ENV = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
_BY_HAND = "## What was tried"  # of the file that --write makes anew, what follows this is kept
WIDTHS = ("width_x1", "width_x2", "width_x4")


@dataclass
class Series:
    """What one command cost, run by run."""

    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


Results = dict[str, Series]


def measured(command: Sequence[str | Path]) -> tuple[float, int, str]:
    """Runs a command: (seconds, peak bytes of its process tree, its standard output). Raises where it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = psutil.Popen([str(c) for c in command], stdout=out, stderr=err, env=ENV)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _tree_bytes(process))
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}\n{err.read()[-2000:]}")
        return seconds, peak, out.read()


def _tree_bytes(process: psutil.Process) -> int:
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def commands(checkpoint: Path, work: Path, quick: bool) -> dict[str, list[str | Path]]:
    """Every command by its name; later ones use what `keras savedmodel` left in `work`."""
    saved = work / "keras_saved_model"
    edgeport = [PYTHON, "-m", "exporter.cli.main", "export", checkpoint, "--no-cache", "--force", "-q"]
    table: dict[str, list[str | Path]] = {
        "edgeport onnx": [*edgeport, "-f", "onnx", "-o", work / "edgeport_onnx"],
        "edgeport three": [*edgeport, "-o", work / "edgeport_three"],
        "keras savedmodel": [PYTHON, STEPS, "keras", checkpoint, "tf_saved_model", saved],
        "tf2onnx cli": [
            PYTHON,
            "-m",
            "tf2onnx.convert",
            "--saved-model",
            saved,
            "--opset",
            "17",
            "--output",
            work / "tf2onnx.onnx",
        ],
        "tflite_convert": [
            PYTHON,
            "-m",
            "tensorflow.lite.python.tflite_convert",
            f"--saved_model_dir={saved}",
            f"--output_file={work / 'tflite_convert.tflite'}",
        ],
    }
    if not quick:
        table["edgeport three --jobs 2"] = [*edgeport, "--jobs", "2", "-o", work / "edgeport_jobs"]
        table["keras litert"] = [PYTHON, STEPS, "keras", checkpoint, "litert", work / "keras.tflite"]
        table["keras onnx"] = [PYTHON, STEPS, "keras", checkpoint, "onnx", work / "keras.onnx"]
    return table


def run_model(name: str, checkpoint: Path, work: Path, rounds: int, quick: bool) -> Results:
    """All commands, round by round, and the conversion steps in a process of their own."""
    results: Results = {}
    for number in range(rounds):
        for label, command in commands(checkpoint, work, quick).items():
            if label == "keras savedmodel":
                shutil.rmtree(work / "keras_saved_model", ignore_errors=True)
            _note(results, label, *measured(command)[:2])
        for label in ("edgeport step", "tf2onnx step"):
            kind, path = label.split()[0], work / f"{label.replace(' ', '_')}.onnx"
            _, peak, out = measured([PYTHON, STEPS, "step", kind, checkpoint, path])
            _note(results, label, float(json.loads(out.splitlines()[-1])["seconds"]), peak)
        print(f"{name}: round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
    _, _, out = measured([PYTHON, STEPS, "compare", work])
    results["files"] = Series(facts=json.loads(out.splitlines()[-1]))
    return results


def run_widths(work: Path, rounds: int) -> dict[str, Results]:
    """The conversion step alone on networks of 1, 2 and 4 times the weights."""
    results: dict[str, Results] = {name: {} for name in WIDTHS}
    for name in WIDTHS:
        measured([PYTHON, STEPS, "build", name, work / f"{name}.keras"])
    for _ in range(rounds):
        for name in WIDTHS:
            for kind in ("edgeport", "tf2onnx"):
                path = work / f"{name}_{kind}.onnx"
                _, peak, out = measured([PYTHON, STEPS, "step", kind, work / f"{name}.keras", path])
                _note(results[name], f"{kind} step", float(json.loads(out.splitlines()[-1])["seconds"]), peak)
                results[name][f"{kind} step"].facts["bytes"] = path.stat().st_size
    return results


def _note(results: Results, label: str, seconds: float, peak: int) -> None:
    series = results.setdefault(label, Series())
    series.seconds.append(seconds)
    series.peak_bytes.append(peak)


def ratios(results: Results, ours: str, peers: Sequence[str]) -> str:
    """Round by round: the sum of the peers' seconds over ours; median [min, max]."""
    pairs = zip(*(results[p].seconds for p in peers), strict=True)
    values = [sum(seconds) / own for seconds, own in zip(pairs, results[ours].seconds, strict=True)]
    return f"{statistics.median(values):.2f}x [{min(values):.2f}, {max(values):.2f}]"


def fastest_chain(results: Results) -> list[str]:
    """The peers that make all three formats soonest, from one SavedModel or from the checkpoint."""
    tflite = min((n for n in ("tflite_convert", "keras litert") if n in results), key=lambda n: results[n].median)
    onnx = min((n for n in ("tf2onnx cli", "keras onnx") if n in results), key=lambda n: results[n].median)
    return ["keras savedmodel", tflite, onnx]


def report(name: str, results: Results) -> list[str]:
    """Markdown of one model."""
    lines = [f"### {name}", "", "| command | seconds, median [min, max] | peak memory |", "|---|---:|---:|"]
    for label, series in results.items():
        if series.seconds:
            spread = f"{series.median:.2f} [{min(series.seconds):.2f}, {max(series.seconds):.2f}]"
            lines.append(f"| {label} | {spread} | {max(series.peak_bytes) / 1e9:.2f} GB |")
    chain = fastest_chain(results)
    rows = [
        ("ONNX step, loaded model to file, against `tf2onnx.convert.from_function`", "edgeport step", ["tf2onnx step"]),
        (
            "ONNX process, against Keras' SavedModel + the tf2onnx command",
            "edgeport onnx",
            ["keras savedmodel", "tf2onnx cli"],
        ),
        (f"three formats, against {' + '.join(chain)}", "edgeport three", chain),
    ]
    if "edgeport three --jobs 2" in results:
        rows.append((f"three formats with --jobs 2, against {' + '.join(chain)}", "edgeport three --jobs 2", chain))
    lines += ["", "| peer / edgeport | ratio of seconds, median [min, max] |", "|---|---:|"]
    lines += [f"| {what} | {ratios(results, ours, peers)} |" for what, ours, peers in rows]
    memory = max(max(results[n].peak_bytes) for n in chain) / max(results["edgeport three"].peak_bytes)
    facts = results["files"].facts
    lines += [
        f"| peak memory of the three formats, largest of that chain | {memory:.2f}x |",
        "",
        f"ONNX nodes: edgeport {facts['edgeport_nodes']:.0f}, tf2onnx {facts['tf2onnx_nodes']:.0f}. "
        f"Bytes: edgeport {facts['edgeport_bytes']:.0f}, tf2onnx {facts['tf2onnx_bytes']:.0f}. "
        f"Outputs {'bit-identical' if facts['identical'] else 'not bit-identical'} on {facts['samples']:.0f} inputs in "
        f"ONNX Runtime (greatest difference {facts['max_abs']:.3g}).",
        "",
    ]
    return lines


def report_widths(results: dict[str, Results]) -> list[str]:
    lines = [
        "### Width series",
        "",
        "A network of plain convolutions with 1, 2 and 4 times the weights; conversion step alone.",
        "",
        "| weights | file | edgeport step | tf2onnx step | peer / edgeport |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, rows in results.items():
        ours, peer = rows["edgeport step"], rows["tf2onnx step"]
        lines.append(
            f"| {name.removeprefix('width_')} | {ours.facts['bytes'] / 1e6:.0f} MB | {ours.median:.2f} s | "
            f"{peer.median:.2f} s | {ratios(rows, 'edgeport step', ['tf2onnx step'])} |"
        )
    first, last = results[WIDTHS[0]]["edgeport step"], results[WIDTHS[-1]]["edgeport step"]
    lines += [
        "",
        f"From x1 to x4 the file grows {last.facts['bytes'] / first.facts['bytes']:.2f}-fold and edgeport's step "
        f"{last.median / first.median:.2f}-fold.",
        "",
    ]
    return lines


def machine() -> str:
    versions = ", ".join(f"{n} {version(n)}" for n in ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime-gpu"))
    model = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), ""
    )
    memory = psutil.virtual_memory().total / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {model or platform.machine()}, {memory:.0f} GiB; {versions}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="SE-Inception v3 alone, one peer each, two rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=["se_inception_v3", "resnet50_v2", "mobilenet_v2"])
    parser.add_argument("--no-widths", action="store_true")
    parser.add_argument("--write", type=Path, help="also write the tables to this file")
    chosen = parser.parse_args()
    names = ["se_inception_v3"] if chosen.quick else chosen.models
    lines = [
        "# Conversion benchmarks",
        "",
        f"Made by `python {' '.join(['scripts/bench_convert.py', *sys.argv[1:]])}`.",
        "",
        f"Machine: {machine()}",
        "",
        *(__doc__ or "").split("\n\n")[2].splitlines(),
        "",
    ]
    with tempfile.TemporaryDirectory(prefix="bench-convert-") as folder:
        for name in names:
            work = Path(folder) / name
            work.mkdir()
            measured([PYTHON, "-m", "exporter.cli.main", "build", name, "-o", work / f"{name}.keras", "-q"])
            rounds = 2 if chosen.quick else chosen.rounds
            lines += report(name, run_model(name, work / f"{name}.keras", work, rounds, chosen.quick))
        if not chosen.quick and not chosen.no_widths:
            lines += report_widths(run_widths(Path(folder), chosen.rounds))
    print("\n".join(lines))
    if chosen.write:
        before = chosen.write.read_text() if chosen.write.exists() else ""
        told = before.find(_BY_HAND)
        chosen.write.write_text("\n".join(lines) + (before[told:] if told >= 0 else ""))


if __name__ == "__main__":
    main()
