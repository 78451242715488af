"""Facts about this machine that decide a latency. No host name, no user name."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy",
    "tensorflow",
    "keras",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "tensorrt",
    "nvidia-cudnn-cu13",
    "nvidia-cudnn-cu12",
)

# Instruction sets that choose a kernel in XNNPACK, MLAS, oneDNN or Eigen.
_DECISIVE_FLAGS = (
    "sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16",
    "neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip


def host_facts() -> dict[str, Any]:
    """The `host` of a bench document."""
    info = _cpuinfo()
    return {
        "cpu": info.get("model name") or info.get("Model") or platform.machine(),
        "cpu_flags": [flag for flag in _DECISIVE_FLAGS if flag in cpu_flags(info)],
        "cores": physical_cores(),
        "logical_cpus": len(_affinity()),
        "cpu_quota": cpu_quota(),
        "governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "memory_bytes": _memory_bytes(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    }


def package_versions() -> dict[str, str]:
    """The versions of the packages that matter to a timing and are installed, read without importing them."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def physical_cores() -> int:
    """Physical cores that we may use: of our affinity's CPUs, siblings counted once, capped by the cgroup's quota."""
    cpus = _affinity()
    cores = {_siblings(cpu) for cpu in cpus}
    quota = cpu_quota()
    return max(1, min(len(cores), math.floor(quota) if quota else len(cores)))


def cpus_for(threads: int) -> list[int]:
    """The CPUs to pin a worker to: one of each physical core, the last ones first (interrupts favour CPU 0).

    All that we may use where there are more threads than cores.
    """
    cores: dict[str, int] = {}
    for cpu in sorted(_affinity()):
        cores.setdefault(_siblings(cpu), cpu)
    one_per_core = sorted(cores.values())
    return sorted(_affinity()) if threads > len(one_per_core) else one_per_core[-threads:]


def cpu_quota() -> float | None:
    """How many CPUs' time the control group (version 2 or 1) grants; None for no limit."""
    group = Path("/sys/fs/cgroup") / _own_group()
    for folder in (group, *group.parents):
        text = _read(folder / "cpu.max")
        if text and not text.startswith("max"):
            quota, period = text.split()
            return int(quota) / int(period)
        if folder == Path("/sys/fs/cgroup"):
            break
    quota_us, period_us = (_read(Path(f"/sys/fs/cgroup/cpu/cpu.cfs_{what}_us")) for what in ("quota", "period"))
    if quota_us and period_us and int(quota_us) > 0:
        return int(quota_us) / int(period_us)
    return None


def stolen_ticks() -> tuple[int, int]:
    """(ticks that the hypervisor gave to others, all ticks) since boot; (0, 0) where the kernel does not report them.

    See proc(5), /proc/stat: user nice system idle iowait irq softirq steal.
    """
    text = _read(Path("/proc/stat"))
    if not text:
        return 0, 0
    ticks = [int(field) for field in text.splitlines()[0].split()[1:9]]
    return (ticks[7] if len(ticks) > 7 else 0), sum(ticks)


def steal_share(before: tuple[int, int]) -> float | None:
    """The share of CPU time stolen since `before`; None where it is unknown."""
    after = stolen_ticks()
    total = after[1] - before[1]
    return (after[0] - before[0]) / total if total > 0 else None


def cpu_flags(info: dict[str, str]) -> set[str]:
    """The processor's features, under the name that x86 or Arm gives them."""
    return set((info.get("flags") or info.get("Features") or "").split())


def _cpuinfo() -> dict[str, str]:
    """The first processor's fields of /proc/cpuinfo, and board-wide ones; empty off Linux."""
    fields: dict[str, str] = {}
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        key, separator, value = line.partition(":")
        if separator:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _siblings(cpu: int) -> str:
    return _read(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")) or str(cpu)


def _own_group() -> str:
    for line in (_read(Path("/proc/self/cgroup")) or "").splitlines():
        if line.startswith("0::"):
            return line[3:].lstrip("/")
    return ""


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
