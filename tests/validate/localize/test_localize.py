"""Localisation on the digits network: every mutant's broken layer by name, and none in a good file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exporter.run.twins import Twins
from validate.localize import localize_each


@pytest.fixture(scope="session")
def broken_files(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mutants")
    script = Path(__file__).with_name("write_mutants.py")
    command = [sys.executable, str(script), str(examples / "digits_se_inception.keras"), str(folder), "onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads((folder / "places.json").read_text())
    return found


@pytest.mark.slow
def test_the_broken_layer_of_every_mutant_is_named(
    broken_files: dict[str, str], examples: Path, tmp_path: Path
) -> None:
    found = localize_each(
        examples / "digits_se_inception.keras", [Path(path) for path in broken_files], Twins(tmp_path).make
    )
    assert len(found) == 11
    named = {str(result.candidate): result.first_divergent_layer for result in found}
    assert named == broken_files


@pytest.mark.slow
def test_the_command_on_a_good_file_and_on_another_checkpoint(edgeport: Any, examples: Path, tmp_path: Path) -> None:
    checkpoint = examples / "digits_se_inception.keras"
    assert edgeport("export", checkpoint, "-o", tmp_path / "out", "-f", "tflite").code == 0
    (good,) = (tmp_path / "out").glob("*.tflite")
    ran = edgeport("localize", checkpoint, good, "--json")
    assert ran.code == 0, ran.stderr
    assert ran.document["first_divergent_layer"] is None
    layers = {row["name"]: row for row in ran.document["layers"]}
    assert {"name", "noise_ratio", "sqnr_db", "diverges"} <= layers["stem_bn"].keys()
    assert sum(row["observed"] for row in layers.values()) > 30
    assert not layers["stem"]["observed"]  # fused into the batch norm's operation
    assert edgeport("build", "digits_se_inception", "-o", tmp_path / "other.keras").code == 0
    other = edgeport("localize", checkpoint, tmp_path / "other.keras", "--json")
    assert other.code == 1
    assert other.document["first_divergent_layer"] == "stem"


def test_only_a_checkpoint_has_layers_to_name(edgeport: Any, examples: Path, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"")
    assert edgeport("localize", tmp_path / "a.onnx", tmp_path / "a.onnx").code in {2, 3}
    missing = edgeport("localize", examples / "digits_se_inception.keras", tmp_path / "none.onnx")
    assert missing.code == 2
    assert "is not there" in missing.stderr


FOREIGN = """
import sys
import tensorflow as tf

module = tf.Module()
module.double = tf.function(
    lambda other: {"y": 2.0 * other}, input_signature=[tf.TensorSpec([None, 8, 8, 1], name="other")]
)
tf.saved_model.save(module, sys.argv[1] + "/foreign.savedmodel", signatures=module.double)
converter = tf.lite.TFLiteConverter.from_saved_model(sys.argv[1] + "/foreign.savedmodel")
open(sys.argv[1] + "/foreign.tflite", "wb").write(converter.convert())
"""


def test_a_file_with_other_inputs_was_made_from_another_checkpoint(
    edgeport: Any, examples: Path, tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", FOREIGN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ran = edgeport("localize", examples / "digits_se_inception.keras", tmp_path / "foreign.tflite")
    assert ran.code == 2
    assert "foreign.tflite takes the inputs other, the checkpoint image" in " ".join(ran.stderr.split())
