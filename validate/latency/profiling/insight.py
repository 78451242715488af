"""Profiles and rooflines for rows that were timed: which layers cost, and how much of the machine is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.errors import EdgeportError
from converters.isolation import Limits, Message, run_step, worker_environment
from converters.progress import Progress
from validate.latency.job import BenchJob
from validate.latency.profiling import operations as profile
from validate.latency.profiling import peak
from validate.latency.profiling.nodes import grouped
from validate.latency.results import Latency, Row, Timing
from validate.latency.rows import Status

_TIMEOUT_S = 180.0


def with_profiles(latency: Latency, job: BenchJob, progress: Progress) -> Latency:
    """The same measurement with a profile of every timed row and the machine's peak for its numbers of threads.

    A row that cannot be profiled has its reason in `error`; nothing here raises for it.
    """
    timed = [t for t in latency.timings if t.status is Status.OK]
    threads = sorted({t.row.threads for t in timed})
    peaks = {}
    for count in threads:
        progress(f"measuring the machine's peak on {count} threads", 1.0)
        peaks[count] = _run(peak.TARGET, {"threads": count}, job, worker_environment(threads=count), ())
    profiles = []
    for timing in timed:
        progress(f"profiling {timing.row}", 1.0)
        profiles.append(_profiled(timing, job, peaks[timing.row.threads]))
    return replace(latency, profiles=tuple(profiles), peaks=tuple(peaks.values()))


def _profiled(timing: Timing, job: BenchJob, roof: Message) -> dict[str, Any]:
    row = timing.row
    golden = job.golden_for(row)
    request = {
        "artifact": str(row.artifact),
        "device": row.device,
        "threads": row.threads,
        "batch": row.batch,
        "seed": job.common.seed,
        "golden": golden and str(golden.absolute()),
        "variant": row.variant.to_json(),
        "shapes": dict(job.common.shapes),
        "key": job.common.signature,
    }
    header: dict[str, Any] = {
        "artifact": row.artifact.name,
        "device": row.device,
        "threads": row.threads,
        "batch": row.batch,
        "variant": row.variant.label,
    }
    try:
        env = worker_environment(gpu=row.device.is_gpu, threads=row.threads)
        profile_result = _run(profile.TARGET, request, job, env, job.reads_of(row))
    except EdgeportError as error:
        return {**header, "error": error.message}
    nodes = profile_result["nodes"]
    return {
        **header,
        "error": "",
        "runs": profile_result["runs"],
        "layers": grouped(nodes, "layer"),
        "kinds": grouped(nodes, "kind"),
        "nodes": nodes,
        **roofline(timing, nodes, row, roof),
    }


def roofline(timing: Timing, nodes: list[dict[str, Any]], row: Row, roof: Message) -> dict[str, Any]:
    """Multiply-adds a run, those a second at p50, and their share of the peak that the roofline allows.

    The roof is the minimum of the machine's multiply-adds a second and of its bytes a second times the file's
    multiply-adds a byte: every weight is read at least once a run. Null where a node's multiply-adds are unknown, and
    on a GPU, whose peak is not measured here.
    """
    if any(node["macs"] is None for node in nodes) or timing.p50_ms is None:
        return {"macs": None, "macs_per_s": None, "roof_macs_per_s": None, "share_of_peak": None}
    macs = sum(node["macs"] for node in nodes)
    rate = macs / (timing.p50_ms.value / 1e3)
    if row.device.is_gpu:
        return {"macs": macs, "macs_per_s": rate, "roof_macs_per_s": None, "share_of_peak": None}
    roof_rate = min(roof["macs_per_s"], roof["bytes_per_s"] * macs / max(1, timing.size_bytes))
    return {"macs": macs, "macs_per_s": rate, "roof_macs_per_s": roof_rate, "share_of_peak": rate / roof["macs_per_s"]}


def _run(target: str, request: Message, job: BenchJob, env: dict[str, str], reads: tuple[Path, ...]) -> Message:
    limits = Limits(job.common.limits.timeout_s or _TIMEOUT_S, job.common.limits.memory_bytes)
    return run_step(target, request, step="profile", limits=limits, log=job.common.log, env=env, reads=reads)
