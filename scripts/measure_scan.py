"""Seconds and peak memory of `edgeport inspect --scan` for each path given, the interpreter's start included."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from converters.artifact import size_of

_REPEATS = 5


def measured(path: Path) -> tuple[float, float, float]:
    """Median seconds by the clock, and of the processors; greatest resident size of a process in MB (10**6 bytes)."""
    times, busy, peak = [], [], 0
    for _ in range(_REPEATS):
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "exporter.cli.main", "inspect", "--scan", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, _, usage = os.wait4(process.pid, 0)
        times.append(time.perf_counter() - started)
        busy.append(usage.ru_utime + usage.ru_stime)
        peak = max(peak, usage.ru_maxrss)
    return statistics.median(times), statistics.median(busy), peak * 1024 / 1e6


def main(paths: list[str]) -> None:
    for name in paths:
        seconds, processor, megabytes = measured(Path(name))
        print(
            f"{Path(name).name}: {size_of(Path(name)) / 1e6:.1f} MB on disk, {seconds:.2f} s "
            f"({processor:.2f} s of processor), {megabytes:.0f} MB"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
