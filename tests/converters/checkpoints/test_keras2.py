"""Files as Keras 2 wrote them, by hand: names with slashes, initial states, weights in older groups, layers of old."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from converters.checkpoints.identify import identify
from converters.checkpoints.load_options import Code, LoadOptions
from converters.checkpoints.loading import load
from converters.checkpoints.scan_file import scan
from converters.errors import RefusedError, StepError
from converters.tracing import trace

from .make_sources import dense, h5, layer

RANDOM = np.random.default_rng(5)


def _values(*shapes: tuple[int, ...]) -> list[Any]:
    return [RANDOM.normal(size=shape).astype("f") for shape in shapes]


def _computed(path: Path, *inputs: Any) -> Any:
    """The first output of the file, and what was said when it was loaded."""
    import tensorflow as tf

    loaded = load(identify(path))
    traced = trace(loaded)
    found = traced.concrete(*map(tf.constant, inputs))
    return found[traced.signature.output_names[0]].numpy(), loaded


def _functional(layers: list[Any], outputs: list[Any], inputs: list[str]) -> dict[str, Any]:
    ends = {"input_layers": [[name, 0, 0] for name in inputs], "output_layers": outputs}
    return {"class_name": "Functional", "config": {"name": "model", "layers": layers} | ends}


def _input(name: str, *sizes: int) -> dict[str, Any]:
    return layer("InputLayer", name, [], batch_input_shape=[None, *sizes], sparse=False, ragged=False)


def test_names_with_slashes_are_read_and_told(tmp_path: Path) -> None:
    first, second, bias = _values((4, 3), (3, 3), (3,))
    layers = [
        _input("in/x", 4),
        dense("conv1/conv", [[["in/x", 0, 0, {}]]], activation="linear"),
        dense("conv1_conv", [[["conv1/conv", 0, 0, {}]]], activation="linear"),
    ]
    config = _functional(layers, [["conv1_conv", 0, 0]], ["in/x"])
    weights = {"conv1/conv": {"kernel": first, "bias": bias}, "conv1_conv": {"kernel": second, "bias": bias}}
    h5(tmp_path / "m.h5", config, weights, "2.4.0")
    (x,) = _values((2, 4))
    found, loaded = _computed(tmp_path / "m.h5", x)
    np.testing.assert_allclose(found, (x @ first + bias) @ second + bias, rtol=1e-5, atol=1e-5)
    assert loaded.signature.input_names == ("in_x",)
    assert [one.name for one in loaded.model.layers] == ["in_x", "conv1_conv_1", "conv1_conv"]
    assert "'in/x' is called 'in_x', and 1 more" in " ".join(loaded.notes)


def _recurrent(kind: str, name: str, inbound: Any, **config: Any) -> dict[str, Any]:
    settings = {"units": 3, "activation": "tanh", "recurrent_activation": "sigmoid", "implementation": 2}
    return layer(kind, name, inbound, **settings, return_state=False, time_major=False, **config)


def _by_order(model: Any) -> dict[str, dict[str, Any]]:
    """Random weights for the model, which are set, by layer as an `.h5` file has them."""
    model.set_weights([RANDOM.normal(size=weight.shape).astype("f") for weight in model.weights])
    found = {one.name: {f"v{k}": v for k, v in enumerate(one.get_weights())} for one in model.layers}
    return {name: values for name, values in found.items() if values}


def test_an_encoder_hands_its_states_to_a_decoder(tmp_path: Path) -> None:
    import keras

    kl = keras.layers
    e, d = keras.Input((3, 5), name="e"), keras.Input((2, 4), name="d")
    _, h, c = kl.LSTM(3, return_state=True, name="encoder")(e)
    y = kl.LSTM(3, return_sequences=True, name="decoder")(d, initial_state=[h, c])
    model = keras.Model([e, d], kl.Dense(3, name="labels")(y))
    layers = [
        _input("e", 3, 5),
        _input("d", 2, 4),
        _recurrent("LSTM", "encoder", [[["e", 0, 0, {}]]]),
        _recurrent(
            "LSTM", "decoder", [[["d", 0, 0, {}], ["encoder", 0, 1, {}], ["encoder", 0, 2, {}]]], return_sequences=True
        ),
        dense("labels", [[["decoder", 0, 0, {}]]], activation="linear"),
    ]
    layers[2]["config"]["return_state"] = True
    h5(tmp_path / "m.h5", _functional(layers, [["labels", 0, 0]], ["e", "d"]), _by_order(model), "2.4.0")
    x = _values((4, 3, 5), (4, 2, 4))
    found, _ = _computed(tmp_path / "m.h5", *x)
    np.testing.assert_allclose(found, model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["GRU", "SimpleRNN", "Bidirectional", "ConvLSTM2D"])
def test_initial_states_are_inputs_of_a_model(kind: str, tmp_path: Path) -> None:
    import keras

    kl = keras.layers
    sizes, state = ((3, 5, 5, 2), (5, 5, 3)) if kind == "ConvLSTM2D" else ((3, 5), (3,))
    count = {"GRU": 1, "SimpleRNN": 1, "Bidirectional": 4, "ConvLSTM2D": 2}[kind]
    inputs = [keras.Input(sizes, name="x"), *(keras.Input(state, name=f"s{k}") for k in range(count))]
    own: dict[str, Any] = {
        "GRU": lambda: kl.GRU(3, name="r"),
        "SimpleRNN": lambda: kl.SimpleRNN(3, name="r"),
        "Bidirectional": lambda: kl.Bidirectional(kl.LSTM(3, name="one"), name="r"),
        "ConvLSTM2D": lambda: kl.ConvLSTM2D(3, 3, padding="same", recurrent_activation="sigmoid", name="r"),
    }
    states = inputs[1:] if count > 1 else inputs[1]
    model = keras.Model(inputs, own[kind]()(inputs[0], initial_state=states))
    more = {"initial_state": None, "constants": None} if kind == "Bidirectional" else {}
    node = [[[tensor.name, 0, 0, dict(more)] for tensor in inputs]]
    if kind == "Bidirectional":
        old = layer(kind, "r", node, layer=_recurrent("LSTM", "one", None), merge_mode="concat")
    else:
        old = _recurrent(kind, "r", node, **({"reset_after": True} if kind == "GRU" else {}))
    if kind == "ConvLSTM2D":
        old["config"] |= {"filters": 3, "kernel_size": [3, 3], "padding": "same"}
        del old["config"]["units"]
    if kind == "SimpleRNN":
        del old["config"]["recurrent_activation"]
    layers = [_input("x", *sizes), *(_input(tensor.name, *state) for tensor in inputs[1:]), old]
    config = _functional(layers, [["r", 0, 0]], [tensor.name for tensor in inputs])
    h5(tmp_path / "m.h5", config, _by_order(model), "2.9.0")
    x = _values((4, *sizes), *((4, *state) for _ in range(count)))
    found, loaded = _computed(tmp_path / "m.h5", *x)
    np.testing.assert_allclose(found, model(x), rtol=1e-5, atol=1e-6)
    assert loaded.signature.input_names == tuple(tensor.name for tensor in inputs)


def test_constants_of_a_recurrent_layer_are_refused_by_name(tmp_path: Path) -> None:
    node = [[["x", 0, 0, {}], ["k", 0, 0, {}]]]
    cell = layer("LSTMCell", "cell", None, units=3)
    layers = [_input("x", 3, 5), _input("k", 3), layer("RNN", "r", node, cell=cell, num_constants=1)]
    h5(tmp_path / "m.h5", _functional(layers, [["r", 0, 0]], ["x", "k"]), {"r": {}}, "2.9.0")
    with pytest.raises(RefusedError, match=r"constants to the layer `r` \(RNN\)"):
        identify(tmp_path / "m.h5")


def _archive(path: Path, config: Any, version: str, groups: dict[str, Any]) -> None:
    """A `.keras` file of Keras 2."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for name, value in groups.items():
            file[name] = value
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": version, "date_saved": "2023-08-01@12:00:00"}))
        archive.writestr("model.weights.h5", weights.getvalue())


