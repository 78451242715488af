"""`model.json` and its weights in a file of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.identify import identify
from converters.checkpoints.loading import load
from converters.checkpoints.pairs import is_architecture, pair_of
from converters.errors import EdgeportError, RefusedError, StepError, UsageError
from exporter.options import BuildChoices
from exporter.run.sources import find_source

from .make_sources import dense, h5, layer

KERNEL, BIAS = np.random.default_rng(3).normal(size=(6, 3)).astype("f"), np.arange(3, dtype="f")
X = np.random.default_rng(4).normal(size=(5, 6)).astype("f")


def _config(version: str) -> dict[str, Any]:
    first = dense("labels", batch_input_shape=[None, 6], activation="linear")
    if version.startswith("1"):
        names = {"output_dim": 3, "input_dim": 6, "init": "uniform", "bias": True, "activation": "linear"}
        first = {"class_name": "Dense", "config": {"name": "labels", "batch_input_shape": [None, 6], **names}}
    return {"class_name": "Sequential", "config": [first], "keras_version": version, "backend": "tensorflow"}


def _written(folder: Path, version: str, weights: str = "model.h5") -> Path:
    (folder / "model.json").write_text(json.dumps(_config(version)))
    names = ("W", "b") if version.startswith("1") else ("kernel", "bias")
    h5(folder / weights, None, {"labels": dict(zip(names, (KERNEL, BIAS), strict=True))}, version)
    return folder / "model.json"


def _computed(path: Path) -> Any:
    import tensorflow as tf

    return load(identify(path)).function([tf.constant(X)])[0]


@pytest.mark.parametrize("version", ["1.2.2", "2.2.4"])
def test_a_pair_of_old_is_found_side_by_side(version: str, tmp_path: Path) -> None:
    source = find_source(str(_written(tmp_path, version)), BuildChoices())
    assert source.pair is not None
    assert (source.given, source.pair.name) == (str(tmp_path / "model.json"), "model")
    (tmp_path / "work").mkdir()
    np.testing.assert_allclose(
        _computed(source.pair.written(tmp_path / "work")), X @ KERNEL + BIAS, rtol=1e-5, atol=1e-5
    )


def test_a_pair_of_today(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    (tmp_path / "model.json").write_text(model.to_json())
    model.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "work").mkdir()
    joined = pair_of(tmp_path / "model.json").written(tmp_path / "work")
    np.testing.assert_allclose(_computed(joined), model(X), atol=1e-6)
    again = pair_of(tmp_path / "model.json").written(tmp_path)
    assert again.read_bytes() == joined.read_bytes()


def test_what_is_no_pair_is_said(tmp_path: Path) -> None:
    path = _written(tmp_path, "2.2.4", "first.h5")
    assert pair_of(path).weights.name == "first.h5"
    (tmp_path / "second.h5").write_bytes((tmp_path / "first.h5").read_bytes())
    with pytest.raises(UsageError, match=r"2 files could be its weights: first\.h5, second\.h5") as caught:
        find_source(str(path), BuildChoices())
    assert "--weights PATH" in caught.value.next_step
    named = find_source(str(path), BuildChoices(weights=str(tmp_path / "second.h5")))
    assert named.pair is not None
    assert named.pair.weights.name == "second.h5"
    with pytest.raises(UsageError, match="no HDF5 file"):
        pair_of(path, str(path))
    (tmp_path / "other.json").write_text('{"a": 1}')
    assert is_architecture(tmp_path / "other.json")
    with pytest.raises(RefusedError, match="not the architecture"):
        find_source(str(tmp_path / "other.json"), BuildChoices())


def test_weights_of_another_architecture_are_named(tmp_path: Path) -> None:
    import keras

    def dense(units: int) -> Any:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, name="d"), keras.layers.Dense(2)])

    (tmp_path / "model.json").write_text(dense(3).to_json())
    dense(5).save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "work").mkdir()
    joined = pair_of(tmp_path / "model.json", str(tmp_path / "other.weights.h5")).written(tmp_path / "work")
    with pytest.raises(StepError, match=r"weights in other\.weights\.h5 do not fit the model") as caught:
        load(identify(joined))
    assert "edgeport-" not in caught.value.message
    assert "save it again" not in caught.value.next_step


def test_errors_name_what_was_given(tmp_path: Path) -> None:
    path = _written(tmp_path, "2.2.4")
    h5(tmp_path / "model.h5", None, {"labels": {"kernel": KERNEL[:, :2], "bias": BIAS[:2]}}, "2.2.4")
    (tmp_path / "work").mkdir()
    with pytest.raises(StepError, match=r"weights in model\.h5 do not fit the model: layer `labels`"):
        load(identify(pair_of(path).written(tmp_path / "work")))
    code = layer("Lambda", "scale", function=["4wEAAAA=", None, None], function_type="lambda")
    code["config"]["batch_input_shape"] = [None, 6]
    path.write_text(json.dumps(_config("2.2.4") | {"config": [code]}))
    with pytest.raises(EdgeportError) as caught:
        find_source(str(path), BuildChoices())
    assert caught.value.message.startswith(str(path))
