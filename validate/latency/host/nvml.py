"""NVIDIA's management library through ctypes: clocks, throttle reasons, and which processes hold device memory.

Symbols and constants are those of nvml.h. Nothing is set here, only read. Without the library all answers are empty.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Any

_SM, _MEMORY = 1, 2  # NVML_CLOCK_SM, NVML_CLOCK_MEM
_REASONS = {  # nvmlClocksEventReason*
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock",
}
HARMFUL = frozenset({"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"})


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Process(ctypes.Structure):
    """nvmlProcessInfo_v2_t."""

    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("instance", ctypes.c_uint),
        ("compute", ctypes.c_uint),
    ]


def gpu_state(index: int = 0) -> dict[str, Any]:
    """State of the first GPU now; `{"missing": reason}` where there is no NVML or no GPU."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as cause:
        return {"missing": str(cause).splitlines()[0][:200]}
    if nvml.nvmlInit_v2() != 0:
        return {"missing": "nvmlInit_v2 failed: the driver is not loaded"}
    try:
        device = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) != 0:
            return {"missing": f"there is no GPU {index}"}
        return _state(nvml, device)
    finally:
        nvml.nvmlShutdown()


def _state(nvml: Any, device: ctypes.c_void_p) -> dict[str, Any]:
    memory = _Memory()
    nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
    reasons = ctypes.c_ulonglong()
    if nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device, ctypes.byref(reasons)) != 0:
        reasons.value = 0
    processes = _processes(nvml, device)
    return {
        "name": _text(nvml.nvmlDeviceGetName, device),
        "driver": _text(lambda _, *rest: nvml.nvmlSystemGetDriverVersion(*rest), device),
        "sm_clock_mhz": _number(nvml.nvmlDeviceGetClockInfo, device, _SM),
        "sm_clock_max_mhz": _number(nvml.nvmlDeviceGetMaxClockInfo, device, _SM),
        "memory_clock_mhz": _number(nvml.nvmlDeviceGetClockInfo, device, _MEMORY),
        "temperature_c": _number(nvml.nvmlDeviceGetTemperature, device, 0),
        "power_mw": _number(nvml.nvmlDeviceGetPowerUsage, device),
        "power_limit_mw": _number(nvml.nvmlDeviceGetPowerManagementLimit, device),
        "throttle_reasons": [name for bit, name in _REASONS.items() if reasons.value & bit],
        "memory_used_bytes": memory.used,
        "memory_total_bytes": memory.total,
        "our_memory_bytes": processes.get(os.getpid()),
        "other_processes": len([pid for pid in processes if pid != os.getpid()]),
    }


def _processes(nvml: Any, device: ctypes.c_void_p) -> dict[int, int]:
    """Device memory by process. Inside a container the process numbers may be the host's: then ours is missing."""
    found = (_Process * 128)()
    count = ctypes.c_uint(128)
    with suppress(AttributeError):
        if nvml.nvmlDeviceGetComputeRunningProcesses_v3(device, ctypes.byref(count), found) == 0:
            return {int(p.pid): int(p.used) for p in found[: count.value]}
    return {}


def _number(function: Any, device: ctypes.c_void_p, *arguments: int) -> int | None:
    value = ctypes.c_uint()
    return int(value.value) if function(device, *arguments, ctypes.byref(value)) == 0 else None


def _text(function: Any, device: ctypes.c_void_p) -> str | None:
    buffer = ctypes.create_string_buffer(96)
    return buffer.value.decode(errors="replace") if function(device, buffer, 96) == 0 else None
