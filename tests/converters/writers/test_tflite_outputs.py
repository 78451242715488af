"""Reduced precisions of networks that give out a tensor and go on with it: each file runs, and is near to float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.arrays import Array
from converters.checkpoints.loading import loaded_model
from converters.formats import Precision
from converters.readers.tflite_graph import read_tflite_graph
from converters.signature import Signature
from converters.tracing import trace
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.precisions import TfliteSource
from converters.writers.tflite.write import write_tflite

NEAR = {Precision.INT8: 0.03, Precision.INT16X8: 0.01, Precision.DYNAMIC_INT8: 0.02, Precision.FLOAT16: 0.001}
"""Of an output's maximum."""
KINDS = [(precision, "float") for precision in NEAR] + [(Precision.INT8, "int8"), (Precision.INT8, "uint8")]
ROWS = 16


def _dense(k: Any, activation: str | None = None) -> Any:
    x = k.Input((4,))
    shared = k.layers.Dense(3, activation=activation)(x)
    return k.Model(x, [shared, k.layers.Dense(2)(shared)])


def _given_twice(k: Any) -> Any:
    x = k.Input((4,))
    shared = k.layers.Dense(3)(x)
    return k.Model(x, [shared, shared])


def _given_twice_in_float(k: Any) -> Any:
    x = k.Input((4,))
    shared = k.layers.Dense(3, activation="elu")(x)
    return k.Model(x, [shared, k.layers.Dense(2)(shared), shared, k.ops.max(shared, axis=-1)])


def _pyramid(k: Any) -> Any:
    x = k.Input((16, 16, 3))
    fine = k.layers.Conv2D(4, 3, 2, "same", activation="relu")(x)
    coarse = k.layers.Conv2D(4, 3, 2, "same", activation="relu")(fine)
    top = k.layers.Add()([k.layers.UpSampling2D()(coarse), fine])
    return k.Model(x, [top, coarse, fine, k.layers.Conv2D(2, 3, padding="same")(top)])


def _two_scales(k: Any) -> Any:
    """What is given out is joined with numbers 600 times as large: its own scale has to stay fine."""
    x = k.Input((4,))
    shared, wide = k.layers.Dense(3)(x), k.layers.Rescaling(600.0)(k.layers.Dense(3)(x))
    return k.Model(x, [shared, k.layers.Concatenate()([shared, wide])])


def _input_at_two_scales(k: Any) -> Any:
    x = k.Input((4,))
    wide = k.layers.Rescaling(600.0)(k.layers.Dense(3)(x))
    return k.Model(x, [k.layers.Dense(3)(x), k.layers.Concatenate()([x, wide]), k.layers.Activation("elu")(x)])


def _input_given_out(k: Any) -> Any:
    x, alone = k.Input((4,), name="x"), k.Input((2,), name="alone")
    return k.Model([x, alone], [x, k.layers.Dense(2)(x), alone])


def _float_among_integers(k: Any) -> Any:
    x = k.Input((4,))
    shared = k.layers.Dense(3)(x)
    soft = k.layers.Activation("softplus")(shared)
    return k.Model(x, [shared, soft, k.layers.Dense(2)(soft), k.layers.Activation("elu")(shared)])


def _one_dimension(k: Any) -> Any:
    x = k.Input((8, 3))
    shared = k.layers.Conv1D(4, 3, padding="same")(x)
    return k.Model(x, [shared, k.layers.GlobalMaxPooling1D()(shared)])


def _transposed(k: Any) -> Any:
    """Its open batch is read off the input by SHAPE."""
    x = k.Input((6, 6, 3))
    return k.Model(x, k.layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x))


def _split(k: Any) -> Any:
    x = k.Input((4,))
    one, other = k.ops.split(k.layers.Dense(4)(x), 2, axis=-1)
    return k.Model(x, [one, k.layers.Dense(2)(one), other])


def _integers(k: Any) -> Any:
    x = k.Input((5,), dtype="int32")
    rows = k.layers.Embedding(9, 4)(x)
    return k.Model(x, [rows, k.layers.Dense(2)(k.layers.Flatten()(rows)), x])


def _open_sizes(k: Any) -> Any:
    """At 1 by 1, which the file says where a size is unknown, nothing would be left."""
    x = k.Input((None, None, 3))
    shared = k.layers.MaxPooling2D()(k.layers.Conv2D(4, 3)(x))
    return k.Model(x, [shared, k.layers.Conv2D(2, 3)(shared)])


MODELS: dict[str, Callable[[Any], Any]] = {
    "dense": _dense,
    "elu": lambda k: _dense(k, "elu"),
    "softmax": lambda k: _dense(k, "softmax"),
    "given twice": _given_twice,
    "given twice in float": _given_twice_in_float,
    "pyramid": _pyramid,
    "two scales": _two_scales,
    "input at two scales": _input_at_two_scales,
    "input given out": _input_given_out,
    "float among integers": _float_among_integers,
    "one dimension": _one_dimension,
    "transposed": _transposed,
    "split": _split,
    "integers": _integers,
    "open sizes": _open_sizes,
}


