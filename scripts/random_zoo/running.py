"""A float32 file run by its bare runtime, without anything of edgeport's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from converters.formats import Format

Arrays = dict[str, Any]
Run = Callable[[Arrays], Arrays]


def _saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    keywords = serve.structured_input_signature[1]

    def run(feed: Arrays, _owner: Any = loaded) -> Arrays:
        results = serve(**{word: tf.constant(feed[spec.name]) for word, spec in keywords.items()})
        return {name: value.numpy() for name, value in results.items()}

    return run


def _onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(None, feed), strict=True))


def _tflite(path: Path) -> Run:
    """By the signature; row by row where the file is fixed to a batch of 1."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    runner = interpreter.get_signature_runner("serving_default")
    shapes = [d["shape_signature"] for d in runner.get_input_details().values()]

    def run(feed: Arrays, _owner: Any = interpreter) -> Arrays:
        if not all(len(shape) and shape[0] == 1 for shape in shapes):
            return {name: np.array(value) for name, value in runner(**feed).items()}
        count = len(next(iter(feed.values())))
        rows = [runner(**{name: v[k : k + 1] for name, v in feed.items()}) for k in range(count)]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return run


OPEN = {Format.SAVEDMODEL: _saved_model, Format.ONNX: _onnx, Format.TFLITE: _tflite}
