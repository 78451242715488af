"""The GPU's rows: measurements, and proof that they ran on it. `scripts/gpu_check` runs them all.

Each row goes through all steps in its own worker: session, proof, timing through `measure`. With `stand_in` the CPU
provider takes the session's place and nothing else changes; such an entry is marked and proves nothing about a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from converters.checkpoints.parts import parts_of
from converters.errors import EdgeportError
from converters.formats import Format, format_of
from converters.isolation import Channel, Limits, Message, run_step, worker_environment
from validate.latency.experiment import measure
from validate.latency.job import BenchJob
from validate.runtimes.variant import DEFAULT, Boundary, ConvSearch, Variant
from validate.targets import Device, Places

TARGET = "validate.latency.gpu_rows:prove"
NODE_TIME_SHARE = 0.99
"""Minimum share of a row's node time on the device for the row to bear its name."""

_TIMEOUT_S = 900.0
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider", "cpu": "CPUExecutionProvider"}


@dataclass(frozen=True)
class GpuRow:
    """One row of `docs/gpu-evidence.json`.

    Attributes:
        name: the key in the evidence.
        format: `onnx` or `savedmodel`.
    """

    name: str
    format: Format
    device: Device
    variant: Variant = DEFAULT


ROWS = (
    GpuRow("cuda", Format.ONNX, Device.CUDA),
    GpuRow("cuda, TF32 off", Format.ONNX, Device.CUDA, Variant(tf32=False)),
    GpuRow("cuda, heuristic convolution search", Format.ONNX, Device.CUDA, Variant(conv_search=ConvSearch.HEURISTIC)),
    GpuRow("cuda, device resident", Format.ONNX, Device.CUDA, Variant(boundary=Boundary.DEVICE_RESIDENT)),
    GpuRow(
        "cuda, device resident, TF32 off",
        Format.ONNX,
        Device.CUDA,
        Variant(boundary=Boundary.DEVICE_RESIDENT, tf32=False),
    ),
    GpuRow("tensorrt", Format.ONNX, Device.TENSORRT),
    GpuRow("tensorrt, TF32 off", Format.ONNX, Device.TENSORRT, Variant(tf32=False)),
    GpuRow("tensorrt, device resident", Format.ONNX, Device.TENSORRT, Variant(boundary=Boundary.DEVICE_RESIDENT)),
    GpuRow("tensorflow", Format.SAVEDMODEL, Device.CUDA),
)


