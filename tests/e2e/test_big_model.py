"""A model of 2.2 GB of weights: ONNX with external data, TFLite refused with the reason, within 12 GB of memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MAKE = """
import sys
import keras
x = inputs = keras.Input((16384,), name="x")
for index in range(2):
    x = keras.layers.Dense(16384, activation="relu", kernel_initializer="glorot_uniform", name=f"dense_{index}")(x)
keras.Model(inputs, keras.layers.Dense(8, name="labels")(x)).save(sys.argv[1])
"""
NEEDED_GB = 12


@pytest.mark.slow
def test_2_2_gb_of_weights(edgeport: Any, tmp_path: Path) -> None:
    import psutil

    if psutil.virtual_memory().available < (NEEDED_GB + 2) * 1e9 or shutil.disk_usage(tmp_path).free < 12e9:
        pytest.skip(f"needs {NEEDED_GB + 2} GB of free memory and 12 GB of disk")
    source = tmp_path / "big.keras"
    subprocess.run([sys.executable, "-c", MAKE, str(source)], check=True, capture_output=True)
    out = tmp_path / "out"
    ran = edgeport(
        "export", source, "-o", out, "-f", "onnx", "-f", "tflite", "--memory-limit", str(NEEDED_GB), "--json"
    )
    assert ran.code == 10, ran.stderr
    (artifact,) = ran.document["artifacts"]
    assert artifact["format"] == "onnx"
    assert artifact["size_bytes"] > 2.1e9
    (failure,) = ran.document["failures"]
    assert failure["status"] == "unsupported"
    assert "2 GiB" in failure["reason"]
    assert (out / "big.float32.onnx.data").stat().st_size > 2.1e9
    listed = {row["path"] for row in json.loads((out / "manifest.json").read_text())["files"]}
    assert {"big.float32.onnx", "big.float32.onnx.data"} <= listed
    source.unlink()
    _runs(out / "big.float32.onnx")


def _runs(path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    output = session.run(None, {"x": np.ones((1, 16384), np.float32)})[0]
    assert output.shape == (1, 8)
    assert np.abs(output).max() > 0
