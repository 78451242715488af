"""A stateful model becomes one step: states are inputs and outputs, and N steps are Keras' own long run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.errors import UsageError
from converters.formats import Format, Precision
from converters.signature import Signature, StateSpec
from converters.tracing import Traced, trace
from converters.trial.opening import opened
from converters.user_arrays import read_user_arrays
from converters.writers.onnx.precisions import OnnxQuantization, OnnxSource
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite

ROWS, STEPS = 2, 4


def stateful_model() -> Any:
    import keras
    from keras import layers as kl

    keras.utils.set_random_seed(5)
    series = keras.Input(batch_shape=(ROWS, 3, 4), name="series")
    frames = keras.Input(batch_shape=(ROWS, 2, 6, 6, 1), name="frames")
    outputs = {
        "long": kl.Dense(2)(kl.LSTM(3, stateful=True, dropout=0.2, name="long_lstm")(series)),
        "gated": kl.GRU(4, stateful=True, return_sequences=True, name="gru")(series),
        "simple": kl.SimpleRNN(2, stateful=True, unroll=True, name="simple_rnn")(series),
        "both": kl.Bidirectional(kl.GRU(2, stateful=True, name="inner"), name="wrapped")(series),
        "maps": kl.ConvLSTM2D(1, 3, stateful=True, name="maps_lstm")(frames),
        "stacked": kl.RNN([kl.LSTMCell(2), kl.GRUCell(3)], stateful=True, name="stacked_rnn")(series),
    }
    nested = keras.Sequential([kl.Input(batch_shape=(ROWS, 3, 4)), kl.LSTM(2, stateful=True, name="long_lstm")])
    return keras.Model([series, frames], {**outputs, "nested": nested(series)})


@pytest.fixture(scope="module")
def stepped() -> tuple[Traced, list[dict[str, Any]], list[dict[str, Any]]]:
    """The trace of one step, the inputs of a few steps, and what Keras answers when they follow each other."""
    model = stateful_model()
    generator = np.random.default_rng(0)
    steps = [{x.name: generator.normal(size=x.shape).astype(np.float32) for x in model.inputs} for _ in range(STEPS)]
    traced = trace(loaded_model(model))
    expected = [{k: np.asarray(v) for k, v in model(list(x.values())).items()} for x in steps]  # Keras keeps the states
    return traced, steps, expected


def test_the_signature_names_every_state(stepped: Any) -> None:
    signature: Signature = stepped[0].signature
    pairs = {state.input: state for state in signature.states}
    assert [spec.name for spec in signature.fed] == ["series", "frames"]
    assert signature.input_names == ("series", "frames", *pairs)
    assert signature.output_names[-len(pairs) :] == tuple(state.output for state in pairs.values())
    assert pairs["long_lstm_state1"] == StateSpec("long_lstm_state1", "long_lstm_state1_next", (ROWS, 3), "float32")
    assert pairs["maps_lstm_state0"].shape == (ROWS, 4, 4, 1)
    assert {"gru_state0", "simple_rnn_state0", "stacked_rnn_state2", "forward_inner_state0"} <= pairs.keys()
    assert sum(name.startswith("long_lstm_state0") for name in pairs) == 2, (
        "a nested layer of the same name has its own"
    )
    assert len({*signature.input_names}) == len(signature.input_names)
    assert Signature.from_json(signature.to_json()) == signature
    assert not stepped[0].updated


@pytest.mark.parametrize("fmt", [Format.SAVEDMODEL, Format.TFLITE, Format.ONNX])
def test_steps_are_the_long_run(stepped: Any, fmt: Format, tmp_path: Path) -> None:
    traced, steps, expected = stepped
    path, saved = tmp_path / f"m.{fmt.value}", tmp_path / "m.savedmodel"
    if fmt is not Format.ONNX:
        write_saved_model(traced, saved)
    if fmt is Format.TFLITE:
        write_tflite(traced, lambda: saved, path)
    if fmt is Format.ONNX:
        write_onnx(traced, path)
    run, states = opened(path, fmt, traced.signature), traced.signature.states
    for _ in range(2):  # the file keeps nothing: the second time begins anew
        fed = {state.input: np.full(state.shape, state.initial, state.dtype) for state in states}
        for inputs, answers in zip(steps, expected, strict=True):
            outputs = run({**inputs, **fed})
            for name, value in answers.items():
                assert np.abs(outputs[name] - value).max() < 2e-6, name
            fed = {state.input: outputs[state.output] for state in states}


def subclassed_model() -> Any:
    import keras
    from keras import layers as kl
    from keras import ops

    class Cell(kl.Layer):  # type: ignore[misc]
        state_size = output_size = 3

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1] + 3, 3))

        def call(self, values: Any, states: Any) -> Any:
            held = ops.tanh(ops.concatenate([values, states[0]], axis=-1) @ self.kernel)
            return held, [held]

    class Net(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.own = kl.RNN(Cell(), stateful=True, return_sequences=True, name="own")
            self.memory = kl.LSTM(2, stateful=True, name="memory")

        def build(self, shape: Any) -> None:
            self.own.build(shape)
            self.memory.build((*shape[:2], 3))
            self.built = True

        def call(self, series: Any) -> Any:
            return self.memory(self.own(series))

    keras.utils.set_random_seed(5)
    return Net()


@pytest.mark.parametrize("fmt", [Format.SAVEDMODEL, Format.TFLITE, Format.ONNX])
def test_a_class_with_stateful_layers_is_a_step_too(fmt: Format, tmp_path: Path) -> None:
    model = subclassed_model()
    steps = np.random.default_rng(0).normal(size=(STEPS, ROWS, 3, 4)).astype(np.float32)
    model(steps[0])
    model.own.reset_states()
    model.memory.reset_states()
    traced = trace(loaded_model(model))
    expected = [np.asarray(model(inputs)) for inputs in steps]
    assert [state.input for state in traced.signature.states] == ["own_state0", "memory_state0", "memory_state1"]
    path, saved = tmp_path / f"m.{fmt.value}", tmp_path / "m.savedmodel"
    if fmt is Format.ONNX:
        write_onnx(traced, path)
    else:
        write_saved_model(traced, saved)
    if fmt is Format.TFLITE:
        write_tflite(traced, lambda: saved, path)
    run, states = opened(path, fmt, traced.signature), traced.signature.states
    fed = {state.input: np.full(state.shape, state.initial, state.dtype) for state in states}
    for inputs, answer in zip(steps, expected, strict=True):
        outputs = run({"series": inputs, **fed})
        assert np.abs(outputs["output_0"] - answer).max() < 2e-6
        fed = {state.input: outputs[state.output] for state in states}


def test_the_loops_of_steps_are_quantized_too(stepped: Any, tmp_path: Path) -> None:
    """The body of a loop reads what stands behind it in the order that quantization leaves."""
    traced, steps, _ = stepped
    write_onnx(traced, tmp_path / "m.onnx")
    for precision in (Precision.DYNAMIC_INT8, Precision.FLOAT16):
        path = tmp_path / f"{precision}.onnx"
        OnnxSource(tmp_path / "m.onnx", tmp_path, {}).write(precision, path, OnnxQuantization())
        fed = {state.input: np.zeros(state.shape, state.dtype) for state in traced.signature.states}
        runs = [opened(file, Format.ONNX, traced.signature) for file in (tmp_path / "m.onnx", path)]
        exact, rounded = (run({**steps[0], **fed}) for run in runs)
        assert all(np.abs(rounded[name] - value).max() < 0.05 for name, value in exact.items())


def test_users_give_what_is_no_state(stepped: Any, tmp_path: Path) -> None:
    signature, steps = stepped[0].signature, stepped[1]
    np.savez(tmp_path / "given.npz", **steps[0], gru_state0=np.ones((ROWS, 4), np.float32))
    arrays = read_user_arrays(tmp_path / "given.npz", signature).arrays
    assert arrays["gru_state0"].min() == 1
    assert arrays["long_lstm_state0"].shape == (ROWS, 3)
    assert not arrays["long_lstm_state0"].any()
    np.savez(tmp_path / "given.npz", **steps[0], gru_state0=np.ones((ROWS, 9), np.float32))
    with pytest.raises(UsageError, match=r"the array for gru_state0 has shape \(2, 9\)") as caught:
        read_user_arrays(tmp_path / "given.npz", signature)
    assert caught.value.next_step.startswith("Leave it out, which begins as the model does, or give it the shape (2, ")
