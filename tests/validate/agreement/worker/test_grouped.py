"""The oracle's grouped convolutions are Keras' own, to float64's rounding, and take none of XLA's loops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROUNDINGS = 1e-14


def test_grouped_convolutions_are_what_keras_makes_of_them() -> None:
    script = Path(__file__).with_name("grouped_layers.py")
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 16
    for name, layer in found.items():
        assert layer["dtype"] == "float64", name
        assert layer["error"] <= ROUNDINGS, name
        assert not layer["compiled"], name
