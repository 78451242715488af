"""How long `edgeport --help` and `edgeport inspect FILE` take, next to Python itself, measured in turn.

    python scripts/bench_cli.py [--runs N] [FILE]

Prints the median of N runs of each (seconds of wall clock, process start included) and its ratio to `python -c pass`
and to `python -c "import click"`. The commands alternate in random order, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

BARE, CLICK = "python -c pass", 'python -c "import click"'


def commands(file: Path | None) -> dict[str, list[str]]:
    """What is timed, by the name it is printed under."""
    edgeport = [sys.executable, "-m", "exporter.cli.main"]
    table = {
        BARE: [sys.executable, "-c", "pass"],
        CLICK: [sys.executable, "-c", "import click"],
        "edgeport --help": [*edgeport, "--help"],
    }
    if file is not None:
        table[f"edgeport inspect {file.name}"] = [*edgeport, "inspect", str(file)]
    return table


def measure(table: dict[str, list[str]], runs: int, seed: int = 0) -> dict[str, list[float]]:
    """Seconds of each run of each command. Raises CalledProcessError when a command fails."""
    order, names = random.Random(seed), list(table)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(runs + 1):
        order.shuffle(names)
        for name in names:
            start = time.perf_counter()
            subprocess.run(table[name], check=True, capture_output=True)
            if number:  # the first round fills the page cache and the .pyc files
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time the command line's start.")
    parser.add_argument("file", nargs="?", type=Path, help="an artifact or checkpoint to inspect")
    parser.add_argument("--runs", type=int, default=20)
    chosen = parser.parse_args(arguments)
    if chosen.runs < 1:
        parser.error("--runs must be at least 1")
    seconds = measure(commands(chosen.file), chosen.runs)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{'command':<40} {'median s':>9} {'min s':>7} {'/ bare':>7} {'/ click':>7}")
    for name, median in medians.items():
        ratios = f"{median / medians[BARE]:7.1f} {median / medians[CLICK]:7.1f}"
        print(f"{name:<40} {median:9.3f} {min(seconds[name]):7.3f} {ratios}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
