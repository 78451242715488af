"""A phone's rows, from what benchmark_model prints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converters.errors import StepError
from exporter.doctor.tiny import tiny_tflite
from validate.latency import BenchJob, Status, measure
from validate.latency.boards.adb import delegates, parse
from validate.latency.job import rows_of

# TensorFlow's tflite/tools/benchmark prints such lines; durations are microseconds.
PRINTED = """STARTING!
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=13 first=41302 curr=37911 min=37450 max=41302 avg=38310.5 std=975 p5=37450 median=37944 p95=41302
Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=37900 curr=38012 min=37402 max=39877 avg=37980.2 std=412 p5=37410 median=37895 p95=38711
Inference timings in us: Init: 21034, First inference: 41302, Warmup (avg): 38310.5, Inference (avg): 37980.2
"""


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "m.float32.tflite"
    path.write_bytes(tiny_tflite())
    return path


def test_the_steady_statistics_become_the_row(artifact: Path) -> None:
    (row,) = rows_of([artifact], BenchJob.of(threads=(2,)))
    timing = parse(row, PRINTED)
    assert timing.status is Status.OK
    assert timing.p50_ms is not None
    assert timing.p95_ms is not None
    assert (timing.p50_ms.value, timing.p50_ms.low) == (37.895, None)
    assert (timing.p95_ms.value, timing.min_ms) == (38.711, 37.402)
    assert timing.facts == {"runs": 50}
    assert "unchecked" in timing.flags
    assert timing.to_json()["p50_ms"]["value"] == 37.895


# Lines as people published them: tensorflow#56301, #57907, #49012.
_ON_A_GPU = """E tflite  : Following operations are not supported by GPU delegate:
E tflite  : ARG_MAX: Operation is not supported.
CAST: Not supported cast case
DEQUANTIZE:
E tflite  : 294 operations will run on the GPU, and the remaining 7 operations will run on the CPU.
"""
_XNNPACK = (
    "INFO: Replacing 5 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, "
    "yielding 3 partitions for the whole graph.\n"
)


def test_delegates_are_counted_with_the_reasons_for_the_rest() -> None:
    assert delegates(PRINTED) == {}
    assert delegates(_XNNPACK)["delegates"] == [
        {"delegate": "TfLiteXNNPackDelegate", "taken": 5, "of": 31, "partitions": 3}
    ]
    (gpu,) = delegates(_ON_A_GPU)["delegates"]
    assert (gpu["taken"], gpu["of"]) == (294, 301)
    assert gpu["left"] == {
        "ARG_MAX": "Operation is not supported.",
        "CAST": "Not supported cast case",
        "DEQUANTIZE": "",
    }
    unused = "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
    assert delegates(unused)["delegates"] == [{"delegate": "GPU", "taken": 0, "reason": unused}]


def test_a_binary_without_percentiles_has_its_mean_flagged(artifact: Path) -> None:
    (row,) = rows_of([artifact], BenchJob())
    timing = parse(row, "count=50 first=10 curr=12 min=9 max=20 avg=11.5 std=1")
    assert timing.p50_ms is not None
    assert timing.p50_ms.value == 0.0115
    assert "mean_for_p50" in timing.flags


def test_no_statistics_is_an_error(artifact: Path) -> None:
    (row,) = rows_of([artifact], BenchJob())
    with pytest.raises(StepError, match="no statistics"):
        parse(row, "Segmentation fault")


def test_without_adb_the_mend_is_told(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (timing, _) = measure([artifact], BenchJob.of(devices=("adb:emulator-5554",))).timings
    assert timing.status is Status.ERROR
    assert "adb is not installed" in timing.reason


# No phone is here: the script below stands in for adb. It shows that the commands are really executed in their order
# and that their answers are read; what a phone answers was never seen. A test of the protocol alone.
_STANDS_IN_FOR_ADB = """#!/bin/sh
echo "$@" >> "$ADB_LOG"
[ "$1 $2" = "-s phone1" ] || { echo "error: device '$2' not found" >&2; exit 1; }
shift 2
case "$*" in
  "shell getprop ro.product.model") echo "Stand-in" ;;
  push*) cp "$2" "$ADB_FOLDER/" ;;
  "shell test -x "*) [ -z "$ADB_NO_BINARY" ] ;;
  *benchmark_model*) cat "$ADB_PRINTED" ;;
esac
"""


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an executable called `adb` at the head of PATH; returns the log of what it was called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "adb").write_text(_STANDS_IN_FOR_ADB)
    (folder / "adb").chmod(0o755)
    (tmp_path / "printed").write_text(PRINTED)
    (tmp_path / "phone").mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for name, path in (("ADB_LOG", "log"), ("ADB_PRINTED", "printed"), ("ADB_FOLDER", "phone")):
        monkeypatch.setenv(name, str(tmp_path / path))
    return tmp_path / "log"


def test_protocol_with_a_stand_in_for_adb(adb: Path, artifact: Path, tmp_path: Path) -> None:
    other = tmp_path / "m.float32.onnx"
    other.write_bytes(b"onnx")
    latency = measure([artifact, other], BenchJob.of(threads=(2,), max_seconds=15, devices=("adb:phone1",)))
    timed, with_gpu, untimed = latency.timings[:3]
    assert timed.entry().target == "adb:phone1"
    assert (timed.entry().setting, with_gpu.entry().setting) == ("default", "gpu")
    assert timed.p50_ms is not None
    assert timed.p50_ms.value == 37.895
    assert untimed.status is Status.UNAVAILABLE
    assert latency.host["cpu"] == "Stand-in"
    assert (tmp_path / "phone" / artifact.name).read_bytes() == artifact.read_bytes()
    said = adb.read_text().splitlines()
    assert "--num_threads=2 --use_xnnpack=true --max_secs=5" in next(s for s in said if "--graph=" in s)
    assert said[-1].startswith("-s phone1 shell rm -rf /data/local/tmp/edgeport-bench"), "nothing stays on the phone"


def test_protocol_what_adb_refuses_is_told(adb: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(phone: str) -> str:
        return measure([artifact], BenchJob.of(devices=(f"adb:{phone}",))).timings[0].reason

    assert "device 'phone2' not found" in reason("phone2")
    monkeypatch.setenv("ADB_NO_BINARY", "1")
    assert "benchmark_model is not there" in reason("phone1")
