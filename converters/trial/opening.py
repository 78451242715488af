"""Files opened by the runtimes of their formats, as one function from inputs to outputs by name."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.formats import Format
from converters.signature import SIGNATURE_KEY, Signature

Run = Callable[[Arrays], Arrays]
"""Outputs by name for inputs by name. It raises whatever its runtime raises."""


class ElsewhereError(Exception):
    """The file is for a runtime that is not here: LiteRT with TensorFlow's own operations."""


RUNTIMES = {
    Format.SAVEDMODEL: "TensorFlow",
    Format.TFLITE: "LiteRT",
    Format.ONNX: "ONNX Runtime",
    Format.ORT: "ONNX Runtime",
}


def opened(path: Path, fmt: Format, signature: Signature) -> Run:
    """The file as a function. Integers that stand for floats are given and taken as what they stand for.

    Args:
        signature: of the model that the file was made from.
    """
    return _OPENERS[fmt](path, signature)


def function_of(concrete: Any) -> Run:
    """A traced function whose inputs are in the order of the arrays."""
    import tensorflow as tf

    def run(inputs: Arrays) -> Arrays:
        with _plain_graphs():
            results = concrete(*(tf.constant(value) for value in inputs.values()))
        return {name: value.numpy() for name, value in results.items()}

    return run


@contextlib.contextmanager
def _plain_graphs() -> Iterator[None]:
    """While open, TensorFlow runs graphs as they are: making them faster first takes longer than one run."""
    import tensorflow as tf

    key = "disable_meta_optimizer"
    before = bool(tf.config.optimizer.get_experimental_options().get(key, False))
    tf.config.optimizer.set_experimental_options({key: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({key: before})


def _saved_model(path: Path, _signature: Signature) -> Run:
    import tensorflow as tf

    return functools.partial(_served, tf.saved_model.load(str(path)))


def _served(loaded: Any, inputs: Arrays) -> Arrays:
    import tensorflow as tf

    serve = loaded.signatures[SIGNATURE_KEY]
    keywords = {spec.name: keyword for keyword, spec in serve.structured_input_signature[1].items()}
    with _plain_graphs():
        results = serve(**{keywords[name]: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in results.items()}


def _tflite(path: Path, signature: Signature) -> Run:
    interpreter = _interpreter(path)
    keys = list(interpreter.get_signature_list())
    if not keys:
        return _by_position(interpreter, signature)
    runner = interpreter.get_signature_runner(SIGNATURE_KEY if SIGNATURE_KEY in keys else keys[0])
    taken, given = runner.get_input_details(), runner.get_output_details()
    floats = {spec.name for spec in signature.outputs if "float" in spec.dtype}

    def run(inputs: Arrays) -> Arrays:
        interpreter.reset_all_variables()  # of files of others, which may keep a state
        results = runner(**{name: _as_codes(value, taken[name]) for name, value in inputs.items()})
        return {name: _as_floats(value, given[name]) if name in floats else value for name, value in results.items()}

    return run


def _interpreter(path: Path) -> Any:
    """LiteRT's interpreter. Raises ElsewhereError for a file with Flex operations, which it does not have."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as cause:
        if "Select TensorFlow op" not in str(cause):
            raise
        raise ElsewhereError from cause
    return interpreter


def _by_position(interpreter: Any, signature: Signature) -> Run:
    """A float32 file of others without a signature: its tensors are in the order of `signature`."""

    def run(inputs: Arrays) -> Arrays:
        places = [details["index"] for details in interpreter.get_input_details()]
        for place, value in zip(places, inputs.values(), strict=True):
            interpreter.resize_tensor_input(place, value.shape)
        interpreter.allocate_tensors()
        for details, value in zip(interpreter.get_input_details(), inputs.values(), strict=True):
            interpreter.set_tensor(details["index"], _as_codes(value, details))
        interpreter.invoke()
        results = [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]
        return dict(zip(signature.output_names, results, strict=True))

    return run


def _as_codes(value: Array, details: Mapping[str, Any]) -> Array:
    scale, zero = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if dtype.kind not in "iu" or value.dtype.kind != "f" or not scale:
        return value
    limits = np.iinfo(dtype)
    codes: Array = np.clip(np.round(value / scale) + zero, limits.min, limits.max).astype(dtype)
    return codes


def _as_floats(value: Array, details: Mapping[str, Any]) -> Array:
    scale, zero = details["quantization"]
    if value.dtype.kind not in "iu" or not scale:
        return value
    floats: Array = (value.astype(np.float32) - zero) * np.float32(scale)
    return floats


def _onnx(path: Path, _signature: Signature) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # as TensorFlow's, above
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


_OPENERS: Mapping[Format, Callable[[Path, Signature], Run]] = {
    Format.SAVEDMODEL: _saved_model,
    Format.TFLITE: _tflite,
    Format.ONNX: _onnx,
    Format.ORT: _onnx,
}
