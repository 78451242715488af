"""Memory and CPU time of a process: of ours, or of one that runs a model for us."""

from __future__ import annotations

import resource
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Counters so far.

    Attributes:
        cpu_s: of the process.
        total_s: of all that runs for it.
        switches, faults: involuntary context switches and major page faults.
    """

    cpu_s: float
    total_s: float
    switches: int
    faults: int


def own_usage() -> Usage:
    """Ours."""
    used, spent = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    return Usage(spent, spent, used.ru_nivcsw, used.ru_majflt)


def usage_of(process: int) -> Usage:
    """That of a process that we started, or one of ours did; with the CPU seconds of all of them and our own."""
    import psutil

    spent = {child.pid: _cpu_s(child.pid) for child in psutil.Process().children(recursive=True)}
    switches = 0
    with suppress(psutil.Error):
        switches = int(psutil.Process(process).num_ctx_switches().involuntary)
    return Usage(spent.get(process, 0.0), sum(spent.values()) + time.process_time(), switches, _faults(process))


def resident_bytes(field: str, process: int | str = "self") -> int:
    """VmRSS or VmHWM; 0 where the kernel does not report it."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak(process: int | str = "self") -> None:
    """Sets a process's VmHWM back to what is resident now: proc(5), /proc/pid/clear_refs, value 5."""
    with suppress(OSError):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def end_with_descendants(process: subprocess.Popen[bytes], timeout_s: float = 5.0) -> None:
    """Kills a process and all that come from it, and waits until they are gone."""
    import psutil

    started = []
    with suppress(psutil.Error):
        started = psutil.Process(process.pid).children(recursive=True)
    if process.poll() is None:
        process.kill()
    for child in started:
        with suppress(psutil.Error):
            child.kill()
    process.wait()
    psutil.wait_procs(started, timeout_s)


def main_thread_s(pid: int) -> float:
    """CPU seconds of a process's main thread; 0 where it is gone, or the kernel does not tell."""
    return _thread_s(Path(f"/proc/{pid}/task/{pid}"))


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process: of the threads that live, to the nanosecond, where the kernel tells."""
    with suppress(OSError):
        if spent := sum(_thread_s(task) for task in Path(f"/proc/{pid}/task").iterdir()):
            return spent
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _thread_s(task: Path) -> float:
    """sched-stats of the kernel's documentation: nanoseconds spent on the CPU come first."""
    with suppress(OSError, IndexError, ValueError):
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    return 0.0


def _faults(pid: int) -> int:
    """proc(5), /proc/pid/stat, field 12."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[9])
    return 0
