"""Single steps for `bench_convert.py`, each run in a fresh process: `keras`, `step`, `build`, `compare`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def keras_export(checkpoint: str, fmt: str, path: str) -> None:
    """Keras' own exporter. ONNX needs the model to have been called."""
    import keras
    import numpy as np

    model = keras.saving.load_model(checkpoint, compile=False)
    if fmt == "onnx":
        model(np.zeros((1, *model.inputs[0].shape[1:]), np.float32))
    model.export(path, format=fmt, verbose=False)


def step(kind: str, checkpoint: str, path: str) -> None:
    """Loaded model -> ONNX file, imports and loading left out; prints the seconds."""
    import keras
    import onnx.reference
    import tf2onnx.tfonnx  # noqa: F401 - imported so that neither side pays for it

    from converters.checkpoints.loading import loaded_model
    from converters.tracing import trace
    from converters.writers.onnx.write import write_onnx

    del onnx.reference
    model = keras.saving.load_model(checkpoint, compile=False)
    started = time.perf_counter()
    if kind == "edgeport":
        write_onnx(trace(loaded_model(model)), Path(path))
    else:
        _tf2onnx(model, path)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def _tf2onnx(model: Any, path: str) -> None:
    import tensorflow as tf
    import tf2onnx

    spec = [tf.TensorSpec((None, *t.shape[1:]), t.dtype, name=t.name) for t in model.inputs]
    function = tf.function(lambda x: model(x, training=False), input_signature=spec)
    tf2onnx.convert.from_function(function, input_signature=spec, opset=17, output_path=path)


def build(name: str, path: str) -> None:
    """A network of plain convolutions whose weights grow with the name's number."""
    import keras

    channels = {"width_x1": 288, "width_x2": 408, "width_x4": 576}[name]
    x = inputs = keras.Input((32, 32, 3), name="image")
    for index in range(30):
        x = keras.layers.Conv2D(channels, 3, strides=2 if index in (4, 12) else 1, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(inputs, keras.layers.Dense(10, name="labels")(x)).save(path)


def compare(work: str) -> None:
    """The two ONNX files of the steps: nodes, bytes, and outputs on the same inputs."""
    import numpy as np
    import onnx
    import onnxruntime

    folder, samples = Path(work), 8
    files = {kind: folder / f"{kind}_step.onnx" for kind in ("edgeport", "tf2onnx")}
    outputs = []
    for path in files.values():
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        shape = [samples, *session.get_inputs()[0].shape[1:]]
        batch = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        outputs.append(session.run(None, {session.get_inputs()[0].name: batch})[0])
    facts = {f"{kind}_nodes": len(onnx.load(path).graph.node) for kind, path in files.items()}
    facts |= {f"{kind}_bytes": path.stat().st_size for kind, path in files.items()}
    gap = float(np.abs(outputs[0] - outputs[1]).max())
    print(json.dumps(facts | {"identical": gap == 0.0, "max_abs": gap, "samples": samples}))


if __name__ == "__main__":
    {"keras": keras_export, "step": step, "build": build, "compare": compare}[sys.argv[1]](*sys.argv[2:])
