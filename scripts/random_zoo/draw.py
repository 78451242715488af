"""Draws a whole model from a seed: its trunk, branches, shared layers, inner models, inputs and outputs."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers as kl

from . import images as im
from . import layers as la
from . import operations as op
from . import sequences as sq

_ANY: list[la.Step] = [
    *(la.activation, la.activation, la.normalization, la.normalization, la.regularization, la.residual, la.residual),
    *(la.dense, la.rearranged, op.pointwise, op.pointwise, op.reduction, op.structure, op.structure),
]
_BY_RANK: dict[int, list[la.Step]] = {
    1: [la.dense, la.dense, la.dense],
    2: [
        *(la.convolution(1), la.convolution(1), la.depthwise(1, False), la.depthwise(1, True), la.transposed(1)),
        *(la.pool(1), la.pool(1), la.global_pool(1), la.adaptive_pool(1), im.resize_space(1), sq.dot, sq.einsum),
        *(sq.recurrent, sq.recurrent, sq.recurrent, sq.with_state, sq.masked, sq.attention, sq.attention),
        sq.distributed,
    ],
    3: [
        *([la.convolution(2)] * 4),
        *(la.depthwise(2, False), la.depthwise(2, True), la.transposed(2), la.transposed(2), la.pool(2), la.pool(2)),
        *(la.global_pool(2), la.adaptive_pool(2), im.resize_space(2), im.resize_space(2), im.resizing),
        *([im.image_step] * 3),
        *(sq.conv_lstm(1), sq.distributed, op.resized),
    ],
    4: [
        *([la.convolution(3)] * 3),
        *(la.transposed(3), la.pool(3), la.pool(3), la.global_pool(3), la.adaptive_pool(3), im.resize_space(3)),
        *(sq.conv_lstm(2), sq.distributed),
    ],
}
_POLICIES = ["float32"] * 24 + ["mixed_float16"]
_MOST = 20_000
"""Values that one sample may have between two layers."""


@dataclass(frozen=True)
class Drawn:
    """A model with weights, and feeds of its inputs by name: two batches that differ in size.

    Attributes:
        again: the same model built anew, in the float type that Keras is set to.
    """

    model: Any
    feeds: tuple[dict[str, Any], ...]
    again: Callable[[], Any]


def draw(seed: str) -> Drawn:
    """The model of this seed; the same under `keras.config.set_floatx("float64")`, in float64."""
    keras.backend.clear_session()
    r = random.Random(seed)
    with _policy(r.choice(_POLICIES)):
        return _drawn(r, seed)


def _drawn(r: random.Random, seed: str) -> Drawn:
    inputs: list[Any] = []
    outputs = _trunk(r, inputs)
    if r.random() < 0.2:
        outputs = _joined(r, [outputs[0], _trunk(r, inputs)[0]])
    if r.random() < 0.6:
        outputs = outputs[:1]
    packed = {f"out_{k}": y for k, y in enumerate(outputs)} if r.random() < 0.15 else outputs
    model = keras.Model(inputs, packed if len(outputs) > 1 or isinstance(packed, dict) else outputs[0])
    _give_weights(model, seed)
    numbers = np.random.default_rng(int.from_bytes(seed.encode()[-8:], "big"))
    unknown = r.choice([9, 12])
    return Drawn(
        model, (_feeds(model, numbers, 3, unknown), _feeds(model, numbers, 2, unknown + 4)), lambda: draw(seed).model
    )


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Layers that compute in a narrower type; under another float type than float32 in that."""
    before = keras.config.dtype_policy()
    if keras.config.floatx() == "float32":
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _input(r: random.Random, name: str) -> Any:
    """An input of one of the kinds that people feed."""
    kinds = ["image"] * 4 + ["series"] * 4 + ["volume", "features", "features", "tokens", "tokens", "bytes", "wave"]
    kind = r.choice([*kinds, "flags"] if r.random() < 0.5 else kinds)
    if kind == "tokens":
        return keras.Input((r.choice([None, 5, 7]),), dtype=r.choice(["int32", "int64"]), name=name)
    if kind == "wave":
        return keras.Input((r.randint(60, 120),), name=name)
    channels = r.randint(1, 6)
    if kind in {"features", "flags"}:
        dtype = "bool" if kind == "flags" else r.choice([None, None, None, "float16", "float64"])
        if dtype == keras.config.floatx():
            dtype = "float32"  # drawn anew in float64 it still has another type than the model
        return keras.Input((channels + 2,), name=name, dtype=dtype)
    known = {"series": (4, 12), "image": (6, 14), "bytes": (6, 14), "volume": (4, 7)}[kind]
    rank = {"series": 1, "image": 2, "bytes": 2, "volume": 3}[kind]
    shape: list[int | None] = [r.randint(*known) for _ in range(rank)]
    if r.random() < 0.2:
        shape = [None] * rank
    return keras.Input((*shape, channels), name=name, dtype="uint8" if kind == "bytes" else None)


def _as_floats(r: random.Random, x: Any) -> Any:
    """What stands behind an input so that layers can go on with it."""
    dtype = str(x.dtype)
    if dtype in {"int32", "int64"}:
        return _from_indices(r, x)
    if dtype == "uint8":
        return kl.Rescaling(1 / 127.5, -1)(x)
    if len(x.shape) == 2 and x.shape[1] >= 60:
        return _spectrum(r, x)
    if dtype != keras.config.floatx():
        return _floats(x)
    if r.random() < 0.05:
        mode = r.choice(["int", "int", "one_hot", "multi_hot", "count"] if len(x.shape) == 2 else ["int"])
        edges = [-0.7, 0.1, 0.9]
        return kl.Dense(3)(_floats(kl.Discretization(bin_boundaries=edges, output_mode=mode)(x)))
    return x


