"""Arm's NPUs: estimated, never timed; what stays on the CPU has its reason; another file after Vela is an error."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from converters.errors import StepError
from validate.agreement import JudgeJob
from validate.agreement.compare import compare
from validate.latency import BenchJob
from validate.latency.estimates import not_timed
from validate.latency.experiment import measure
from validate.latency.job import rows_of
from validate.latency.results import Latency
from validate.latency.rows import TimingRow
from validate.targets import Places, ethos_u

pytest.importorskip("ethosu", reason="needs the extra `ethos-u`")

NPUS = ("ethos-u55", "ethos-u65", "ethos-u85")


@pytest.fixture(scope="module")
def estimated(files: Path) -> Latency:
    names = ("small.int8.tflite", "small.tflite", "small.onnx")
    return measure([files / name for name in names], BenchJob(places=Places(devices=NPUS)))


def rows(latency: Latency, name: str) -> list[TimingRow]:
    return [timing.entry() for timing in latency.timings if timing.row.artifact.name == name]


def test_an_int8_file_is_estimated_and_has_no_figure_among_those_that_were_measured(estimated: Latency) -> None:
    found = rows(estimated, "small.int8.tflite")
    assert [row.target for row in found] == list(NPUS)
    for row in found:
        assert (row.status, row.kind, row.runtime) == ("untimed", "estimated", "vela")
        assert row.p50_ms is None
        assert row.throughput is None
        assert row.estimate is not None
        assert row.estimate.accelerator.startswith(row.target)
        assert row.estimate.ms > 0
        assert row.estimate.sram_bytes > 0
        assert row.estimate.npu + sum(row.estimate.cpu.values()) == row.estimate.operators
        assert row.reason.startswith("Estimated by Vela")
        assert "not measured" in row.reason
    assert estimated.comparisons == ()


def test_what_stays_on_the_cpu_has_its_reason(estimated: Latency) -> None:
    for row in rows(estimated, "small.tflite"):
        assert (row.status, row.kind, row.estimate) == ("untimed", "never", None)
        assert "unsupported DataType Float32" in row.reason
        assert "int8" in row.next


def test_only_tflite_files_have_a_place_there(estimated: Latency) -> None:
    for row in rows(estimated, "small.onnx"):
        assert row.status == "unavailable"
        assert "tflite files alone" in row.reason


def test_numbers_are_not_claimed_there(files: Path) -> None:
    job = JudgeJob(places=Places(devices=("ethos-u55",)))
    agreement = compare(files / "small.keras", [files / "small.int8.tflite"], job)
    assert [verdict.target for verdict in agreement.verdicts] == ["host"]
    (missing,) = agreement.unavailable
    assert "is not seen here" in missing.reason
    assert "bench --on ethos-u55" in missing.next


class _Channel:
    def event(self, **_: Any) -> None: ...


def asked(path: Path) -> dict[str, Any]:
    return {"path": str(path), "device": "ethos-u55"}


def test_a_file_that_is_another_after_vela_is_an_error(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its integers would be fed and read by other scales than were judged."""
    honest = ethos_u.read_end_quantization

    def other(path: Path) -> dict[str, tuple[float, int]]:
        scales = honest(path)
        return {name: (scale * 2, zero) for name, (scale, zero) in scales.items()} if "_vela" in path.name else scales

    monkeypatch.setattr(ethos_u, "read_end_quantization", other)
    with pytest.raises(StepError, match=r"small\.int8\.tflite is another after Vela: it has other scales"):
        ethos_u.estimate(asked(files / "small.int8.tflite"), _Channel())  # type: ignore[arg-type]


def test_a_compiler_that_dies_is_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = subprocess.CompletedProcess([], -11, "", "Failed to load TfLite model.\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: died)
    with pytest.raises(StepError, match=r"not compiled by Vela \(SIGSEGV\): Failed to load TfLite model"):
        ethos_u.estimate(asked(files / "small.int8.tflite"), _Channel())  # type: ignore[arg-type]


def test_damaged_bytes_are_an_error_of_their_row(files: Path, tmp_path: Path) -> None:
    content = (files / "small.int8.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    job = BenchJob(places=Places(devices=("ethos-u55",)))
    (row,) = rows_of([tmp_path / "cut.tflite"], job)
    timing = not_timed(row, job)
    assert timing.status == "error"
    assert "cut.tflite" in timing.reason
