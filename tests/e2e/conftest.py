"""One real bundle for all tests of a session, and real checkpoints for those that need their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAKE = """
import sys
import keras
from keras import layers as kl
folder, names = sys.argv[1], sys.argv[2:]
keras.utils.set_random_seed(1)

@keras.saving.register_keras_serializable("shop")
class Doubling(kl.Layer):
    def call(self, x):
        return x * 2

def flex():
    inp = keras.Input((3, 3), name="matrix")
    return keras.Model(inp, keras.ops.det(kl.Dense(3, name="features")(inp)))

def recurrent():
    inp = keras.Input((6, 3), name="series")
    return keras.Model(inp, kl.Dense(2, name="labels")(kl.LSTM(4)(inp)))

def custom():
    inp = keras.Input((4,), name="x")
    return keras.Model(inp, Doubling(name="twice")(inp))

def scaling_lambda():
    inp = keras.Input((4,), name="x")
    return keras.Model(inp, kl.Dense(2)(kl.Lambda(lambda t: t / 255, name="scale")(inp)))

def plain():
    inp = keras.Input((6,), name="x")
    return keras.Model(inp, kl.Dense(3, activation="softmax", name="labels")(kl.Dense(8, activation="relu")(inp)))

def dead():
    inp = keras.Input((6,), name="x")
    return keras.Model(inp, kl.Dense(3, kernel_initializer="zeros", bias_initializer="ones", name="out")(inp))

for name in names:
    model = globals()[name]()
    model.save(f"{folder}/{name}.keras")
    if name == "plain":
        model.save(f"{folder}/plain.h5")
        model.export(f"{folder}/plain_saved_model", verbose=False)
"""


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small checkpoints, made by one process."""
    folder = tmp_path_factory.mktemp("checkpoints")
    names = ["flex", "recurrent", "custom", "scaling_lambda", "plain", "dead"]
    subprocess.run([sys.executable, "-c", MAKE, str(folder), *names], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def digits(edgeport: Any, examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The demo's bundle: (folder, manifest document)."""
    folder = tmp_path_factory.mktemp("digits") / "out"
    ran = edgeport(
        "run",
        examples / "digits_se_inception.keras",
        "-o",
        folder,
        "--inputs",
        examples / "digits.npz",
        "--max-seconds",
        "5",
        "--device",
        "cpu",
        "--device",
        "cuda",
        "--json",
    )
    assert ran.code == 0, ran.stderr
    return folder, ran.document
