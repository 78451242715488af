"""`--tune`: the session settings under which an artifact is fastest on this machine, as options ready to paste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.formats import Format
from converters.progress import Progress
from validate.latency.experiment import measure
from validate.latency.host.facts import physical_cores
from validate.latency.job import BenchJob
from validate.latency.results import Latency, Row, Timing
from validate.latency.rows import Status
from validate.latency.statistics.pairwise import Comparison
from validate.runtimes.variant import GraphLevel, Interface
from validate.targets import Device


@dataclass(frozen=True)
class Tuned:
    """The best settings of one artifact.

    Attributes:
        best: the row that was fastest; the default one where nothing was claimed to be faster.
        gain: default's p50 / best's p50.
        sure: whether the difference is beyond the noise floor.
    """

    artifact: Path
    default: Row
    best: Row
    p50_ms: float
    gain: float
    sure: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "artifact": self.artifact.name,
            "threads": self.best.threads,
            "session": self.best.variant.to_json(),
            "label": self.best.variant.label,
            "p50_ms": self.p50_ms,
            "gain": self.gain,
            "sure": self.sure,
            "code": snippet(self.best),
        }


def tune(artifacts: Sequence[Path], job: BenchJob, progress: Progress) -> Latency:
    """Times every artifact under every setting that its runtime has, interleaved, one artifact after the other.

    `tuned` of the result holds the best ones, a `Tuned` as JSON for each artifact that could be timed.
    """
    latencies, tunings = [], []
    cores = physical_cores()
    threads = tuple(dict.fromkeys([cores, *(t for t in (1, cores // 2) if t >= 1), *job.threads]))
    for path in artifacts:
        options = replace(job.options, threads=threads, max_seconds=job.options.max_seconds / len(artifacts))
        latency = measure([path], replace(job, options=options, compare_settings=True), progress)
        latencies.append(latency)
        if (tuned := best_of(path, latency)) is not None:
            tunings.append(tuned)
    return replace(_joined(latencies), tuned=tuple(tuned.to_json() for tuned in tunings))


def best_of(path: Path, latency: Latency) -> Tuned | None:
    """The fastest row among those that are FASTER than the default; else the default. None where nothing was timed."""
    timings = {t.row: t for t in latency.timings if t.status is Status.OK and t.row.given == path}
    if not timings:
        return None
    default = next(iter(timings))
    claims = [c.candidate for c in latency.comparisons if c.verdict is Comparison.FASTER and c.candidate in timings]
    # the claim is of rounds in pairs: on a busy machine the p50 over all of them may say otherwise
    faster = [row for row in claims if _p50(timings[row]) < _p50(timings[default])]
    best = min(faster, key=lambda row: _p50(timings[row]), default=default)
    return Tuned(path, default, best, _p50(timings[best]), _p50(timings[default]) / _p50(timings[best]), bool(faster))


def snippet(row: Row) -> str:
    """Python that opens the artifact with these settings."""
    name, variant = row.artifact.name, row.variant
    if row.device == Device.OPENVINO:
        hint = ', "INFERENCE_PRECISION_HINT": "f32"' if variant.float32 else ""
        settings = f'{{"INFERENCE_NUM_THREADS": {row.threads}{hint}}}'
        return f'import openvino\nmodel = openvino.Core().compile_model("{name}", "CPU", {settings})'
    if row.format in (Format.ONNX, Format.ORT):
        lines = [
            "import onnxruntime as ort",
            "options = ort.SessionOptions()",
            f"options.intra_op_num_threads = {row.threads}",
        ]
        if variant.graph is not GraphLevel.ALL:
            level = {"off": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED"}[variant.graph]
            lines.append(f"options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_{level}")
        if not variant.spinning:
            lines.append('options.add_session_config_entry("session.intra_op.allow_spinning", "0")')
        return "\n".join([*lines, f'session = ort.InferenceSession("{name}", options)'])
    if row.format is Format.TFLITE and variant.interface is Interface.COMPILED:
        return "\n".join(
            [
                "from ai_edge_litert.compiled_model import CompiledModel",
                "from ai_edge_litert.hardware_accelerator import HardwareAccelerator",
                "from ai_edge_litert.options import CpuOptions, Options",
                f"options = Options(HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads={row.threads}))",
                f'model = CompiledModel.from_file("{name}", options=options)',
            ]
        )
    if row.format is Format.TFLITE:
        resolver = (
            ""
            if variant.xnnpack
            else (", experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES")
        )
        imported = "Interpreter" if variant.xnnpack else "Interpreter, OpResolverType"
        call = f'interpreter = Interpreter("{name}", num_threads={row.threads}{resolver})'
        return f"from ai_edge_litert.interpreter import {imported}\n{call}"
    return "\n".join(
        [
            "import tensorflow as tf",
            f"tf.config.threading.set_intra_op_parallelism_threads({row.threads})",
            "tf.config.threading.set_inter_op_parallelism_threads(1)",
            f'model = tf.saved_model.load("{name}")',
        ]
    )


def _p50(timing: Timing) -> float:
    assert timing.p50_ms is not None
    return timing.p50_ms.value


def _joined(latencies: Sequence[Latency]) -> Latency:
    first = latencies[0]
    return replace(
        first,
        timings=tuple(t for latency in latencies for t in latency.timings),
        comparisons=tuple(c for latency in latencies for c in latency.comparisons),
        controls=tuple(c for latency in latencies for c in latency.controls),
        notes=tuple(n for latency in latencies for n in latency.notes),
    )
