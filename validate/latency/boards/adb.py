"""Measuring on a phone: the artifact is pushed over adb and timed by the TFLite benchmark binary on it.

The binary is TensorFlow's `benchmark_model`, put at `/data/local/tmp/benchmark_model` by whoever owns the phone. It
reports a median and no samples, so that these rows have no interval, and answers that nobody sees.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from converters.artifact import size_of
from converters.errors import EdgeportError, StepError
from converters.formats import Format
from converters.readers.tflite_file import read_tflite
from validate.latency.job import BenchJob
from validate.latency.results import Latency, Row, Timing
from validate.latency.rows import Status
from validate.latency.statistics.percentiles import Interval

BINARY = "/data/local/tmp/benchmark_model"
_FOLDER = "/data/local/tmp/edgeport-bench"
_TIMEOUT_S = 300
_STATISTICS = re.compile(r"count=(?P<count>\d+).*?first=(?P<first>\d+).*?min=(?P<min>\d+).*?avg=(?P<avg>[\d.e+]+)")
_MEDIAN = re.compile(r"median=(?P<median>\d+)")
_REPLACED = re.compile(
    r"Replacing (?P<taken>\d+) out of (?P<total>\d+) node\(s\) with delegate \((?P<name>\w+)\) node, "
    r"yielding (?P<partitions>\d+) partitions"
)
_UNSUPPORTED = "operations are not supported by GPU delegate:"
_ON_GPU = re.compile(
    r"(?P<taken>\d+) operations will run on the GPU, and the remaining (?P<left>\d+) operations will run on the CPU"
)
_REASON = re.compile(r"(?:^|: )([A-Z][A-Z0-9_]+):[ \t]*([^\n]*?)[ \t]*$", re.MULTILINE)
_UNUSED = re.compile(r"Though (?P<name>\w+) delegate is explicitly applied, the model graph will not be executed[^\n]*")
_P95 = re.compile(r"p95=(?P<p95>\d+)")


def measure_on_phone(rows: Sequence[Row], job: BenchJob) -> Latency:
    """Times the rows of one phone; formats other than `.tflite` are `unavailable` there.

    Raises:
        StepError: adb is not installed, the phone does not answer, or the binary is not on it.
    """
    serial = rows[0].device.detail
    if shutil.which("adb") is None:
        raise StepError(
            "adb is not installed here.", next_step="Install the Android platform tools, or use --ssh.", step="bench"
        )
    _adb(serial, "shell", f"test -x {BINARY}", missing=f"{BINARY} is not there")
    model = _adb(serial, "shell", "getprop ro.product.model").strip()
    _adb(serial, "shell", f"mkdir -p {_FOLDER}")
    try:
        seconds = job.options.max_seconds / len(rows)
        timings = tuple(_time(row, serial, seconds) for row in rows)
    finally:
        _adb(serial, "shell", f"rm -rf {_FOLDER}")
    return Latency({"cpu": model, "system": "Android", "serial": serial}, timings)


def parse(row: Row, output: str) -> Timing:
    """The row from benchmark_model's last statistics line, whose durations are in microseconds."""
    matches = [match for line in output.splitlines() if (match := _STATISTICS.search(line))]
    if not matches:
        raise StepError("benchmark_model printed no statistics.", next_step="Run it by hand on the phone.")
    last, text = matches[-1], matches[-1].string
    median, p95 = _MEDIAN.search(text), _P95.search(text)
    middle = float(median["median"]) if median else float(last["avg"])
    flags = ("measured_by_benchmark_model", "unchecked", *(() if median else ("mean_for_p50",)))
    extras: dict[str, Any] = {"p95_ms": Interval(float(p95["p95"]) / 1e3)} if p95 else {}
    return Timing(
        row,
        Status.OK,
        size_bytes=size_of(row.artifact),
        p50_ms=Interval(middle / 1e3),
        min_ms=int(last["min"]) / 1e3,
        throughput=row.batch * 1e6 / float(last["avg"]),
        flags=flags,
        facts={"runs": int(last["count"]), **delegates(output)},
        **extras,
    )


def delegates(output: str) -> dict[str, Any]:
    """`delegates` of a row's facts: what each took of the file's operations, and why it left the rest, as far as the
    runtime says: its GPU delegate names the operations, XNNPACK tells numbers alone."""
    found = []
    for match in _REPLACED.finditer(output):
        taken, total, partitions = (int(match[name]) for name in ("taken", "total", "partitions"))
        found.append({"delegate": match["name"], "taken": taken, "of": total, "partitions": partitions})
    if gpu := _ON_GPU.search(output):
        taken, left = int(gpu["taken"]), int(gpu["left"])
        reasons = dict(_REASON.findall(output[: gpu.start()].partition(_UNSUPPORTED)[2]))
        found.append({"delegate": "GPU", "taken": taken, "of": taken + left, "left": reasons})
    if unused := _UNUSED.search(output):
        found.append({"delegate": unused["name"], "taken": 0, "reason": unused[0].strip()})
    return {"delegates": found} if found else {}


def _time(row: Row, serial: str, seconds: float) -> Timing:
    if row.format is not Format.TFLITE:
        reason = f"{row.artifact.name}: benchmark_model runs .tflite files alone."
        return Timing(row, Status.UNAVAILABLE, reason, "Measure it with --ssh on a board that has its runtime.")
    remote_path = f"{_FOLDER}/{row.artifact.name}"
    try:
        if len(read_tflite(row.artifact).signatures) > 1:
            reason = f"{row.artifact.name}: benchmark_model runs a file's first signature, and it has several."
            return Timing(row, Status.UNAVAILABLE, reason, "Measure it here, or with --ssh, with --signature NAME.")
        _adb(serial, "push", str(row.artifact), remote_path)
        xnnpack, gpu = ("true" if on else "false" for on in (row.variant.xnnpack, row.variant.gpu))
        delegate = f"--use_xnnpack={xnnpack}" + (f" --use_gpu={gpu}" if row.variant.gpu else "")
        arguments = f"--graph={remote_path} --num_threads={row.threads} {delegate} --max_secs={seconds:.0f}"
        return parse(row, _adb(serial, "shell", f"{BINARY} {arguments} 2>&1"))
    except EdgeportError as error:
        return Timing(row, Status.ERROR, error.message, error.next_step, error.exit_code)


def _adb(serial: str, *arguments: str, missing: str = "") -> str:
    try:
        done = subprocess.run(
            ["adb", "-s", serial, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        cause = f"adb did not answer within {_TIMEOUT_S} s"
    else:
        if done.returncode == 0:
            return done.stdout
        cause = missing if missing and not done.stderr.strip() else (done.stderr or done.stdout).strip()[-200:]
    raise StepError(f"The phone {serial} cannot be used: {cause}.", next_step="Look at `adb devices`.", step="bench")