def evidence(row: GpuRow, artifact: Path, job: BenchJob, *, stand_in: bool = False) -> dict[str, Any]:
    """The row's entry: status, the proof and the figures; never raises for a missing device.

    Args:
        artifact: of the row's format.
        job: seconds, golden vectors and limits; devices and variants are the row's.
        stand_in: run the session on the CPU provider, marked as such.
    """
    device = Device.CPU if stand_in else row.device
    header = {
        "row": row.name,
        "stand_in": stand_in,
        "artifact": artifact.name,
        "device": device,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    request = {
        "artifact": str(artifact.absolute()),
        "device": device,
        "wanted": row.device,
        "threads": job.threads[0],
        "batch": job.batches[0],
        "seed": job.common.seed,
        "variant": row.variant.to_json(),
        "shapes": dict(job.common.shapes),
        "golden": job.golden and str(job.golden.absolute()),
    }
    env = worker_environment(gpu=not stand_in, threads=job.threads[0])
    if not row.variant.tf32:
        env["NVIDIA_TF32_OVERRIDE"] = "0"
    try:
        limits = Limits(job.common.limits.timeout_s or _TIMEOUT_S, job.common.limits.memory_bytes)
        reads = [*parts_of(artifact), *([job.golden] if job.golden else [])]
        proof = run_step(TARGET, request, step="gpu check", limits=limits, log=job.common.log, env=env, reads=reads)
    except EdgeportError as error:
        return {**header, "status": "error", "reason": error.message, "next": error.next_step}
    if "unavailable" in proof:
        return {**header, "status": "unavailable", **proof["unavailable"]}
    places = Places(devices=(device,), variants=(row.variant,))
    latency = measure([artifact], replace(job, options=replace(job.options, threads=job.threads[:1]), places=places))
    (timing,) = latency.timings
    document = timing.to_json()
    status = document["status"] if stand_in or proof["proven"] else "not proven"
    return {
        **header,
        "status": status,
        "reason": document["reason"],
        "proof": proof,
        "timing": document,
        "controls": [control.to_json() for control in latency.controls],
    }


def _options(request: Message, variant: Variant) -> Any:
    return variant.options(Device(request["device"]), int(request["threads"]))


def prove(request: Message, _: Channel) -> Message:
    """In a worker: opens the artifact with no fallback, runs it under a profile, and says where each node ran."""
    from validate.runtimes import DeviceUnavailableError

    path = Path(request["artifact"])
    try:
        if format_of(path) is Format.SAVEDMODEL:
            return _prove_tensorflow(path, request)
        return _prove_onnxruntime(path, request)
    except DeviceUnavailableError as error:
        return {"unavailable": {"reason": error.message, "next": error.next_step}}


def judged(providers: Mapping[str, Mapping[str, float]], provider: str) -> dict[str, Any]:
    """The shares of nodes and of node time that ran on this provider, and whether that is proof."""
    nodes = sum(p["nodes"] for p in providers.values())
    micros = sum(p["us"] for p in providers.values())
    target = providers.get(provider, {"nodes": 0.0, "us": 0.0})
    share = target["us"] / micros if micros else 0.0
    return {
        "node_share": target["nodes"] / nodes if nodes else 0.0,
        "node_time_share": share,
        "nodes": {name: round(p["nodes"]) for name, p in providers.items()},
        "proven": share >= NODE_TIME_SHARE,
    }


def _prove_onnxruntime(path: Path, request: Message) -> Message:
    """Node placement from ONNX Runtime's trace: as it ran, not as it was requested."""
    import onnxruntime

    from validate.latency.host.nvml import gpu_state
    from validate.latency.profiling.onnxruntime import traced
    from validate.runtimes import open_artifact

    variant = Variant.from_json(request["variant"])
    before = gpu_state()
    runtime: Any = open_artifact(path, _options(request, variant))
    providers = list(runtime.session.get_providers())
    _, runs, by_provider = traced(path, request, variant)
    after = gpu_state()
    return {
        **judged(by_provider, _PROVIDERS[request["device"]]),
        "providers": providers,
        "profiled_runs": runs,
        "provider_options": {name: dict(v) for name, v in runtime.session.get_provider_options().items()},
        "cpu_fallback_forbidden": request["device"] != "cpu" and not runtime.notes,
        "notes": list(runtime.notes),
        "gpu": after,
        "device_memory_grew_bytes": _grew(before, after),
        "versions": {"onnxruntime": onnxruntime.__version__, **_build(onnxruntime)},
    }


def _prove_tensorflow(path: Path, request: Message) -> Message:
    """Device placement from TensorFlow's own results: each output tensor names the device that computed it."""
    import tensorflow as tf

    from validate.latency.host.nvml import gpu_state
    from validate.latency.profiling.nodes import inputs_of
    from validate.runtimes import open_artifact

    before = gpu_state()
    tf.config.set_soft_device_placement(request["device"] == "cpu")  # no silent fallback
    runtime: Any = open_artifact(path, _options(request, Variant()))
    where = "/GPU:0" if request["device"] == "cuda" else "/CPU:0"
    feed = inputs_of(request, runtime)[0]
    with tf.device(where):
        outputs = runtime.function(**{name: tf.constant(value) for name, value in feed.items()})
    devices = sorted({str(output.device) for output in outputs.values()})
    after = gpu_state()
    return {
        "proven": all(
            device.endswith(where.lstrip("/").replace("GPU", "device:GPU").replace("CPU", "device:CPU"))
            for device in devices
        ),
        "output_devices": devices,
        "cpu_fallback_forbidden": request["device"] != "cpu",
        "gpu": after,
        "device_memory_grew_bytes": _grew(before, after),
        "versions": {
            "tensorflow": tf.__version__,
            **{k: str(v) for k, v in tf.sysconfig.get_build_info().items() if k in {"cuda_version", "cudnn_version"}},
        },
    }


def _grew(before: Mapping[str, Any], after: Mapping[str, Any]) -> int | None:
    if "memory_used_bytes" not in before or "memory_used_bytes" not in after:
        return None
    return int(after["memory_used_bytes"]) - int(before["memory_used_bytes"])


def _build(onnxruntime: Any) -> dict[str, str]:
    return {"cuda": str(getattr(onnxruntime, "cuda_version", "")), "build": onnxruntime.get_build_info()[:200]}
