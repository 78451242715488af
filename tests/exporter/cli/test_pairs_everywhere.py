"""`model.json` and its weights in the commands that look at a source or judge by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    made = tmp_path_factory.mktemp("pairs")
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((4,), name="x"), dense(3, name="hidden"), dense(2, name="y")])
    (made / "model.json").write_text(model.to_json())
    (made / "weights").mkdir()
    model.save_weights(made / "weights" / "one.weights.h5")
    model.save(made / "whole.keras")
    return made


def test_validate_and_localize_take_a_pair(edgeport: Any, folder: Path) -> None:
    weights = ("--weights", folder / "weights" / "one.weights.h5", "--json")
    ran = edgeport("validate", folder / "model.json", folder / "whole.keras", *weights)
    assert ran.code == 0, ran.stderr
    assert ran.document["reference"] == str(folder / "model.json")
    assert ran.document["verdicts"][0]["status"] == "agree"
    ran = edgeport("localize", folder / "model.json", folder / "whole.keras", *weights)
    assert (ran.code, ran.document["first_divergent_layer"]) == (0, None), ran.stderr
    ran = edgeport("validate", folder / "model.json", folder / "whole.keras", "--json")
    assert ran.code == 2
    assert "--weights PATH" in ran.document["error"]["next"]


def test_inspect_takes_a_pair(edgeport: Any, folder: Path) -> None:
    weights = ("--weights", folder / "weights" / "one.weights.h5", "--json")
    ran = edgeport("inspect", folder / "model.json", *weights)
    assert (ran.document["path"], ran.document["parameters"]) == (str(folder / "model.json"), 23)
    ran = edgeport("inspect", folder / "model.json", "--scan", *weights)
    assert (ran.code, ran.document["path"], ran.document["clean"]) == (0, str(folder / "model.json"), True)
    ran = edgeport("inspect", folder / "whole.keras", *weights)
    assert ran.code == 2
    assert "--weights" in ran.document["error"]["message"]
