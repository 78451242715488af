"""One bundle with names that try to break out of every literal, and the packages that other languages need."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from converters.isolation import Limits
from exporter.options import RunOptions
from exporter.pipeline import run

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


@pytest.fixture(scope="session")
def needs() -> Callable[[str], str]:
    """The path of a program, or the test is skipped."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is not installed")
        return path

    return find


@pytest.fixture(scope="session")
def npm(needs: Callable[[str], str], pytestconfig: pytest.Config) -> Callable[[str], Path]:
    """A folder with `node_modules` that holds one package; kept in pytest's cache from run to run."""

    def install(package: str) -> Path:
        needs("node")
        folder = Path(pytestconfig.cache.mkdir(f"npm-{package}"))  # type: ignore[union-attr]
        if not (folder / "node_modules" / package / "package.json").is_file():
            command = [needs("npm"), "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", package]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"npm could not install {package}: {done.stderr.strip()[-200:]}")
        return folder

    return install