def _nested() -> Any:
    start = layer("InputLayer", "x", batch_input_shape=[None, 4])
    inner = {"class_name": "Sequential", "config": {"name": "in/ner", "layers": [start, dense("one", activation=None)]}}
    top = {"name": "outer", "layers": [layer("InputLayer", "y", batch_input_shape=[None, 4]), inner, dense("two")]}
    return {"class_name": "Sequential", "config": top}


_DEPENDENCIES = "_layer_checkpoint_dependencies"
LAYOUTS = {
    "2.12 on Windows": ("2.12.0", "layers\\sequential/layers\\dense/vars", "layers\\dense/vars"),
    "2.13": ("2.13.1", f"{_DEPENDENCIES}/sequential/{_DEPENDENCIES}/dense/vars", f"{_DEPENDENCIES}/dense/vars"),
    "2.15": ("2.15.0", "layers/sequential/layers/dense/vars", "layers/dense/vars"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_are_found_where_each_version_put_them(name: str, tmp_path: Path) -> None:
    version, inner, outer = LAYOUTS[name]
    first, second, bias = _values((4, 3), (3, 3), (3,))
    groups = {f"{inner}/0": first, f"{inner}/1": bias, f"{outer}/0": second, f"{outer}/1": bias}
    _archive(tmp_path / "m.keras", _nested(), version, groups)
    (x,) = _values((2, 4))
    found, _ = _computed(tmp_path / "m.keras", x)
    np.testing.assert_allclose(found, (x @ first + bias) @ second + bias, rtol=1e-5, atol=1e-5)


def test_weights_that_lack_are_told_of_the_file_that_was_given(tmp_path: Path) -> None:
    first, bias = _values((4, 3), (3,))
    inner = f"{_DEPENDENCIES}/sequential/{_DEPENDENCIES}/dense/vars"
    _archive(tmp_path / "m.keras", _nested(), "2.13.1", {f"{inner}/0": first, f"{inner}/1": bias})
    with pytest.raises(StepError) as caught:
        load(identify(tmp_path / "m.keras"))
    assert str(tmp_path / "m.keras") in caught.value.message
    assert "edgeport-weights" not in caught.value.message
    assert "--classes" not in caught.value.next_step


LEGACY: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "AlphaDropout": ((4,), {"rate": 0.2}),
    "ThresholdedReLU": ((4,), {"theta": 0.3}),
    "RandomHeight": ((8, 8, 3), {"factor": 0.2}),
    "RandomWidth": ((8, 8, 3), {"factor": 0.2, "interpolation": "nearest"}),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", LEGACY)
def test_layers_that_keras_keeps_for_old_files_are_read(kind: str, suffix: str, tmp_path: Path) -> None:
    """As `tf.keras` of TensorFlow 2.16 and later saves them."""
    import keras
    import tensorflow as tf

    sizes, settings = LEGACY[kind]
    own = getattr(tf.keras.layers, kind)(**settings, name="own")
    model = keras.Sequential([keras.Input(sizes), keras.layers.Dense(3), own, keras.layers.Dense(2)])
    model.save(tmp_path / f"m{suffix}")
    (x,) = _values((3, *sizes))
    found, loaded = _computed(tmp_path / f"m{suffix}", x)
    np.testing.assert_allclose(found, model(x, training=False), atol=1e-6)
    assert loaded.model.layers[1].name == "own"


def test_a_thresholded_relu_of_keras_2_is_read(tmp_path: Path) -> None:
    kernel, bias = _values((4, 3), (3,))
    start = layer("InputLayer", "x", batch_input_shape=[None, 4])
    cut = layer("ThresholdedReLU", "cut", theta=0.5)
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [start, dense("labels"), cut]}}
    h5(tmp_path / "m.h5", config, {"labels": {"kernel": kernel, "bias": bias}}, "2.4.0")
    (x,) = _values((5, 4))
    found, _ = _computed(tmp_path / "m.h5", x)
    wanted = x @ kernel + bias
    np.testing.assert_allclose(found, np.where(wanted > 0.5, wanted, 0), rtol=1e-5, atol=1e-5)


