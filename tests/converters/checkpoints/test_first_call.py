"""Models whose shape is that of a first call: the batch of that call is nobody's wish, and every size fits."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.called import with_open_batch
from converters.checkpoints.identify import identify
from converters.checkpoints.load_options import Code, LoadOptions
from converters.checkpoints.loading import load
from converters.errors import RefusedError, UsageError
from converters.tracing import trace

CODE = '''\
import keras

register = keras.saving.register_keras_serializable("shop")


@register
class Twin(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def call(self, left, right):
        return {"sum": self.dense(left + right), "product": self.dense(left * right)}

    def build(self, left_shape, right_shape):
        self.dense.build(left_shape)


@register
class Plain(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        x = x["image"] if isinstance(x, dict) else x
        return self.dense(x)


@register
class Forgetful(Plain):
    """Keras records one shape of two, so it cannot build it when it loads it."""

    def call(self, left, right):
        return self.dense(left + right)


def plain():
    model = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2)])
    model(keras.ops.ones((5, 4)))
    return model
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first-call")
    (folder / "shop_of_calls.py").write_text(CODE)
    return folder


def _opening(folder: Path, **more: Any) -> LoadOptions:
    return LoadOptions(custom_objects=(Code(str(folder / "shop_of_calls.py")),), folder=str(folder), **more)


def _shop(folder: Path) -> Any:
    from converters.checkpoints.user_code import custom_objects

    custom_objects(_opening(folder))
    import sys

    return sys.modules["shop_of_calls"]


def _sequential(*layers: Any) -> Any:
    import keras

    model = keras.Sequential(list(layers))
    model(np.ones((5, 6, 4), "f"))
    return model


def _is_right(path: Path, model: Any, opening: LoadOptions = LoadOptions()) -> Any:
    """Traces the file and holds it against Keras on two batches; gives what was loaded."""
    import keras
    import tensorflow as tf

    loaded = load(identify(path, opening))
    traced = trace(loaded)
    random = np.random.default_rng(1)
    for rows in (1, 3):
        given = [random.normal(size=spec.concrete(rows)).astype("f") for spec in traced.signature.inputs]
        found = traced.concrete(*map(tf.constant, given))
        wanted = keras.tree.flatten(model(*given))
        names = traced.signature.output_names
        for name, value in zip(sorted(names) if len(names) > 1 else names, wanted, strict=True):
            np.testing.assert_allclose(found[name], value, atol=1e-6)
    return loaded


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_sequential_first_called_on_five_rows_takes_any_batch(suffix: str, folder: Path) -> None:
    import keras

    model = _sequential(keras.Sequential([keras.layers.Dense(3)]), keras.layers.GRU(3), keras.layers.Dense(2))
    model.save(folder / f"called{suffix}")
    loaded = _is_right(folder / f"called{suffix}", model)
    assert [spec.shape[0] for spec in (*loaded.signature.inputs, *loaded.signature.outputs)] == ["batch", "batch"]
    assert "batch of 5" in " ".join(loaded.notes)
    assert "--batch 5" in " ".join(loaded.notes)
    assert trace(loaded, 5).signature.inputs[0].shape == (5, 6, 4)


def test_the_users_own_batch_stays(folder: Path) -> None:
    import keras

    inputs = keras.Input(batch_shape=(5, 4))
    models = {
        "functional": keras.Model(inputs, keras.layers.Dense(2)(inputs)),
        "named": keras.Sequential([keras.Input(batch_shape=(5, 4), name="rows"), keras.layers.Dense(2)]),
        "stateful": _sequential(keras.layers.LSTM(2, stateful=True), keras.layers.Dense(2)),
    }
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
        signature = load(identify(folder / f"{name}.keras")).signature
        assert {spec.shape[0] for spec in (*signature.inputs, *signature.outputs)} == {5}, name
    with pytest.raises(UsageError, match=r"fixes the batch of its input `.*` to 5"):
        trace(load(identify(folder / "functional.keras")), 3)


def test_a_shape_in_the_first_layers_own_arguments_is_the_users_word() -> None:
    """Keras 2 writes the input of `Dense(3, batch_input_shape=(5, 4))` as that of `build((5, 4))`, but for this."""
    start = {"class_name": "InputLayer", "config": {"batch_input_shape": [5, 4], "name": "dense_input"}}
    dense: dict[str, Any] = {"class_name": "Dense", "config": {"name": "dense", "units": 3}}
    called = {"class_name": "Sequential", "config": {"name": "s", "layers": [start, dense]}}
    opened = with_open_batch(called)
    assert opened.batch == 5
    assert opened.config["config"]["layers"][0]["config"]["batch_input_shape"] == [None, 4]
    dense["config"]["batch_input_shape"] = [5, 4]
    assert with_open_batch(called).config == called


def test_a_class_has_the_inputs_of_its_first_call(folder: Path) -> None:
    shop = _shop(folder)
    x = np.ones((5, 4), "f")
    twin, plain, mapped = shop.Twin(), shop.Plain(), shop.Plain()
    for name, model, given in (("twin", twin, (x, x)), ("plain", plain, (x,)), ("mapped", mapped, ({"image": x},))):
        model(*given)
        model.save(folder / f"{name}.keras")
    opening = _opening(folder)
    loaded = _is_right(folder / "twin.keras", twin, opening)
    assert loaded.signature.input_names == ("left", "right")
    assert set(loaded.signature.output_names) == {"sum", "product"}
    assert _is_right(folder / "plain.keras", plain, opening).signature.output_names == ("output_0",)
    assert _is_right(folder / "mapped.keras", mapped, opening).signature.input_names == ("image",)


def test_numbers_that_keras_loses_are_not_made_up(folder: Path) -> None:
    model = _shop(folder).Forgetful()
    model(np.ones((5, 4), "f"), np.ones((5, 4), "f"))
    model.save(folder / "forgetful.keras")
    with pytest.warns(UserWarning, match="cannot be built"), pytest.raises(RefusedError, match="right") as caught:
        load(identify(folder / "forgetful.keras", _opening(folder)))
    assert "model.export" in caught.value.next_step
    unbuilt = _shop(folder).Plain()
    with pytest.warns(UserWarning, match="not yet been built"):
        unbuilt.save(folder / "unbuilt.keras")
    with pytest.raises(RefusedError, match="before it was called"):
        load(identify(folder / "unbuilt.keras", _opening(folder)))


def test_weights_for_code_that_calls_its_model_take_any_batch(folder: Path) -> None:
    model = _shop(folder).plain()
    model.save_weights(folder / "called.weights.h5")
    opening = LoadOptions(model_code=Code(str(folder / "shop_of_calls.py"), "plain"), folder=str(folder))
    assert _is_right(folder / "called.weights.h5", model, opening).signature.inputs[0].shape == ("batch", 4)


def test_a_lambda_that_keras_cannot_restore_is_named_with_its_reason(folder: Path) -> None:
    import keras

    def scaled(x: Any) -> Any:
        return x * 2

    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(scaled, name="scale"), keras.layers.Dense(2)])
    model.save(folder / "whole.keras")
    code = _config_of(model)
    code["config"]["layers"][1]["config"]["function"] = _without_names()
    _with_config(folder / "whole.keras", folder / "closure.keras", code)
    with pytest.raises(RefusedError, match=r"layer `scale` \(Lambda\) fails: NameError: name 'factor'") as caught:
        load(identify(folder / "closure.keras", LoadOptions(allow_unsafe=True)))
    assert "model.export" in caught.value.next_step


def _without_names() -> dict[str, Any]:
    """What Keras stores of a lambda whose `factor` is a name of the module that made it."""
    from keras.src.utils.python_utils import func_dump

    code, defaults, closure = func_dump(eval("lambda x: x * factor"))
    return {"class_name": "__lambda__", "config": {"code": code, "defaults": defaults, "closure": closure}}


def _config_of(model: Any) -> Any:
    import keras

    return json.loads(json.dumps(keras.saving.serialize_keras_object(model)))


def _with_config(source: Path, target: Path, config: Any) -> None:
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            after.writestr(name, json.dumps(config) if name == "config.json" else before.read(name))
