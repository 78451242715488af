"""Faults that converters and people really make, in the digits network: each is found by the self-check."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_MUTATE = """
import sys
import keras, numpy as np
source, data, folder = sys.argv[1:]
def load():
    return keras.models.load_model(source)

model = load()
norms = [layer for layer in model._flatten_layers() if type(layer).__name__ == "BatchNormalization"]
norms[len(norms) // 2].epsilon = 1e-5 if norms[0].epsilon > 2e-5 else 1e-3
model.save(f"{folder}/epsilon.keras")

model = load()
dense = [layer for layer in model._flatten_layers() if type(layer).__name__ == "Dense"][-1]
kernel, bias = dense.get_weights()
bias[int(bias.argmax())] += 1e-3
dense.set_weights([kernel, bias])
model.save(f"{folder}/bias.keras")

keras.utils.set_random_seed(0)
model = load()
given = np.load(data)
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(given["image"], given["labels"], epochs=1, batch_size=128, verbose=0)
model.save(f"{folder}/next_epoch.keras")
"""
MUTANTS = ("epsilon", "bias", "next_epoch")


@pytest.fixture(scope="module")
def digits(edgeport: Callable[..., Any], examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the digits checkpoint, and beside it a folder of artifacts for every mutant."""
    folder = tmp_path_factory.mktemp("mutants")
    source = examples / "digits_se_inception.keras"
    formats = ("-f", "tflite", "-f", "onnx")
    ran = edgeport("run", source, "-o", folder / "sound", *formats, "--max-seconds", "0.5")
    assert ran.code == 0, ran.stderr
    command = [sys.executable, "-c", _MUTATE, source, examples / "digits.npz", folder]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    for name in MUTANTS:
        ran = edgeport("export", folder / f"{name}.keras", "-o", folder / name, *formats)
        assert ran.code == 0, ran.stderr
    return folder


def checked(bundle: Path) -> tuple[int, str]:
    command = [sys.executable, "-I", str(bundle / "selfcheck" / "check.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.slow
def test_the_sound_artifacts_agree_with_room_to_spare(digits: Path) -> None:
    code, said = checked(digits / "sound")
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_a_mutant_disagrees(digits: Path, tmp_path: Path, name: str, suffix: str) -> None:
    bundle = Path(shutil.copytree(digits / "sound", tmp_path / "out"))
    artifact = f"digits_se_inception.float32.{suffix}"
    shutil.copyfile(digits / name / f"{name}.float32.{suffix}", bundle / artifact)
    code, said = checked(bundle)
    assert code == 1, said
    assert f"{artifact}: 'labels': disagree" in said


@pytest.mark.slow
def test_an_export_that_judged_nothing_has_no_self_check(digits: Path) -> None:
    assert not (digits / "bias" / "selfcheck").exists()
