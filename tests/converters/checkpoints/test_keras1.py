"""Files of Keras 1, written by hand in its layout, against what their layers mean, computed here in NumPy.

No Keras 1 runs on today's Python. The formulas are those of its documentation: gates i, c, f, o (LSTM) and z, r, h
(GRU) with a hard sigmoid of clip(0.2 x + 0.5, 0, 1), stored as arrays of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from converters.checkpoints.identify import identify
from converters.checkpoints.keras1_weights import todays
from converters.checkpoints.load_options import LoadOptions, parse_replacement
from converters.errors import RefusedError

RANDOM = np.random.default_rng(11)
SEQUENCE = RANDOM.normal(size=(3, 5, 2)).astype("f")
PICTURE = RANDOM.normal(size=(2, 6, 5, 2)).astype("f")
WORDS = np.array([[1, 4, 2, 0, 3], [2, 2, 0, 1, 4]])
UNITS = 3


def random(*shape: int) -> Any:
    return RANDOM.normal(size=shape).astype("f")


def hard(x: Any) -> Any:
    return np.clip(0.2 * x + 0.5, 0, 1)


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    common = {
        "name": name,
        "trainable": True,
        "init": "glorot_uniform",
        "W_constraint": None,
        "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.0005},
    }
    return {"class_name": kind, "config": common | config}


def recurrent(kind: str, name: str, **config: Any) -> dict[str, Any]:
    own = {
        "output_dim": UNITS,
        "inner_init": "orthogonal",
        "activation": "tanh",
        "return_sequences": False,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
        "consume_less": "cpu",
        "U_regularizer": None,
        "b_regularizer": None,
        "dropout_W": 0.2,
        "dropout_U": 0.2,
        "input_dim": 2,
        "input_length": None,
    }
    gates = {} if kind == "SimpleRNN" else {"inner_activation": "hard_sigmoid"}
    forget = {"forget_bias_init": "one"} if kind == "LSTM" else {}
    return layer(kind, name, **(own | gates | forget | config))


def gates(count: int, inputs: int = 2) -> list[Any]:
    return [array for _ in range(count) for array in (random(inputs, UNITS), random(UNITS, UNITS), random(UNITS))]


def lstm(x: Any, w: list[Any]) -> Any:
    h, c = np.zeros((2, len(x), UNITS))
    steps = []
    for t in range(x.shape[1]):
        i, g, f, o = (x[:, t] @ w[3 * k] + h @ w[3 * k + 1] + w[3 * k + 2] for k in range(4))
        c = hard(f) * c + hard(i) * np.tanh(g)
        h = hard(o) * np.tanh(c)
        steps.append(h)
    return np.stack(steps, 1)


def gru(x: Any, w: list[Any]) -> Any:
    h, steps = np.zeros((len(x), UNITS)), []
    for t in range(x.shape[1]):
        z, r = (hard(x[:, t] @ w[3 * k] + h @ w[3 * k + 1] + w[3 * k + 2]) for k in range(2))
        h = z * h + (1 - z) * np.tanh(x[:, t] @ w[6] + (r * h) @ w[7] + w[8])
        steps.append(h)
    return np.stack(steps, 1)


def simple(x: Any, w: list[Any]) -> Any:
    h = np.zeros((len(x), UNITS))
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ w[0] + h @ w[1] + w[2])
    return h


def conv1d(x: Any, kernel: Any, bias: Any, dilation: int = 1) -> Any:
    """`kernel` as Keras 1 stores it: (length, 1, in, out)."""
    length = kernel.shape[0]
    count = x.shape[1] - (length - 1) * dilation
    return sum(x[:, k * dilation : k * dilation + count] @ kernel[k, 0] for k in range(length)) + bias


def conv2d(x: Any, kernel: Any, bias: Any, dilation: int = 1) -> Any:
    rows, cols = (x.shape[1 + k] - (kernel.shape[k] - 1) * dilation for k in range(2))
    windows = (
        x[:, i * dilation : i * dilation + rows, j * dilation : j * dilation + cols] @ kernel[i, j]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )
    return sum(windows) + bias


def separable(x: Any, depthwise: Any, pointwise: Any, bias: Any) -> Any:
    """Depthwise (rows, cols, in, multiplier), its results ordered by input channel; pointwise (1, 1, in * m, out)."""
    spread = np.zeros((*depthwise.shape[:3], depthwise.shape[2] * depthwise.shape[3]))
    for channel in range(depthwise.shape[2]):
        width = depthwise.shape[3]
        spread[:, :, channel, channel * width : (channel + 1) * width] = depthwise[:, :, channel]
    return conv2d(x, spread, 0) @ pointwise[0, 0] + bias


CONV1D = {
    "nb_filter": 3,
    "filter_length": 2,
    "border_mode": "valid",
    "activation": "linear",
    "bias": True,
    "subsample_length": 1,
    "input_dim": 2,
    "input_length": None,
}
CONV2D = {
    "nb_filter": 3,
    "nb_row": 2,
    "nb_col": 2,
    "border_mode": "valid",
    "activation": "linear",
    "bias": True,
    "subsample": [1, 1],
    "dim_ordering": "tf",
}
DENSE = {"output_dim": 2, "activation": "linear", "bias": True, "input_dim": 3}
Made = tuple[list[dict[str, Any]], dict[str, list[Any]], Any, Any]


def recurrent_net(kind: str, count: int, run: Callable[[Any, list[Any]], Any]) -> Callable[[], Made]:
    def made() -> Made:
        w, labels = gates(count), [random(UNITS, 2), random(2)]
        first = recurrent(kind, "r", batch_input_shape=[None, 5, 2])
        found = run(SEQUENCE, w)
        last = found[:, -1] if found.ndim == 3 else found
        return [first, layer("Dense", "d", **DENSE)], {"r": w, "d": labels}, SEQUENCE, last @ labels[0] + labels[1]

    return made


def joined_gates() -> Made:
    """`consume_less="gpu"`: three arrays, the gates in the order i, f, c, o."""
    w = gates(4)
    joined = [np.concatenate([w[part], w[6 + part], w[3 + part], w[9 + part]], -1) for part in range(3)]
    first = recurrent("LSTM", "r", batch_input_shape=[None, 5, 2], consume_less="gpu")
    return [first], {"r": joined}, SEQUENCE, lstm(SEQUENCE, w)[:, -1]


def both_ways() -> Made:
    forward, backward = gates(4), gates(4)
    inner = recurrent("LSTM", "inner", return_sequences=True)
    first = {
        "class_name": "Bidirectional",
        "config": {
            "name": "b",
            "trainable": True,
            "merge_mode": "concat",
            "layer": inner,
            "batch_input_shape": [None, 5, 2],
        },
    }
    kernel, bias = random(6, 2), random(2)
    each = {
        "class_name": "TimeDistributed",
        "config": {"name": "t", "trainable": True, "layer": layer("Dense", "labels", **DENSE)},
    }
    there, back = lstm(SEQUENCE, forward), lstm(SEQUENCE[:, ::-1], backward)[:, ::-1]
    wanted = np.concatenate([there, back], -1) @ kernel + bias
    return [first, each], {"b": [*forward, *backward], "t": [kernel, bias]}, SEQUENCE, wanted


def words() -> Made:
    table, w = random(5, 2), gates(3)
    embedding = layer(
        "Embedding",
        "e",
        input_dim=5,
        output_dim=2,
        input_length=5,
        mask_zero=False,
        dropout=0.3,
        batch_input_shape=[None, 5],
        input_dtype="int32",
    )
    drop = {"class_name": "SpatialDropout1D", "config": {"name": "s", "p": 0.3, "trainable": True}}
    return [embedding, drop, recurrent("GRU", "r")], {"e": [table], "r": w}, WORDS, gru(table[WORDS], w)[:, -1]


def masked_words() -> Made:
    """Index 0 is no word: the state stays as it was."""
    table, w = random(5, 2), gates(4)
    embedding = layer(
        "Embedding",
        "e",
        input_dim=5,
        output_dim=2,
        input_length=5,
        mask_zero=True,
        batch_input_shape=[None, 5],
        input_dtype="int32",
    )
    wanted = [lstm(table[row[row > 0]][None], w)[0, -1] for row in WORDS]
    return [embedding, recurrent("LSTM", "r")], {"e": [table], "r": w}, WORDS, np.stack(wanted)


def sequences() -> Made:
    first, second = [random(2, 1, 2, 3), random(3)], [random(2, 1, 3, 2), random(2)]
    pad = {"class_name": "ZeroPadding1D", "config": {"name": "p", "padding": 2, "batch_input_shape": [None, 5, 2]}}
    pool = {
        "class_name": "MaxPooling1D",
        "config": {"name": "m", "pool_length": 2, "stride": 1, "border_mode": "valid"},
    }
    wide = layer("AtrousConvolution1D", "a", **(CONV1D | {"nb_filter": 2, "atrous_rate": 2}))
    mean = {"class_name": "GlobalAveragePooling1D", "config": {"name": "g"}}
    found = conv1d(np.pad(SEQUENCE, ((0, 0), (2, 2), (0, 0))), *first)
    found = conv1d(np.maximum(found[:, :-1], found[:, 1:]), *second, dilation=2)
    layers = [pad, layer("Convolution1D", "c", **CONV1D), pool, wide, mean]
    return layers, {"c": first, "a": second}, SEQUENCE, found.mean(1)


def pictures() -> Made:
    first, second = [random(2, 2, 2, 3), random(3)], [random(2, 2, 3, 2), random(1, 1, 6, 3), random(3)]
    pad = {
        "class_name": "ZeroPadding2D",
        "config": {"name": "p", "padding": [1, 0, 2, 1], "dim_ordering": "tf", "batch_input_shape": [None, 6, 5, 2]},
    }
    atrous = layer("AtrousConvolution2D", "a", **CONV2D, atrous_rate=[2, 2])
    apart = layer("SeparableConvolution2D", "s", **CONV2D, depth_multiplier=2, depthwise_init="uniform")
    crop = {"class_name": "Cropping2D", "config": {"name": "x", "cropping": [[1, 0], [0, 1]], "dim_ordering": "tf"}}
    noise = {"class_name": "GaussianNoise", "config": {"name": "n", "sigma": 0.1}}
    flat = {"class_name": "Flatten", "config": {"name": "f"}}
    found = conv2d(np.pad(PICTURE, ((0, 0), (1, 0), (2, 1), (0, 0))), *first, dilation=2)
    found = separable(found, *second)[:, 1:, :-1]
    return [pad, atrous, apart, crop, noise, flat], {"a": first, "s": second}, PICTURE, found.reshape(2, -1)


NETS: Mapping[str, Callable[[], Made]] = {
    "LSTM of 12 arrays": recurrent_net("LSTM", 4, lstm), "GRU of 9 arrays": recurrent_net("GRU", 3, gru),
    "SimpleRNN": recurrent_net("SimpleRNN", 1, simple), "LSTM of joined arrays": joined_gates,
    "Bidirectional and TimeDistributed": both_ways, "Embedding and GRU": words, "masked Embedding": masked_words,
    "one dimension": sequences, "two dimensions": pictures,
}  # fmt: skip


def written(path: Path, layers: list[dict[str, Any]], weights: Mapping[str, list[Any]]) -> Path:
    with h5py.File(path, "w") as file:
        config = {"class_name": "Sequential", "config": layers}
        file.attrs.update(model_config=json.dumps(config).encode(), keras_version=b"1.2.2")
        group = file.create_group("model_weights")
        names = [entry["config"]["name"] for entry in layers]
        group.attrs.update(layer_names=[name.encode() for name in names], keras_version=b"1.2.2")
        for name in names:
            own = group.create_group(name)
            arrays = weights.get(name, [])
            own.attrs["weight_names"] = [f"{name}_{k}".encode() for k in range(len(arrays))]
            for k, array in enumerate(arrays):
                own.create_dataset(f"{name}_{k}", data=array)
    return path


@pytest.mark.parametrize("net", NETS)
def test_a_net_of_keras1_gives_what_its_layers_mean(net: str, tmp_path: Path) -> None:
    import tensorflow as tf

    from converters.checkpoints.loading import load

    layers, weights, x, wanted = NETS[net]()
    loaded = load(identify(written(tmp_path / "old.h5", layers, weights)))
    given = tf.constant(x, loaded.signature.inputs[0].dtype)
    found = tf.function(loaded.function)([given])[0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
    assert any("Theano" in note for note in loaded.notes) == ("dimension" in net)


def test_a_kernel_of_one_dimension_from_before_1_2_is_turned() -> None:
    kernel = random(4, 1, 2, 3)
    settings = {"class_name": "Convolution1D", "config": {"filter_length": 4, "nb_filter": 3}}
    for stored in (kernel, kernel.transpose(3, 2, 0, 1)):
        np.testing.assert_array_equal(todays(settings, [stored])[0], kernel[:, 0])


@pytest.mark.parametrize("kind", ["Deconvolution2D", "Highway", "MaxoutDense", "ConvLSTM2D", "LocallyConnected1D"])
def test_what_was_not_held_against_numbers_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    first = layer(kind, "odd", batch_input_shape=[None, 6, 5, 2])
    with pytest.raises(RefusedError, match=rf"Keras 1, and the layer `odd` \({kind}\)"):
        identify(written(tmp_path / "old.h5", [first], {}))


@pytest.mark.parametrize("first", [True, False], ids=["first", "within"])
def test_a_lambda_that_is_said_to_scale_scales(first: bool, tmp_path: Path) -> None:
    from converters.checkpoints.loading import load

    kernel, bias = random(2, 2), random(2)
    shape = {"batch_input_shape": [None, 2]}
    scales = layer("Lambda", "lambda_1", function=["code", None, None], function_type="lambda", arguments={})
    dense = layer("Dense", "d", **DENSE | {"input_dim": 2})
    (scales if first else dense)["config"].update(shape)
    path = written(tmp_path / "old.h5", [scales, dense] if first else [dense, scales], {"d": [kernel, bias]})
    with pytest.raises(RefusedError, match=r"the layer `lambda_1` \(Lambda\)") as caught:
        identify(path)
    assert "--replace lambda_1=rescaling:" in caught.value.next_step
    loaded = load(identify(path, LoadOptions(replaced=(parse_replacement("lambda_1=rescaling:1/255,-0.5"),))))
    x = random(3, 2)
    wanted = (x / 255 - 0.5) @ kernel + bias if first else (x @ kernel + bias) / 255 - 0.5
    np.testing.assert_allclose(loaded.function([x])[0], wanted, rtol=2e-5, atol=2e-6)


def test_gates_inside_of_an_inner_model_are_refused(tmp_path: Path) -> None:
    from converters.checkpoints.loading import load

    w = gates(4)
    inner = {"class_name": "Sequential", "config": [recurrent("LSTM", "r", batch_input_shape=[None, 5, 2])]}
    outer = {"class_name": "Sequential", "config": {"name": "inner", "layers": inner["config"]}}
    path = written(tmp_path / "old.h5", [outer, layer("Dense", "d", **DENSE)], {"inner": w, "d": [random(3, 2)]})
    with pytest.raises(RefusedError, match=r"\.h5 was saved by Keras 1, .* `r` \(LSTM\) lies in a model inside"):
        load(identify(path))
