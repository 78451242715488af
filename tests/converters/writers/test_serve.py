"""SavedModels are called in Python as Keras' own export is: by `serve`, and as a TFSMLayer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.checkpoint import SourceKind
from converters.checkpoints.identify import identify
from converters.checkpoints.load_options import Code, LoadOptions
from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import load, loaded_model
from converters.signature import Signature, TensorSpec
from converters.tracing import trace
from converters.writers.savedmodel import write_saved_model


def _models() -> dict[str, Any]:
    import keras

    kl = keras.layers
    x, y = keras.Input((5,), name="x"), keras.Input((5,), name="y")

    class Plain(keras.Model):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.dense = kl.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    plain = Plain()
    plain(np.ones((2, 5), "f"))
    return {
        "sequential": keras.Sequential([keras.Input((5,)), kl.Dense(2)]),
        "functional": keras.Model(x, kl.Dense(2)(x)),
        "one in a list": keras.Model(x, [kl.Dense(2)(x)]),
        "lists": keras.Model([y, x], [kl.Dense(2, name="b")(x), kl.Dense(3, name="a")(x + y)]),
        "dicts": keras.Model({"x": x, "y": y}, {"sum": kl.Dense(2)(x + y), "one": kl.Dense(3)(x)}),
        "class": plain,
    }


@pytest.mark.parametrize("name", ["sequential", "functional", "one in a list", "lists", "dicts", "class"])
def test_serve_takes_and_gives_what_the_model_does(name: str, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    model = _models()[name]
    write_saved_model(trace(loaded_model(model)), tmp_path / "m")
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(3, 5)).astype("f") for _ in range(2))
    given: Any = {"lists": [y, x], "dicts": {"x": x, "y": y}}.get(name, x)
    wanted = model(given)
    restored = tf.saved_model.load(str(tmp_path / "m"))
    for found in (restored.serve(given), keras.layers.TFSMLayer(str(tmp_path / "m"))(given)):
        keras.tree.assert_same_structure(found, wanted)
        for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_saved_model_is_a_source_and_has_serve_again(tmp_path: Path) -> None:
    import tensorflow as tf

    model = _models()["lists"]
    write_saved_model(trace(loaded_model(model)), tmp_path / "m")
    checkpoint = identify(tmp_path / "m")
    assert checkpoint.kind is SourceKind.SAVEDMODEL
    loaded = load(checkpoint)
    assert loaded.signature.input_names == ("x", "y"), "TensorFlow's order differs from run to run"
    assert loaded.signature.output_names == ("a", "b"), "as above"
    write_saved_model(trace(loaded), tmp_path / "again")
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("f")
    found = tf.saved_model.load(str(tmp_path / "again")).serve(x, x)
    assert set(found) == {"a", "b"}
    for value, wanted in zip((found["b"], found["a"]), model([x, x]), strict=True):
        np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_outputs_that_have_names_alone_keep_them(tmp_path: Path) -> None:
    import tensorflow as tf

    signature = Signature((TensorSpec("x", ("batch", 2), "float32"),), tuple(_outputs("b", "a")))
    loaded = Loaded(None, signature, lambda tensors: [tensors[0] + 1, tensors[0] + 2], ())
    write_saved_model(trace(loaded), tmp_path / "m")
    found = tf.saved_model.load(str(tmp_path / "m")).serve(np.zeros((1, 2), "f"))
    assert {name: value.numpy().max() for name, value in found.items()} == {"b": 1, "a": 2}


_CLASS = """
import keras

class Structured(keras.Model):
    def call(self, given):
        first, second = given["pair"]
        return first + second, {"difference": first - second, "rest": (first * second,)}
"""


@pytest.mark.parametrize("name", ["class", "functional"])
def test_serve_of_a_file_takes_lists_and_tuples_and_gives_what_the_model_gives(name: str, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(3, 5)).astype("f") for _ in range(2))
    code, source = tmp_path / "structured_code.py", tmp_path / "m.keras"
    code.write_text(_CLASS)
    names: dict[str, Any] = {}
    if name == "class":
        exec(_CLASS, names)
        model, forms = names["Structured"](), [{"pair": (x, y)}, {"pair": [x, y]}]
    else:
        one, other = keras.Input((5,), name="x"), keras.Input((5,), name="y")
        model, forms = keras.Model((one, other), (one + other, one * other)), [(x, y), [x, y]]
    model(forms[0])
    model.save(source)
    loaded = load(identify(source, LoadOptions(custom_objects=(Code(str(code), None),))))
    write_saved_model(trace(loaded), tmp_path / "m")
    restored = tf.saved_model.load(str(tmp_path / "m"))
    wanted = keras.saving.load_model(source, custom_objects=names)(forms[0])
    for given in forms:
        for fed in (given, keras.tree.map_structure(tf.constant, given)):
            found = restored.serve(fed)
            keras.tree.assert_same_structure(found, wanted)
            keras.tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, wanted)


def _outputs(*names: str) -> Iterator[TensorSpec]:
    return (TensorSpec(name, ("batch", 2), "float32") for name in names)