def run(path: Path, feeds: dict[str, Array]) -> dict[str, Array]:
    """The outputs in float64; integers stand for what scale and zero point say. A batch of 1 is fed row by row."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    size = 1 if all(details["shape_signature"][0] == 1 for details in inputs.values()) else ROWS
    found = [
        runner(**{name: _coded(value[k : k + size], inputs[name]) for name, value in feeds.items()})
        for k in range(0, ROWS, size)
    ]
    return {name: _decoded(np.concatenate([rows[name] for rows in found]), outputs[name]) for name in outputs}


def _coded(value: Array, details: Any) -> Array:
    scale, zero = details["quantization"]
    if value.dtype != np.float32 or not scale:
        return value
    limits = np.iinfo(details["dtype"])
    coded: Array = np.clip(np.round(value / scale) + zero, limits.min, limits.max).astype(details["dtype"])
    return coded


def _decoded(value: Array, details: Any) -> Array:
    scale, zero = details["quantization"]
    wide = value.astype(np.float64)
    return (wide - zero) * scale if scale else wide


def check_ends(path: Path, signature: Signature) -> None:
    """The file says of its ends what the signature says: types, and the open batch."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner("serving_default")
    sides = ((signature.inputs, runner.get_input_details()), (signature.outputs, runner.get_output_details()))
    for specs, details in sides:
        for spec in specs:
            assert np.dtype(details[spec.name]["dtype"]).name == spec.dtype
            assert list(details[spec.name]["shape_signature"]) == [d if isinstance(d, int) else -1 for d in spec.shape]


@dataclass(frozen=True)
class Made:
    """A float32 file, what it answers, and what its reduced precisions are made from."""

    source: TfliteSource
    feeds: dict[str, Array]
    expected: dict[str, Array]


def made(model: Any, folder: Path) -> Made:
    generator = np.random.default_rng(0)
    for variable in model.weights:
        if not variable.numpy().any():
            variable.assign(generator.uniform(-0.3, 0.3, variable.shape))
    traced = trace(loaded_model(model))
    traced = trace(loaded_model(model), 1) if traced.recurrent else traced
    write_saved_model(traced, folder / "sm")
    write_tflite(traced, lambda: folder / "sm", folder / "m.tflite")
    feeds = {s.name: _drawn(s.dtype, (ROWS, *s.concrete(ROWS)[1:]), generator) for s in traced.signature.inputs}
    source = TfliteSource(folder / "m.tflite", traced.signature, feeds)
    return Made(source, feeds, run(folder / "m.tflite", feeds))


def _drawn(dtype: str, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    values: Array = generator.uniform(-1, 1, shape) if dtype == "float32" else generator.integers(0, 3, shape)
    return values.astype(dtype)


def check(made: Made, path: Path, limit: float) -> None:
    for output, value in run(path, made.feeds).items():
        assert value.shape == made.expected[output].shape
        error = np.abs(value - made.expected[output]).max() / np.abs(made.expected[output]).max()
        assert error < limit, f"{output} in {path.name}: {error:.4f}"


@pytest.mark.parametrize("name", MODELS)
def test_every_precision_of_a_network_that_goes_on_with_an_output(name: str, tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(1)
    found = made(MODELS[name](keras), tmp_path)
    for precision, io in KINDS:
        path = tmp_path / f"{precision.value}.{io}.tflite"
        check_ends(path, found.source.write(precision, path, io=io))
        check(found, path, NEAR[precision])


def test_every_precision_of_recurrent_layers(tmp_path: Path) -> None:
    """What stands in a loop is calibrated over all of its steps, and computes in integers."""
    import keras

    keras.utils.set_random_seed(1)
    layers, x = keras.layers, keras.Input((6, 3))
    sequence, *states = layers.LSTM(8, return_sequences=True, return_state=True)(x)
    both = layers.Bidirectional(layers.GRU(6, return_sequences=True))(sequence)
    last = layers.SimpleRNN(5)(layers.Dense(7, activation="relu")(both))
    found = made(keras.Model(x, [sequence, *states, both, layers.Dense(2)(last)]), tmp_path)
    for precision, io in KINDS:
        path = tmp_path / f"{precision.value}.{io}.tflite"
        check_ends(path, found.source.write(precision, path, io=io))
        check(found, path, 2 * NEAR[precision])
    products = [op for op in read_tflite_graph(path) if op.kind == "FULLY_CONNECTED"]
    assert len(products) >= 9
    assert {op.inputs[1].dtype for op in products} == {"int8"}
