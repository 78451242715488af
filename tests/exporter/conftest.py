"""A realistic manifest, and a bundle on disk that matches it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.artifact import digest, size_of
from exporter.bundle import finish, staged, write_golden
from exporter.manifest.schema import Manifest

_SIGNATURE = {
    "inputs": [{"name": "image", "shape": ["batch", 8, 8, 1], "dtype": "float32"}],
    "outputs": [{"name": "digit", "shape": ["batch", 10], "dtype": "float32"}],
}
_RANGE = {"low": 0.0, "high": 16.0, "source": "given in digits.npz"}
_TFLITE, _ONNX = "digits.float32.tflite", "digits.float32.onnx"
_SAVED = "digits.float32.savedmodel"
_NO_CUDA = (
    "ONNX Runtime has no CUDA device here: libcudart.so.13 could not be loaded. "
    "Install edgeport[cuda] and an NVIDIA driver, then run edgeport doctor."
)


def _artifact(path: str, fmt: str, size: int, road: str, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "path": path,
        "format": fmt,
        "precision": "float32",
        "signature": _SIGNATURE,
        "size_bytes": size,
        "sha256": "0" * 64,
        "road": road,
        "reused": False,
        "notes": list(notes),
    }


def _verdict(path: str, max_abs: float, noise_ratio: float, sqnr_db: float | None) -> dict[str, Any]:
    output = {
        "name": "digit",
        "basis": "logits",
        "max_abs": max_abs,
        "rmse": max_abs / 4,
        "sqnr_db": sqnr_db,
        "noise_ratio": noise_ratio,
        "top1_agreement": 1.0,
        "accuracy": 0.984,
        "nonfinite": 0,
        "samples": 500,
        "probability_max_abs": max_abs / 10,
        "ties": 0,
        "gate": {"measure": "noise_ratio", "value": noise_ratio, "limit": 4.0},
        "status": "agree",
        "reason": f"its error is {noise_ratio:.2g} times float32's own noise (limit 4)",
    }
    return {
        "artifact": path,
        "status": "agree",
        "reason": f"digit: {output['reason']}",
        "samples": 500,
        "seed": 0,
        "suites": {"given": 500},
        "input_range": {"image": _RANGE},
        "outputs": [output],
    }


def _timing(path: str, fmt: str, p50: float, rss: int) -> dict[str, Any]:
    return {
        "artifact": path,
        "format": fmt,
        "precision": "float32",
        "device": "cpu",
        "status": "ok",
        "reason": "",
        "threads": 2,
        "batch": 1,
        "boundary": "host_to_host",
        "p50_ms": {"value": p50, "low": p50 * 0.98, "high": p50 * 1.03},
        "p90_ms": {"value": p50 * 1.2},
        "p99_ms": {"value": p50 * 1.9, "low": None, "high": None},
        "min_ms": p50 * 0.9,
        "throughput": 1000 / p50,
        "load_ms": p50 * 40,
        "first_ms": p50 * 6,
        "peak_rss_bytes": rss,
        "samples": 1200,
        "samples_file": f"latency/{path}.cpu.t2.b1.npy",
        "flags": [],
    }


def _unavailable(path: str, fmt: str) -> dict[str, Any]:
    return {
        "artifact": path,
        "format": fmt,
        "precision": "float32",
        "device": "cuda",
        "status": "unavailable",
        "reason": _NO_CUDA,
        "threads": None,
        "batch": 1,
    }


def _document() -> dict[str, Any]:
    return {
        "schema": "edgeport.manifest/2",
        "tool": {
            "name": "edgeport",
            "version": "0.1.0",
            "command": ["edgeport", "run", "examples/digits.keras", "-o", "my out", "--device", "cpu", "--seed", "0"],
        },
        "source": {"path": "examples/digits.keras", "kind": "keras", "sha256": "a" * 64, "parameters": 99_338},
        "signature": _SIGNATURE,
        "preprocessing": {"image": _RANGE},
        "artifacts": [
            _artifact(_SAVED, "savedmodel", 812_000, "saved-model"),
            _artifact(_TFLITE, "tflite", 409_600, "saved-model", ("Two reshapes lost their shape arithmetic.",)),
            _artifact(_ONNX, "onnx", 402_112, "weightless-tf2onnx"),
        ],
        "failures": [
            {
                "format": "tflite",
                "precision": "int16x8",
                "step": "convert",
                "status": "unsupported",
                "reason": "BATCH_MATMUL has no 16x8 kernel (layer attention_1).",
                "exit_code": 3,
            }
        ],
        "verdicts": [
            _verdict(_SAVED, 0.0, 0.0, None),
            _verdict(_TFLITE, 2.9e-6, 0.84, 131.2),
            _verdict(_ONNX, 3.4e-6, 0.91, 129.8),
        ],
        "timings": [
            _timing(_SAVED, "savedmodel", 0.912, 412_000_000),
            _timing(_TFLITE, "tflite", 0.214, 61_000_000),
            _timing(_ONNX, "onnx", 0.131, 88_000_000),
            _unavailable(_ONNX, "onnx"),
        ],
        "comparisons": [
            {
                "baseline": _SAVED,
                "candidate": _ONNX,
                "ratio": {"value": 0.1436, "low": 0.139, "high": 0.151},
                "verdict": "FASTER",
            }
        ],
        "recommended": {"fastest": {"cpu": _ONNX}, "smallest": _ONNX},
        "environment": {
            "host": {
                "cpu": "AMD EPYC 7B13",
                "cores": 2,
                "memory_bytes": 8_221_000_000,
                "load_average": [0.4, 0.3, 0.2],
                "python": "3.11.9",
                "packages": {"tensorflow": "2.21.0", "keras": "3.15.1", "onnxruntime": "1.31.0"},
            },
        },
        "created": "2026-03-14T09:26:53Z",
    }


@pytest.fixture
def sample_document() -> dict[str, Any]:
    """Three artifacts that agree and are timed, a device that is not there, a target that could not be made."""
    return copy.deepcopy(_document())


@pytest.fixture
def sample_manifest(sample_document: dict[str, Any]) -> Manifest:
    return Manifest.from_document(sample_document)


def fill(staging: Path, document: dict[str, Any], seed: int = 0) -> Manifest:
    """Writes files for every artifact of the document, makes its rows true and finishes the bundle."""
    rng = np.random.default_rng(seed)
    for row in document["artifacts"]:
        path = staging / row["path"]
        if row["format"] == "savedmodel":
            (path / "variables").mkdir(parents=True)
            (path / "saved_model.pb").write_bytes(rng.bytes(300))
            (path / "variables" / "variables.index").write_bytes(rng.bytes(90))
        else:
            path.write_bytes(rng.bytes(400))
        row.update(size_bytes=size_of(path), sha256=digest(path))
    images = rng.uniform(0, 16, (4, 8, 8, 1)).astype(np.float32)
    write_golden(staging / "golden.npz", {"image": images}, {"digit": np.full((4, 10), 0.1, np.float32)})
    (staging / "latency").mkdir()
    np.save(staging / "latency" / "digits.float32.onnx.cpu.npy", np.arange(50, dtype=np.int64))
    (staging / "edgeport.log").write_text("TensorFlow said nothing of interest.\n")
    return finish(staging, Manifest.from_document(document))


@pytest.fixture
def fill_bundle() -> Callable[..., Manifest]:
    return fill


@pytest.fixture
def bundle(tmp_path: Path, sample_document: dict[str, Any]) -> Path:
    """A bundle on disk that verifies."""
    output = tmp_path / "out"
    with staged(output) as staging:
        fill(staging, sample_document)
    return output
