"""The patches under which a reference is recorded and rounded, on and off."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.compat.patch import Part, noting
from converters.errors import MisfitError
from converters.formats import Precision
from converters.signature import Signature, TensorSpec
from validate.agreement.worker.grouped_convolutions import tensorflow_kernels
from validate.agreement.worker.rounding import run_rounded
from validate.agreement.worker.taps.function import TappedFunction
from validate.compat import keras as parts
from validate.compat import litert
from validate.mutants.catalogue import leaves
from validate.runtimes.tflite import TfliteRuntime

SIGNATURE = Signature((TensorSpec("x", ("batch", 8, 8, 4), "float32"),), (TensorSpec("y", ("batch", 3), "float32"),))
FEEDS = {"x": np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 4)).astype(np.float32)}


def put_off(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's original takes other parameters than edgeport knows."""
    module, _, attribute = part.where.partition(":")
    *outer, name = attribute.split(".")
    owner = functools.reduce(getattr, outer, importlib.import_module(module))
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: original(*args, **kwargs))
    assert not part.fits()


@pytest.fixture(scope="module")
def model() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 4), name="x")
    x = keras.layers.Conv2D(6, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="y")(x))


def tapped(model: Any) -> TappedFunction:
    return TappedFunction(lambda tensors: [model(tensors[0], training=False)], SIGNATURE, watched=True)


def test_recording_does_not_change_what_is_recorded(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on = tapped(model)
    outputs, logits = on.run(FEEDS)
    put_off(parts.OPERATION_CALL, monkeypatch)
    with noting() as notes:
        off = tapped(model)
    assert parts.OPERATION_CALL.where in notes[0]
    same, same_logits = off.run(FEEDS)
    assert np.array_equal(outputs["y"], same["y"])
    assert np.array_equal(logits["y"], same_logits["y"])


def test_a_rounding_that_cannot_be_traced_is_told_and_not_left_out_silently(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, Any] = {}

    def write(name: str, run: Any) -> None:
        written[name] = run(FEEDS)[0]["y"]

    assert run_rounded(model, lambda: tapped(model), [Precision.INT8], write) == {}
    assert len(written) == 3
    exact = tapped(model).run(FEEDS)[0]["y"]
    assert all(0 < np.abs(value - exact).max() < 0.1 for value in written.values())
    written.clear()
    put_off(parts.OPERATION_CALL, monkeypatch)
    reasons = run_rounded(model, lambda: tapped(model), [Precision.INT8], write)
    assert "is not as edgeport knows it" in reasons["int8"]
    assert not written


def test_grouped_convolutions_of_the_oracle_without_the_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras import ops

    generator = np.random.default_rng(0)
    image, kernel = generator.normal(size=(2, 6, 6, 4)), generator.normal(size=(3, 3, 1, 8))

    def convolved() -> Any:
        with tensorflow_kernels():
            return ops.convert_to_numpy(ops.conv(image, kernel, padding="same", data_format="channels_last"))

    on = convolved()
    put_off(parts.GROUPED_CONV, monkeypatch)
    with noting() as notes:
        off = convolved()
    assert "by XLA" in notes[0]
    assert np.abs(on - off).max() <= 1e-14 * np.abs(off).max()


def test_layers_that_cannot_be_listed_are_the_librarys_fault(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [type(layer).__name__ for layer in leaves(model)] == [
        "InputLayer",
        "Conv2D",
        "GlobalAveragePooling2D",
        "Dense",
    ]
    put_off(parts.FLATTEN_LAYERS, monkeypatch)
    with pytest.raises(MisfitError, match="keras"):
        leaves(model)


def test_a_tflite_file_runs_without_the_parts_behind_its_runner(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    (tmp_path / "m.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    runtime = TfliteRuntime(tmp_path / "m.tflite")
    (given,) = runtime.signature.input_names
    feeds = {given: FEEDS["x"]}
    run, named = runtime.prepared(feeds)
    on = named(run())
    longer = {given: FEEDS["x"][:, :4]}
    assert runtime.refuses(longer)
    put_off(litert.RUNNER, monkeypatch)
    with noting() as notes:
        runtime = TfliteRuntime(tmp_path / "m.tflite")
        run, named = runtime.prepared(feeds)
        assert runtime.refuses(longer)
    assert "timed too" in notes[0]
    assert {name: value.tobytes() for name, value in on.items()} == {n: v.tobytes() for n, v in named(run()).items()}