def _from_indices(r: random.Random, x: Any) -> Any:
    kind = r.random()
    if kind < 0.15:
        return kl.CategoryEncoding(9, output_mode=r.choice(["multi_hot", "count"]))(x)
    embedding = kl.ReversibleEmbedding if kind < 0.25 else kl.Embedding
    return embedding(9, r.randint(2, 6), mask_zero=r.random() < 0.4)(x)


def _spectrum(r: random.Random, x: Any) -> Any:
    if r.random() < 0.5:
        return kl.MelSpectrogram(fft_length=32, sequence_stride=r.choice([8, 16]), num_mel_bins=6, sampling_rate=800)(x)
    mode = r.choice(["log", "magnitude", "psd", "real", "imag", "angle"])
    padding = r.choice(["valid", "same"])
    more = {"fft_length": r.choice([None, 32]), "expand_dims": r.random() < 0.3, "padding": padding}
    return kl.STFTSpectrogram(mode=mode, frame_length=16, frame_step=r.choice([4, 8]), **more)(kl.Reshape((-1, 1))(x))


def _trunk(r: random.Random, inputs: list[Any]) -> list[Any]:
    """A chain of steps behind a new input; its end, then tensors on the way."""
    x = _input(r, f"in_{len(inputs)}")
    inputs.append(x)
    seen = [_as_floats(r, x)]
    for _ in range(r.randint(2, 6)):
        seen.append(_inner(r, seen[-1]) if r.random() < 0.12 else _step(r, seen[-1]))
    ways = seen[1:-1] or seen[:1]
    return [seen[-1], r.choice(ways)]


def _floats(x: Any) -> Any:
    return keras.ops.cast(x, keras.config.floatx())


def _step(r: random.Random, x: Any) -> Any:
    """One step that Keras takes."""
    for _ in range(100):
        rank = len(x.shape) - 1
        step = r.choice(_BY_RANK[rank] if rank in _BY_RANK and r.random() < 0.6 else _ANY)
        try:
            y = step(r, x)
        except (ValueError, TypeError, IndexError, ZeroDivisionError, NotImplementedError, ArithmeticError):
            continue
        if _is_usable(y):
            return y
    raise ValueError(f"No step was found behind a tensor of shape {x.shape}.")


def _is_usable(y: Any) -> bool:
    sizes = [6 if d is None else int(d) for d in y.shape[1:]]
    return 2 <= len(y.shape) <= 5 and 0 < math.prod(sizes) <= _MOST and y.shape[-1] is not None


def _inner(r: random.Random, x: Any) -> Any:
    """A model inside, called once, or a layer or model shared by two calls."""
    inner_input = keras.Input(x.shape[1:])
    y, deeper = inner_input, r.random() < 0.15
    for _ in range(r.randint(1, 3)):
        y = _inner(r, y) if deeper and r.random() < 0.3 else _step(r, y)
    if r.random() < 0.2:  # the second output is used as well
        y, other = keras.Model(inner_input, [y, kl.Dense(2)(inner_input)])(x)
        return y * keras.ops.mean(other, axis=list(range(1, len(other.shape))))[(..., *[None] * (len(y.shape) - 1))]
    if r.random() < 0.2:
        return keras.Sequential([inner_input, kl.Dense(3, activation=r.choice(la.SIMPLE)), kl.Dropout(0.1)])(x)
    inner = keras.Model(inner_input, y)
    if r.random() < 0.4:
        return inner(x)
    return r.choice([kl.Add, kl.Subtract, kl.Maximum])()([inner(x), inner(kl.Activation("tanh")(x))])


def _joined(r: random.Random, ends: list[Any]) -> list[Any]:
    """Two trunks as one, or both as outputs."""
    if r.random() < 0.4:
        return ends
    flat = [x if len(x.shape) == 2 else kl.GlobalAveragePooling1D()(kl.Reshape((-1, x.shape[-1]))(x)) for x in ends]
    if r.random() < 0.5:
        return [kl.Concatenate()(flat)]
    return [kl.Add()([kl.Dense(3)(x) for x in flat])]


def _give_weights(model: Any, seed: str) -> None:
    """Values that are not at rest: kernels by their inputs' number, scales and variances around 1."""
    numbers = np.random.default_rng(int.from_bytes(seed.encode()[-8:], "big") + 1)
    for weight in model.weights:
        if "int" in str(weight.dtype) or "seed" in weight.path or "vector_u" in weight.path:
            continue
        name = weight.path.rpartition("/")[2]
        if name in {"mean", "variance", "count"} and "normalization" in weight.path and "batch" not in weight.path:
            continue  # what the layer was given
        if any(word in name for word in ("gamma", "variance", "scale", "alpha")):
            value = numbers.uniform(0.4, 1.3, weight.shape)
        elif any(word in name for word in ("bias", "beta", "mean")) or len(weight.shape) < 2:
            value = numbers.normal(0, 0.3, weight.shape)
        else:
            value = numbers.normal(0, 1, weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
        weight.assign(value.astype("float32"))


def _feeds(model: Any, numbers: Any, batch: int, unknown: int) -> dict[str, Any]:
    feeds = {}
    for tensor in model.inputs:
        shape = [batch, *(unknown if d is None else d for d in tensor.shape[1:])]
        dtype = str(tensor.dtype)
        if "float" not in dtype:
            most = {"uint8": 256, "bool": 2}.get(dtype, 9)
            feeds[tensor.name] = numbers.integers(0, most, shape).astype(dtype)
            continue
        values = numbers.normal(0, 1, shape).astype("float32").astype(dtype)
        if len(shape) == 3 and numbers.random() < 0.5:
            values[0, -2:] = 0  # steps that a mask leaves out
        feeds[tensor.name] = values
    return feeds
