"""Sizes that are not known: pools with gaps between their windows, pools to a size, splits at indices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.tracing import trace
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite

SIZES = ((3, 4), (6, 7), (8, 5), (9, 12), (13, 11))


def with_gaps(kl: Any, x: Any) -> list[Any]:
    """At some sizes the last values of an axis lie behind the last window: 6 = (ceil(6 / 3) - 1) * 3 + 2 + 1."""
    return [
        kl.MaxPooling2D(2, 3, "same")(x),
        kl.AveragePooling2D(2, 3, "same")(x),
        kl.AveragePooling2D(3, 5, "same")(kl.Conv2D(3, 2)(x)),
        kl.MaxPooling2D((2, 3), (3, 1), "same")(x),
        kl.MaxPooling2D(3, 2, "same")(x),
    ]


def to_a_size(kl: Any, x: Any) -> list[Any]:
    """Windows of two sizes, that overlap, and more of them than values."""
    return [
        kl.AdaptiveMaxPooling2D((3, 2))(x),
        kl.AdaptiveAveragePooling2D(2)(x),
        kl.AdaptiveAveragePooling2D((5, 1))(x),
        kl.AdaptiveMaxPooling2D(2, data_format="channels_first")(kl.Permute((3, 1, 2))(x)),
        kl.Dense(2)(kl.Flatten()(kl.AdaptiveAveragePooling2D(2)(x))),
    ]


def to_a_single_window(kl: Any, x: Any) -> list[Any]:
    """At known sizes too."""
    x = kl.Resizing(7, 6, "nearest")(x)
    return [kl.AdaptiveMaxPooling2D((1, 4))(x), kl.AdaptiveAveragePooling2D(1)(x)]


def in_pieces(kl: Any, x: Any) -> list[Any]:
    from keras import ops

    return [kl.Rescaling(2.0)(part) for part in (*ops.split(x, [1], axis=1), *ops.split(x, [1, 3], axis=-2))]


@pytest.mark.parametrize("branches", [with_gaps, to_a_size, to_a_single_window, in_pieces])
def test_what_needs_sizes_is_made_where_they_are_not_known(branches: Any, tmp_path: Path) -> None:
    import keras
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    x = keras.Input((None, None, 2), name="image")
    model = keras.Model(x, branches(keras.layers, x))
    traced = trace(loaded_model(model))
    names = traced.signature.output_names
    write_saved_model(traced, tmp_path / "sm")
    write_onnx(traced, tmp_path / "m.onnx")
    write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    lite = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")
    for seed, size in enumerate(SIZES):
        image = np.random.default_rng(seed).normal(0, 1, (2, *size, 2)).astype("float32")
        expected = [np.asarray(value) for value in model(image)]
        by_lite = lite(image=image)
        for values in (session.run(None, {"image": image}), [by_lite[name] for name in names]):
            for value, other in zip(values, expected, strict=True):
                np.testing.assert_allclose(value, other, atol=2e-6, err_msg=str(size))


def test_a_pool_whose_windows_touch_is_left_as_it_is(tmp_path: Path) -> None:
    """What every network has costs no operation more."""
    import keras
    import onnx

    x = keras.Input((None, None, 2), name="image")
    model = keras.Model(x, keras.layers.MaxPooling2D(3, 2, "same")(x))
    write_onnx(trace(loaded_model(model)), tmp_path / "m.onnx")
    operations = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert operations == ["Transpose", "MaxPool", "Transpose"]


def test_a_file_is_held_against_its_function_at_a_length_that_both_take(tmp_path: Path) -> None:
    """Biases of attention that are zero are folded away, so the file has to answer; positions end at 16."""
    import keras
    from ai_edge_litert.interpreter import Interpreter
    from keras import layers as kl
    from keras import ops

    x = keras.Input((None, 4), name="series")
    positions = ops.cumsum(ops.ones_like(x[..., 0]), axis=1) - 1
    placed = kl.Add()([x, kl.Embedding(16, 4)(positions)])
    model = keras.Model(x, kl.MultiHeadAttention(2, 2)(placed, placed))
    traced = trace(loaded_model(model))
    write_saved_model(traced, tmp_path / "sm")
    write_tflite(traced, lambda: tmp_path / "sm", tmp_path / "m.tflite")
    series = np.random.default_rng(0).normal(0, 1, (2, 9, 4)).astype("float32")
    (answer,) = Interpreter(str(tmp_path / "m.tflite")).get_signature_runner("serving_default")(series=series).values()
    np.testing.assert_allclose(answer, model(series), atol=1e-6)
