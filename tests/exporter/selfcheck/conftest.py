"""One bundle with names that try to break out of every literal, and a copy of it to break."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from converters.isolation import Limits
from exporter.options import RunOptions
from exporter.run.pipeline import run

NAMES = (
    'cl"ass\\u0041 #{x} ${y}',
    "*\\ la'bel --><!-- </script> ?)\"\n\t\u00e9\u202e\U0001f600",
    "reg]]> %s {{ 1 }} `",
)
"""Of a softmax, a sigmoid and a linear output."""

_MAKE = """
import sys
import keras
from keras import layers as kl
keras.utils.set_random_seed(1)
path, *names = sys.argv[1:]
x, ids = keras.Input((6,), name="x"), keras.Input((3,), dtype="int64", name="ids")
embedded = kl.Flatten()(kl.Embedding(10, 4)(ids))
h = kl.Concatenate()([kl.Dense(8, activation="relu", bias_initializer="ones", name="hidden")(x), embedded])
p = kl.Dense(3, activation="softmax", name="p")(h)
s = kl.Dense(2, activation="sigmoid", name="s")(h)
keras.Model([x, ids], dict(zip(names, (p, s, kl.Dense(2, name="r")(h))))).save(path)
"""


@pytest.fixture(scope="session")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of `.tflite` and `.onnx` in float32."""
    folder = tmp_path_factory.mktemp("nasty")
    checkpoint = folder / "nasty.keras"
    subprocess.run([sys.executable, "-c", _MAKE, str(checkpoint), *NAMES], check=True, capture_output=True)
    options = RunOptions.of(formats=("tflite", "onnx"), time=False, limits=Limits(timeout_s=600))
    run(str(checkpoint), folder / "out", options)
    return folder / "out"


@pytest.fixture
def copied(nasty: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(nasty, tmp_path / "out"))
