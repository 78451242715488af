"""Is the harness to be believed? A/A controls, planted slowdowns, and the reference harnesses, measured here.

    python scripts/bench_harness.py aa ARTIFACT [--runs 40] [--seconds 6]     claims of a difference between equals
    python scripts/bench_harness.py planted [--runs 10] [--seconds 20]        a chain of 100 products against 105, 120
    python scripts/bench_harness.py reference FOLDER [--runs 5]               litert-benchmark, a bare ONNX Runtime loop
    python scripts/bench_harness.py overhead                                  the timing loop itself, by call

Each prints one JSON document. FOLDER holds a model as `.tflite` and `.onnx`, or is a bundle. Run it on a machine that
does nothing else; one thread, unless `--threads` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from validate.latency import BenchJob, Comparison, Status, Variant, measure
from validate.latency.worker import time_calls

CLAIMS = {Comparison.FASTER, Comparison.SLOWER}

_BARE = """
import sys, time
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(0)
feed = {i.name: rng.random([d if isinstance(d, int) else 1 for d in i.shape], np.float32) for i in session.get_inputs()}
for _ in range(10):
    session.run(None, feed)
taken = []
for _ in range(int(sys.argv[3])):
    start = time.perf_counter()
    session.run(None, feed)
    taken.append(time.perf_counter() - start)
print(sorted(taken)[len(taken) // 2] * 1e3)
"""

_CHAIN = """
import sys
import numpy as np
from onnx import TensorProto, helper as h, numpy_helper as n, save
folder = sys.argv[1]
weights = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32) / 16
for length in (100, 105, 120):
    nodes = [h.make_node("MatMul", [f"t{k}" if k else "x", "w"], [f"t{k + 1}" if k + 1 < length else "y"])
             for k in range(length)]
    io = [h.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 256]) for name in "xy"]
    graph = h.make_graph(nodes, "chain", io[:1], io[1:], [n.from_array(weights, "w")])
    save(h.make_model(graph, ir_version=10, opset_imports=[h.make_opsetid("", 17)]), f"{folder}/chain{length}.onnx")
"""


def aa(artifact: Path, runs: int, seconds: float, threads: int, first: int) -> dict[str, Any]:
    """The same artifact twice, `runs` times: how often a difference is claimed."""
    verdicts, ratios, floors = Counter[str](), [], []
    for seed in range(first, first + runs):
        options = BenchJob.of(threads=(threads,), max_seconds=seconds, seed=seed)
        latency = measure([artifact, artifact], options)
        compared = latency.comparisons[0]
        verdicts[compared.verdict.value] += 1
        ratios.append(round(compared.ratio.value, 4))
        floors.append(compared.noise_floor)
    claims = sum(verdicts[c.value] for c in CLAIMS)
    return {
        "what": "aa",
        "runs": runs,
        "seconds": seconds,
        "threads": threads,
        "claims": claims,
        "verdicts": verdicts,
        "ratios": sorted(ratios),
        "noise_floors": floors,
    }


def planted(runs: int, seconds: float, threads: int) -> dict[str, Any]:
    """How often a chain of 105 and of 120 products is claimed to be slower than one of 100."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", _CHAIN, folder], check=True)
        result: dict[str, Any] = {"what": "planted", "runs": runs, "seconds": seconds, "threads": threads}
        for length in (105, 120):
            said, ratios = Counter[str](), []
            files = [Path(folder) / f"chain{n}.onnx" for n in (100, length)]
            for seed in range(runs):
                options = BenchJob.of(threads=(threads,), max_seconds=seconds, seed=seed)
                compared = measure(files, options).comparisons[0]
                said[compared.verdict.value] += 1
                ratios.append(round(compared.ratio.value, 4))
            result[f"{length - 100} %"] = {"verdicts": said, "ratios": sorted(ratios)}
    return result


def reference(folder: Path, runs: int, threads: int) -> dict[str, Any]:
    """edgeport's p50 over the reference harnesses', alternated; the median of the ratios."""
    tflite, onnx = (sorted(folder.glob(f"*.float32.{suffix}"))[0] for suffix in ("tflite", "onnx"))
    pairs: dict[str, list[float]] = {"litert-benchmark": [], "bare ONNX Runtime loop": []}
    figures = []
    for _ in range(runs):
        theirs = _litert_benchmark(tflite, threads)
        ours = _p50(tflite, threads, Variant(interface="compiled"))
        bare = float(_output([sys.executable, "-c", _BARE, str(onnx), str(threads), "60"]))
        ours_onnx = _p50(onnx, threads, Variant())
        pairs["litert-benchmark"].append(ours / theirs)
        pairs["bare ONNX Runtime loop"].append(ours_onnx / bare)
        names = ("litert-benchmark", "edgeport compiled", "bare", "edgeport onnx")
        figures.append(dict(zip(names, (theirs, ours, bare, ours_onnx), strict=True)))
    ratios = {name: {"median": statistics.median(values), "all": values} for name, values in pairs.items()}
    return {
        "what": "reference",
        "model": tflite.name,
        "runs": runs,
        "threads": threads,
        "ratios": ratios,
        "p50_ms": figures,
    }


def overhead(calls: int = 200_000) -> dict[str, Any]:
    """Microseconds that the timing loop reads for a call that does nothing, and that it takes around one."""

    def nothing() -> None:
        return None

    runs = [nothing] * calls
    start = time.perf_counter_ns()
    durations = time_calls(runs)
    whole = time.perf_counter_ns() - start
    return {
        "what": "overhead",
        "calls": calls,
        "read_us": statistics.median(durations) / 1e3,
        "taken_us": whole / calls / 1e3,
    }


def _p50(path: Path, threads: int, variant: Variant) -> float:
    (timing,) = measure([path], BenchJob.of(threads=(threads,), max_seconds=8, variants=(variant,))).timings
    if timing.status is not Status.OK or timing.p50_ms is None:
        raise SystemExit(f"{path}: {timing.reason}")
    return timing.p50_ms.value


def _litert_benchmark(path: Path, threads: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        module = "ai_edge_litert.tools.benchmark_litert_model"
        arguments = [f"--model={path}", f"--num_threads={threads}", "--num_runs=60", "--warmup_runs=10"]
        _output([sys.executable, "-m", module, *arguments, f"--result_json={result}"])
        return float(json.loads(result.read_text())["latency"]["median_ms"])


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stderr[-500:]}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["aa", "planted", "reference", "overhead"])
    parser.add_argument("path", nargs="?", type=Path)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if chosen.what in {"aa", "reference"} and chosen.path is None:
        parser.error(f"{chosen.what} needs a path")
    if chosen.what == "aa":
        seconds = chosen.seconds or 6.0
        found = aa(chosen.path, chosen.runs or 40, seconds, chosen.threads, chosen.first_seed)
    elif chosen.what == "planted":
        found = planted(chosen.runs or 10, chosen.seconds or 20.0, chosen.threads)
    elif chosen.what == "reference":
        found = reference(chosen.path, chosen.runs or 5, chosen.threads)
    else:
        found = overhead()
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
