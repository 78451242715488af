"""Inputs and layers may be called anything in Keras; TensorFlow's graphs spell ASCII alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.artifact import Artifact
from converters.checkpoints.identify import identify
from converters.checkpoints.quick import graph_name
from converters.common import Common
from converters.convert import Converter, Order
from converters.formats import Format, Precision
from converters.options import ConvertOptions
from converters.routes import Target

ODD = "größe \"x'\n\\ 😀"


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("image", "image"),
        ("a/b.c-d>e", "a/b.c-d>e"),
        ("my input", "my_input"),
        ("画像", "x__"),
        ("_x", "x_x"),
        ("a\\b", "a_b"),
        ('a"b\nc', "a_b_c"),
        ("größe", "gr__e"),
    ],
)
def test_names_as_a_graph_spells_them(name: str, spelt: str) -> None:
    assert graph_name(name) == spelt


def test_a_model_of_odd_names_becomes_every_format(tmp_path: Path) -> None:
    import keras
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    keras.utils.set_random_seed(1)
    first, second = keras.Input((4,), name=f"_{ODD}"), keras.Input((4,), name="画像")
    x = keras.layers.Dense(3, name=f"{ODD} inner", activation="relu")(keras.layers.Add(name="_sum")([first, second]))
    model = keras.Model([first, second], keras.layers.Dense(2, name="labels")(x))
    model.save(tmp_path / "odd.keras")
    formats = (Format.SAVEDMODEL, Format.TFLITE, Format.ONNX)
    (tmp_path / "out").mkdir()
    orders = [Order.named(Target(fmt, Precision.FLOAT32), "odd", tmp_path / "out") for fmt in formats]
    with Converter(identify(tmp_path / "odd.keras"), orders, ConvertOptions(), Common()) as source:
        facts = source.open()
        made = [artifact for artifact in source.float32() if isinstance(artifact, Artifact)]
    names = facts.signature.input_names
    assert names[1] == "x__"
    assert sum("is called" in note for note in facts.notes) == 2
    given = {name: np.full((1, 4), k + 1, np.float32) for k, name in enumerate(names)}
    wanted = np.asarray(model(list(given.values())))
    _, tflite, onnx = (artifact.path for artifact in made)
    found = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"]).run(["labels"], given)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    found = Interpreter(str(tflite)).get_signature_runner()(**given)["labels"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
