"""Every float32 file of a checkpoint: ours, TFLiteConverter's, tf2onnx' and those of Keras' own export."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.formats import Format

OURS = {"edgeport.tflite": Format.TFLITE, "edgeport.onnx": Format.ONNX, "edgeport.savedmodel": Format.SAVEDMODEL}


def ours(checkpoint: Path, name: str, path: Path) -> None:
    from random_zoo.making import make

    make(checkpoint, OURS[name], path)


def tflite_converter(model: Any, path: Path) -> None:
    """With a free batch, or with a batch of 1 where it takes no other (recurrent layers)."""
    import keras
    import tensorflow as tf

    try:
        content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    except Exception:  # the converter's kinds are many
        inputs = keras.tree.flatten(model.inputs)
        specs = [keras.InputSpec(shape=(1, *x.shape[1:]), dtype=x.dtype, name=x.name) for x in inputs]
        with tempfile.TemporaryDirectory() as folder:
            model.export(folder, input_signature=specs, verbose=False)
            content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    path.write_bytes(content)


def tf2onnx_convert(model: Any, path: Path) -> None:
    """By `tf2onnx.convert.from_function`: `from_keras` takes no model of Keras 3."""
    import tf2onnx

    function = _function(model)
    tf2onnx.convert.from_function(function, function.input_signature, opset=17, output_path=str(path))


def _function(model: Any) -> Any:
    import keras
    import tensorflow as tf

    inputs = keras.tree.flatten(model.inputs)
    specs = [tf.TensorSpec(value.shape, value.dtype, name=value.name) for value in inputs]

    @tf.function(input_signature=specs)
    def call(*given: Any) -> Any:
        feeds = given[0] if len(given) == 1 else keras.tree.pack_sequence_as(model.input, list(given))
        return model(feeds, training=False)

    return call


def keras_export(fmt: str) -> Callable[[Any, Path], None]:
    def export(model: Any, path: Path) -> None:
        model.export(str(path), format=fmt, verbose=False)

    return export


PEERS: dict[str, Callable[[Any, Path], None]] = {
    "TFLiteConverter.tflite": tflite_converter,
    "tf2onnx.onnx": tf2onnx_convert,
    "keras_export.savedmodel": keras_export("tf_saved_model"),
    "keras_export.onnx": keras_export("onnx"),
}
NAMES = (*OURS, *PEERS)


def write(name: str, checkpoint: Path, model: Any, path: Path) -> None:
    """Writes the file of this name; raises whatever its converter does."""
    if name in OURS:
        ours(checkpoint, name, path)
    else:
        PEERS[name](model, path)
