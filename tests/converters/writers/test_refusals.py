"""What a format cannot hold is refused with the true operation and the name that the user gave the layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from converters.checkpoints.loading import loaded_model
from converters.errors import UnsupportedError
from converters.tracing import Traced, trace
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite


def _beta(k: Any, name: str) -> Any:
    import tensorflow as tf

    return k.layers.Lambda(lambda x: tf.math.betainc(x, x, x), name=name)


def _nested(k: Any) -> Any:
    inner = k.Sequential([k.Input((4,)), k.layers.Dense(4), _beta(k, "mine_1")], name="inner")
    inputs = k.Input((4,))
    return k.Model(inputs, inner(inputs))


def _alike(k: Any) -> Any:
    """`mine` and `mine_1` are both names of layers, and scopes that TensorFlow makes of the first."""
    inputs = k.Input((4,))
    return k.Model(inputs, k.layers.Lambda(lambda x: x + 1, name="mine")(_beta(k, "mine_1")(inputs)))


def _complex(k: Any) -> Any:
    import tensorflow as tf

    inputs = k.Input((4,))
    turned = k.layers.Lambda(lambda x: tf.math.real(tf.exp(tf.complex(x, x))), name="turned")
    return k.Model(inputs, turned(k.layers.Activation("exponential")(inputs)))


def _filtered(k: Any) -> Any:
    import tensorflow as tf

    inputs = k.Input((8,))
    filtered = k.layers.Lambda(lambda x: tf.signal.irfft(tf.signal.rfft(x) * tf.complex(2.0, 1.0)), name="filtered")
    return k.Model(inputs, filtered(inputs))


def _spectrum(k: Any) -> Any:
    inputs = k.Input((64,))
    mel = k.layers.MelSpectrogram(fft_length=16, sequence_stride=8, num_mel_bins=4, sampling_rate=100, name="mel")
    return k.Model(inputs, mel(inputs))


def _branch_in_a_loop(k: Any) -> Any:
    """tf2onnx does not see the kernel there, and says that `object of type 'NoneType' has no len()`."""

    class Looping(k.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.conv = k.layers.Conv2D(3, 3, padding="same")
            self.conv.build(shape)
            self.built = True

        def call(self, x: Any) -> Any:
            def body(i: Any, v: Any) -> tuple[Any, Any]:
                return i + 1, k.ops.cond(k.ops.sum(v) > 0, lambda: self.conv(v), lambda: v * 2)

            return k.ops.while_loop(lambda i, _: i < 3, body, (0, x))[1]

    inputs = k.Input((6, 6, 3))
    return k.Model(inputs, Looping(name="looping")(k.layers.Dense(3)(inputs)))


def _operation(k: Any) -> Any:
    inputs = k.Input((4, 4))
    return k.Model(inputs, k.ops.linalg.inv(inputs))


REFUSED: list[tuple[Callable[[Any], Any], str, str]] = [
    (_nested, "tflite", "TFLite has no built-in operation for: Betainc (layer `mine_1`)."),
    (_nested, "onnx", "The model needs operations that ONNX does not have: Betainc (layer `mine_1`)."),
    (_alike, "tflite", "TFLite has no built-in operation for: Betainc (layer `mine_1`)."),
    (_alike, "onnx", "The model needs operations that ONNX does not have: Betainc (layer `mine_1`)."),
    (_complex, "tflite", "Exp of complex numbers (layer `turned`)"),
    (_complex, "onnx", "Real of complex numbers (layer `turned`)"),
    (_filtered, "onnx", "Mul of complex numbers (layer `filtered`)"),
    (_spectrum, "onnx", "RFFT (layer `mel`)"),
    (_branch_in_a_loop, "onnx", "of whose inputs it does not know the shape"),
    (_branch_in_a_loop, "onnx", "Conv (layer `looping`)."),
    (_operation, "tflite", "TFLite has no built-in operation for: MatrixInverse (outside of any layer)."),
]


@pytest.mark.parametrize(("build", "fmt", "words"), REFUSED, ids=lambda v: getattr(v, "__name__", v))
def test_a_refusal_names_operation_and_layer(build: Callable[[Any], Any], fmt: str, words: str, tmp_path: Path) -> None:
    import keras

    traced = trace(loaded_model(build(keras)))
    with pytest.raises(UnsupportedError) as raised:
        _write(traced, fmt, tmp_path)
    assert words in raised.value.message


def _write(traced: Traced, fmt: str, folder: Path) -> None:
    if fmt == "onnx":
        write_onnx(traced, folder / "m.onnx")
        return
    write_saved_model(traced, folder / "sm")
    write_tflite(traced, lambda: folder / "sm", folder / "m.tflite")
