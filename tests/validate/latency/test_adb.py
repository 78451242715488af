"""A phone's rows, from what benchmark_model prints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from converters.errors import StepError
from validate.latency import MeasureOptions, Status
from validate.latency.adb import measure_on_phone, parse
from validate.latency.options import rows_of

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
    path.write_bytes(b"TFL3" * 10)
    return path


def test_the_steady_statistics_become_the_row(artifact: Path) -> None:
    (row,) = rows_of([artifact], MeasureOptions(threads=(2,)))
    timing = parse(row, PRINTED)
    assert timing.status is Status.OK
    assert timing.p50_ms is not None
    assert timing.p95_ms is not None
    assert (timing.p50_ms.value, timing.p50_ms.low) == (37.895, None)
    assert (timing.p95_ms.value, timing.min_ms) == (38.711, 37.402)
    assert timing.facts == {"runs": 50}
    assert "unchecked" in timing.flags
    assert timing.to_json()["p50_ms"]["value"] == 37.895


def test_a_binary_without_percentiles_has_its_mean_flagged(artifact: Path) -> None:
    (row,) = rows_of([artifact], MeasureOptions())
    timing = parse(row, "count=50 first=10 curr=12 min=9 max=20 avg=11.5 std=1")
    assert timing.p50_ms is not None
    assert timing.p50_ms.value == 0.0115
    assert "mean_for_p50" in timing.flags


def test_no_statistics_is_an_error(artifact: Path) -> None:
    (row,) = rows_of([artifact], MeasureOptions())
    with pytest.raises(StepError, match="no statistics"):
        parse(row, "Segmentation fault")


@pytest.mark.skipif(shutil.which("adb") is not None, reason="adb is here")
def test_without_adb_the_mend_is_told(artifact: Path) -> None:
    with pytest.raises(StepError, match="adb is not installed"):
        measure_on_phone([artifact], MeasureOptions(), "emulator-5554")