def _with_activation(path: Path, activation: Any) -> Path:
    kernel, bias = _values((4, 3), (3,))
    start = layer("InputLayer", "x", batch_input_shape=[None, 4])
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [start, dense("d", activation=activation)]}}
    h5(path, config, {"d": {"kernel": kernel, "bias": bias}}, "2.4.0")
    return path


def test_a_function_that_only_its_module_has_is_asked_for(tmp_path: Path) -> None:
    path = _with_activation(tmp_path / "m.h5", "doubled")
    with pytest.raises(RefusedError, match=r"the function `doubled` \(layer `d`\)") as caught:
        identify(path)
    assert "--custom-objects" in caught.value.next_step
    (tmp_path / "own.py").write_text("def doubled(x):\n    return 2 * x\n")
    opening = LoadOptions(custom_objects=(Code(str(tmp_path / "own.py"), "doubled"),), folder=str(tmp_path))
    loaded = load(identify(path, opening))  # the advice is no circle
    assert "doubled" in " ".join(loaded.notes)


def test_a_lambda_for_an_activation_is_refused_with_what_helps(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation=lambda x: 2 * x, name="d")])
    with pytest.warns(UserWarning, match="lambda"):
        model.save(tmp_path / "m.keras")
    for path in (tmp_path / "m.keras", _with_activation(tmp_path / "m.h5", "<lambda>")):
        with pytest.raises(RefusedError, match=r"a lambda for an activation \(layer `d`\)") as caught:
            identify(path)
        assert "model.export" in caught.value.next_step


def test_what_is_ours_is_no_class_of_the_users(tmp_path: Path) -> None:
    found = scan(_with_activation(tmp_path / "m.h5", "hard_sigmoid"))
    assert found.clean
    assert "keras2_hard_sigmoid" not in " ".join(found.notes)


@pytest.mark.parametrize(
    "name", ["relu", "swish", "hard_swish", "linear", "gelu", "leaky_relu", "softmax", "mish", None]
)
def test_activations_of_keras_pass(name: str | None, tmp_path: Path) -> None:
    identify(_with_activation(tmp_path / "m.h5", name))
