"""Every GPU row's whole path: with the CPU provider standing in for the session, and for real, where a GPU is missing.

A stand-in proves that the path works and nothing about a GPU: its entries say `stand_in`.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from converters.formats import Format
from validate.latency import BenchJob
from validate.latency.gpu_rows import ROWS, GpuRow, evidence, judged
from validate.latency.host.nvml import gpu_state

SCRIPT = Path(__file__).parents[3] / "scripts" / "gpu_evidence.py"


@pytest.fixture(scope="module", autouse=True)
def loaded_before() -> frozenset[str]:
    """What other tests of this process had imported."""
    return frozenset(sys.modules)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_evidence", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options(folder: Path) -> BenchJob:
    return BenchJob.of(threads=(1,), max_seconds=2, golden=folder / "golden.npz")


_QUICK = {"cuda, device resident"}


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[] if row.name in _QUICK else pytest.mark.slow, id=row.name) for row in ROWS]
)
def test_the_whole_path_with_the_cpu_standing_in(row: GpuRow, onnx_folder: Path, tensorflow_folder: Path) -> None:
    onnx = row.format is Format.ONNX
    artifact = onnx_folder / "dense.float32.onnx" if onnx else tensorflow_folder / "dense.float32.savedmodel"
    entry = evidence(row, artifact, options(onnx_folder), stand_in=True)
    assert entry["status"] == "ok", entry
    assert entry["stand_in"] is True
    assert entry["device"] == "cpu"
    assert entry["timing"]["p50_ms"]["value"] > 0
    assert "unchecked" not in entry["timing"]["flags"]
    if onnx:
        assert entry["proof"]["nodes"] == {"CPUExecutionProvider": entry["proof"]["nodes"]["CPUExecutionProvider"]}
        assert entry["proof"]["node_time_share"] == 1
    else:
        assert all("CPU" in device for device in entry["proof"]["output_devices"])


@pytest.mark.skipif("missing" not in gpu_state(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("name", ["cuda", "tensorrt", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_without_a_gpu_a_row_is_unavailable_with_the_mend(
    name: str, onnx_folder: Path, tensorflow_folder: Path
) -> None:
    row = next(row for row in ROWS if row.name == name)
    artifact = (
        onnx_folder / "dense.float32.onnx"
        if row.format is Format.ONNX
        else tensorflow_folder / "dense.float32.savedmodel"
    )
    entry = evidence(row, artifact, options(onnx_folder))
    assert entry["status"] == "unavailable", entry
    assert entry["reason"]
    assert entry["next"]
    assert "timing" not in entry


def test_the_name_of_the_device_needs_its_share_of_node_time() -> None:
    mixed = {"CUDAExecutionProvider": {"nodes": 10.0, "us": 990.0}, "CPUExecutionProvider": {"nodes": 4.0, "us": 10.0}}
    assert judged(mixed, "CUDAExecutionProvider")["proven"]
    assert not judged(mixed, "TensorrtExecutionProvider")["proven"]
    mixed["CPUExecutionProvider"]["us"] = 20.0
    assert not judged(mixed, "CUDAExecutionProvider")["proven"]
    assert not judged({}, "CUDAExecutionProvider")["proven"]


def test_rows_without_an_entry_from_a_device_are_never_run(script: Any) -> None:
    entry = {"stand_in": True, "status": "ok"}
    for entries in ({}, {"cuda": entry}):
        lines = script.table(entries).splitlines()[2:]
        assert len(lines) == len(ROWS)
        assert all("| never run |" in line for line in lines)


def test_an_entry_from_a_device_is_shown(script: Any) -> None:
    interval = {"value": 1.5, "low": 1.4, "high": 1.6}
    timing = {"p50_ms": interval, "p90_ms": interval, "load_ms": 900.0, "first_ms": 40.0}
    entry = {
        "stand_in": False,
        "status": "ok",
        "when": "2026-01-01",
        "timing": timing,
        "proof": {"node_time_share": 1.0, "gpu": {"name": "Some GPU"}},
    }
    (line,) = (line for line in script.table({"cuda": entry}).splitlines() if line.startswith("| cuda |"))
    assert "Some GPU" in line
    assert "1.500 ms [1.400, 1.600]" in line
    refused = entry | {"status": "not proven", "reason": ""}
    assert "| not proven" in script.table({"cuda": refused})


def test_the_page_is_generated_from_the_evidence(script: Any, tmp_path: Path) -> None:
    """docs/latency.md as it lies there is what the script would write. On a copy: other tests read the pages."""
    docs = SCRIPT.parent.parent / "docs"
    for name in (script.PAGE, script.EVIDENCE):
        if (docs / name).is_file():
            shutil.copy(docs / name, tmp_path)
    script.write_page(tmp_path)
    assert (tmp_path / script.PAGE).read_text(encoding="utf-8") == (docs / script.PAGE).read_text(encoding="utf-8")


def test_no_framework_is_loaded_here(loaded_before: frozenset[str]) -> None:
    assert not {"tensorflow", "onnxruntime", "ai_edge_litert"} & (set(sys.modules) - loaded_before)
