"""`exporter` and `validate` as other programs use them: in a process that trains, with real bundles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import exporter
import validate
from exporter.bundle import read_answers

TRAIN = """
import json, sys
from pathlib import Path
import numpy as np
from exporter import RunOptions
from exporter.integrations.keras_callback import ExportBundle, GateError
import keras

folder = Path(sys.argv[1])
keras.utils.set_random_seed(3)
inputs = keras.Input((6,), name="x")
hidden = keras.layers.Dense(8, activation="relu", name="hidden")(inputs)
model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="labels")(hidden), name="small_net")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = rng.integers(0, 3, 64)
options = RunOptions.of(formats=("tflite",), time=False)
made = ExportBundle(folder / "made", options, checkpoint=folder / "kept" / "net.keras")
left_out = ExportBundle(folder / "left_out", options, when=lambda logs: logs["accuracy"] > 1)
assert isinstance(made, keras.callbacks.Callback)
model.fit(x, y, epochs=1, verbose=0, callbacks=[made, left_out])
from exporter import export
exported = export(model, folder / "exported", options)
tight = RunOptions.of(formats=("tflite",), time=False, tolerances={"noise_ratio": 1e-6})
strict = ExportBundle(folder / "strict", tight)
strict.set_model(model)
try:
    strict.on_train_end({})
    raised = None
except GateError as error:
    raised = [error.exit_code, error.message]
print(json.dumps({"verdicts": [v.status for v in made.outcome.manifest.verdicts], "left_out": left_out.outcome,
                  "source": exported.manifest.source.path, "raised": raised}))
"""


@pytest.mark.parametrize("package", [exporter, validate])
def test_every_public_name_can_be_had(package: Any) -> None:
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(package, "nothing")  # noqa: B009 - what is looked for is the error


def test_importing_the_packages_loads_no_library() -> None:
    libraries = "'numpy', 'pydantic', 'click', 'keras'"
    probe = f"import sys, exporter, validate; print([name for name in ({libraries}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_callback_leaves_a_bundle_when_training_ends(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TRAIN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["verdicts"] == ["agree"]
    assert told["source"] == "small_net.keras", "no temporary folder in a manifest"
    assert told["left_out"] is None
    assert told["raised"] is not None
    assert told["raised"][0] == 1
    assert exporter.load(tmp_path / "made" / "manifest.json").artifacts[0].path == "net.float32.tflite"
    assert read_answers(tmp_path / "made" / "answers.npz")["net.float32.tflite"]["labels"].shape == (8, 3)
    assert (tmp_path / "kept" / "net.keras").is_file()
    assert (tmp_path / "strict" / "report.html").is_file(), "a bundle that fails its gate is there to be read"
    assert not (tmp_path / "left_out").exists()
