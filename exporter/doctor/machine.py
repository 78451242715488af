"""The facts of this machine that decide a latency, and those that disturb it: for `edgeport doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from converters.isolation import sandbox

MendedProblem = tuple[str, str]
"""The problem, and the command (or the step) that fixes it."""

_TOOLS = ("ssh", "adb", "nvidia-smi")
_VECTORS = {"avx2", "asimd", "neon"}
_BUSY_PER_CORE = 0.5


def machine_facts() -> dict[str, Any]:
    """The host's facts, with the GPU as its driver's library tells it, swap, and the tools for boards and phones."""
    from validate.latency.host.facts import host_facts
    from validate.latency.host.nvml import gpu_state

    tools = {name: shutil.which(name) is not None for name in _TOOLS}
    isolation = sandbox.unavailable() or sandbox.BUBBLEWRAP
    return {**host_facts(), "sandbox": isolation, "gpu": gpu_state(), "swap_used_bytes": _swap_used(), "tools": tools}


def machine_problems(facts: Mapping[str, Any]) -> Iterator[MendedProblem]:
    """Facts that make timings slower or noisier than this machine could give them."""
    quota, cores = facts.get("cpu_quota"), facts.get("cores") or 1
    if quota is not None and quota < 1:
        yield (
            f"The control group grants {quota:g} of one CPU: every timing is throttled.",
            "give the container at least one whole CPU, for example `docker run --cpus 2`",
        )
    governor = facts.get("governor")
    if governor not in (None, "performance"):
        what = f"The CPU's governor is {governor}: the clock changes with the load."
        yield what, "cpupower frequency-set -g performance"
    load = facts.get("load_average") or [0.0]
    if load[0] > _BUSY_PER_CORE * cores:
        yield (
            f"The machine is busy: a load of {load[0]:.1f} on {cores} cores makes timings noisy.",
            "stop what else runs here (see `top`), then time",
        )
    if not _VECTORS & set(facts.get("cpu_flags", ())):
        yield "The processor has neither AVX2 nor NEON: kernels run without wide vectors.", "time on another machine"
    gpu = facts.get("gpu") or {}
    if "sm_clock_mhz" in gpu and gpu.get("other_processes"):
        yield f"{gpu['other_processes']} other processes use the GPU.", "stop them (see `nvidia-smi`), then time"


def wheel_problems(version_of: Callable[[str], str | None]) -> Iterator[MendedProblem]:
    """Wheels that write into the same folders, so that the one installed last wins."""
    pairs = (
        ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "TensorFlow's CUDA 12 and ONNX Runtime's CUDA 13 set"),
        ("tensorflow", "tensorflow-cpu", "Two builds of TensorFlow"),
        ("tflite-runtime", "ai-edge-litert", "Two builds of the TFLite interpreter"),
    )
    for one, other, what in pairs:
        if version_of(one) and version_of(other):
            yield (
                f"{what} are in one environment ({one} and {other}).",
                f"python -m pip uninstall -y {one}, or an environment for each",
            )


def _swap_used() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
    return sizes["SwapTotal"] - sizes["SwapFree"] if {"SwapTotal", "SwapFree"} <= sizes.keys() else None
