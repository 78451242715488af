"""A fault that shows on one target alone: found there, and named by its layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from validate.targets import TARGETS

from ..tools import missing

OPENVINO = next(target for target in TARGETS if target.name == "openvino")


@pytest.fixture(scope="module")
def upsampled(edgeport: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A transposed convolution with a bias and a ReLU, which OpenVINO's TFLite reader takes for one without."""
    import keras

    folder = tmp_path_factory.mktemp("upsampled")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3), name="x")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(inputs)
    x = keras.layers.Conv2DTranspose(
        4, 2, strides=2, activation="relu", bias_initializer="random_normal", name="upsampling"
    )(x)
    model = keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", name="last")(x))
    model.save(folder / "m.keras")
    assert edgeport("export", folder / "m.keras", "-o", folder / "out", "-f", "tflite").code == 0
    return folder / "m.keras", folder / "out" / "m.float32.tflite"


@pytest.mark.skipif(not OPENVINO.installed, reason=missing("the package openvino"))
def test_a_fault_of_one_target_is_named_by_its_layer(edgeport: Any, upsampled: tuple[Path, Path]) -> None:
    here = edgeport("localize", *upsampled, "--json")
    there = edgeport("localize", *upsampled, "--on", "openvino", "--json")
    assert (here.code, there.code) == (0, 1)
    assert there.document["first_divergent_layer"] == "upsampling"


@pytest.mark.parametrize("command", ["localize", "validate"])
def test_a_target_that_shows_no_answers_is_refused(edgeport: Any, upsampled: tuple[Path, Path], command: str) -> None:
    refused = edgeport(command, *upsampled, "--adb", "phone1", "--json")
    assert refused.code == 2
    assert "adb:phone1 shows no answers" in refused.document["error"]["message"]
