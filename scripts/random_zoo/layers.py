"""What a step of a random model may be: for each rank of a tensor, functions that draw a layer and apply it.

A step may raise ValueError or TypeError: Keras does not take what was drawn, and another step is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import keras
from keras import layers as kl

Step = Callable[[random.Random, Any], Any]

ACTIVATIONS = (
    *("relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid", "hard_sigmoid"),
    *("hard_silu", "hard_tanh", "hard_shrink", "soft_shrink", "squareplus", "softplus", "softsign", "softmax"),
    *("log_softmax", "log_sigmoid", "leaky_relu", "sparse_plus", "sparse_sigmoid", "sparsemax", "tanh_shrink"),
    *("threshold", "exponential", "glu", "linear"),
)
SIMPLE = ("relu", "tanh", "sigmoid", "gelu", "swish", None, None, None)


def some(r: random.Random, **choices: Any) -> dict[str, Any]:
    """One of each list of values."""
    return {name: r.choice(values) for name, values in choices.items()}


def sizes(r: random.Random, rank: int, low: int, high: int) -> Any:
    """A number for all axes, or one for each."""
    return r.randint(low, high) if r.random() < 0.6 else tuple(r.randint(low, high) for _ in range(rank))


def strided(r: random.Random, rank: int) -> dict[str, Any]:
    """Strides or dilation, never both."""
    kind = r.random()
    if kind < 0.3:
        return {"strides": sizes(r, rank, 1, 3) if rank != 2 else r.randint(1, 3)}
    return {"dilation_rate": r.randint(1, 2) if rank == 3 else r.randint(1, 3)} if kind < 0.5 else {}


def data_format(r: random.Random) -> str:
    return "channels_first" if r.random() < 0.15 else "channels_last"


def convolution(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        order = data_format(r)
        channels = x.shape[1 if order == "channels_first" else -1]
        groups = r.choice([g for g in (1, 1, 1, 2, 3, 4) if channels % g == 0])
        padding = r.choice(["valid", "same", "causal"] if rank == 1 and order == "channels_last" else ["valid", "same"])
        more = {"padding": padding, "groups": groups, "data_format": order, **strided(r, rank)}
        filters, kernel = groups * r.randint(1, 4), sizes(r, rank, 1, 3)
        kind = getattr(kl, f"Conv{rank}D")
        return kind(filters, kernel, **some(r, activation=SIMPLE, use_bias=[True, False]), **more)(x)

    return step


def depthwise(rank: int, separable: bool) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        kernel, more = (
            r.randint(1, 3),
            some(r, padding=["valid", "same"], depth_multiplier=[1, 1, 2], activation=SIMPLE),
        )
        more |= some(r, use_bias=[True, False]) | strided(r, 2) | {"data_format": data_format(r)}
        kind = getattr(kl, f"{'Separable' if separable else 'Depthwise'}Conv{rank}D")
        return (kind(r.randint(1, 5), kernel, **more) if separable else kind(kernel, **more))(x)

    return step


def transposed(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        strides = r.randint(1, 3)
        more: dict[str, Any] = {"strides": strides, "padding": r.choice(["valid", "same"])}
        if strides > 1 and r.random() < 0.3:
            more["output_padding"] = r.randint(0, strides - 1)
        elif strides == 1 and r.random() < 0.3:
            more["dilation_rate"] = 2
        more |= some(r, activation=SIMPLE, use_bias=[True, False]) | {"data_format": data_format(r)}
        return getattr(kl, f"Conv{rank}DTranspose")(r.randint(1, 4), r.randint(1, 4), **more)(x)

    return step


def pool(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        kind = getattr(kl, f"{r.choice(['Max', 'Average'])}Pooling{rank}D")
        more = some(r, padding=["valid", "same"], strides=[None, None, 1, 2]) | {"data_format": data_format(r)}
        return kind(r.randint(1, 3), **more)(x)

    return step


def adaptive_pool(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        return getattr(kl, f"Adaptive{r.choice(['Max', 'Average'])}Pooling{rank}D")(sizes(r, rank, 1, 3))(x)

    return step


def global_pool(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        kind = getattr(kl, f"Global{r.choice(['Max', 'Average'])}Pooling{rank}D")
        return kind(keepdims=r.random() < 0.5, data_format=data_format(r))(x)

    return step


def resize_space(rank: int) -> Step:
    """Paddings, crops and repetitions of the middle axes."""

    def step(r: random.Random, x: Any) -> Any:
        word = r.choice(["ZeroPadding", "Cropping", "UpSampling"])
        order = {} if rank == 1 else {"data_format": data_format(r)}
        if word == "UpSampling":
            more = some(r, interpolation=["nearest", "bilinear", "bicubic", "lanczos3"]) if rank == 2 else {}
            return getattr(kl, f"UpSampling{rank}D")(sizes(r, rank, 1, 3) if rank > 1 else 2, **more, **order)(x)
        pairs = tuple((r.randint(0, 2), r.randint(0, 2)) for _ in range(rank))
        amount: Any = r.choice([1, pairs if rank > 1 else pairs[0]])
        return getattr(kl, f"{word}{rank}D")(amount, **order)(x)

    return step


def resizing(r: random.Random, x: Any) -> Any:
    more = some(r, interpolation=["bilinear", "bilinear", "nearest", "area", "bicubic", "lanczos3"])
    kind = r.random()
    if kind < 0.2:
        more["crop_to_aspect_ratio"] = True
    elif kind < 0.35:
        more["pad_to_aspect_ratio"] = True
    return kl.Resizing(r.randint(2, 14), r.randint(2, 14), **more)(x)


def image_step(r: random.Random, x: Any) -> Any:
    """Preprocessing of images that does nothing, or one thing, when a model answers."""
    return r.choice(
        [
            kl.CenterCrop(r.randint(1, 8), r.randint(1, 8)),
            kl.RandomFlip(),
            kl.RandomRotation(0.1),
            kl.RandomZoom(0.1),
            kl.RandomContrast(0.1),
            kl.RandomTranslation(0.1, 0.1),
        ]
    )(x)


def recurrent(r: random.Random, x: Any) -> Any:
    units, more = r.randint(1, 5), some(r, return_sequences=[True, False], use_bias=[True, False])
    more |= some(r, go_backwards=[False, False, True], activation=["tanh", "tanh", "relu", "sigmoid"])
    name = r.choice(["LSTM", "GRU", "SimpleRNN"])
    if name == "GRU":
        more |= some(r, reset_after=[True, False])
    if r.random() < 0.15 and None not in x.shape[1:]:
        more["unroll"] = True
    if r.random() < 0.25:
        more |= some(r, dropout=[0.0, 0.2], recurrent_dropout=[0.0, 0.2])
    kind = r.random()
    if kind < 0.15:
        del more["activation"], more["go_backwards"]
        cells = [kl.LSTMCell(units), kl.GRUCell(units), kl.SimpleRNNCell(units)]
        sequences = more["return_sequences"]
        return kl.RNN(r.choice([*cells, [cells[1], cells[2]]]), return_sequences=sequences)(x)
    layer = getattr(kl, name)(units, **more)
    if kind < 0.45:
        layer = kl.Bidirectional(layer, **some(r, merge_mode=["concat", "sum", "mul", "ave"]))
    return layer(x)


def with_state(r: random.Random, x: Any) -> Any:
    """A recurrent layer that begins where another ended."""
    units, sequences = r.randint(1, 4), r.random() < 0.5
    if r.random() < 0.5:
        y, *state = kl.LSTM(units, return_sequences=sequences, return_state=True)(x)
        return kl.LSTM(units, return_sequences=sequences)(x, initial_state=state)
    y, state = kl.GRU(units, return_sequences=True, return_state=True)(x)
    return kl.GRU(units, return_sequences=sequences)(y, initial_state=state)


def masked(r: random.Random, x: Any) -> Any:
    return kl.Masking(0.0)(x)


def conv_lstm(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        more = some(r, padding=["valid", "same"], return_sequences=[True, False], go_backwards=[False, False, True])
        kind = getattr(kl, f"ConvLSTM{rank}D")
        if r.random() < 0.2:
            more["dropout"] = 0.2
        return kind(r.randint(1, 3), r.randint(1, 3), strides=r.randint(1, 2), **more)(x)

    return step


def attention(r: random.Random, x: Any) -> Any:
    kind = r.randrange(4)
    if kind == 0:
        more = some(r, use_bias=[True, False], value_dim=[None, 2])
        return kl.MultiHeadAttention(r.randint(1, 3), r.randint(1, 4), **more)(x, x, use_causal_mask=r.random() < 0.3)
    if kind == 1:
        return kl.GroupQueryAttention(r.randint(1, 4), 4, 2)(x, x, use_causal_mask=r.random() < 0.3)
    other = kl.Dense(x.shape[-1])(x)
    if kind == 2:
        more = some(r, use_scale=[True, False], score_mode=["dot", "concat"])
        return kl.Attention(**more)([x, other], use_causal_mask=r.random() < 0.3)
    return kl.AdditiveAttention(use_scale=r.random() < 0.5)([x, other])


def distributed(r: random.Random, x: Any) -> Any:
    rank = len(x.shape) - 1
    if rank == 2:
        inner: Any = kl.Dense(r.randint(1, 5), activation=r.choice(SIMPLE))
    elif rank == 3:
        inner = r.choice([kl.Conv1D(2, 2, padding="same"), kl.LSTM(3), kl.GlobalAveragePooling1D(), kl.Flatten()])
    else:
        inner = r.choice([kl.Conv2D(2, 2), kl.MaxPooling2D(), kl.GlobalMaxPooling2D(), kl.Flatten()])
    return kl.TimeDistributed(inner)(x)


def einsum(r: random.Random, x: Any) -> Any:
    return kl.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de")(x)


def dense(r: random.Random, x: Any) -> Any:
    more = some(r, activation=SIMPLE, use_bias=[True, True, False])
    return kl.Dense(r.randint(1, 8), **more)(x)


def activation(r: random.Random, x: Any) -> Any:
    if r.random() < 0.6:
        return kl.Activation(r.choice(ACTIVATIONS))(x)
    layers: list[Any] = [
        kl.LeakyReLU(r.uniform(0, 0.5)),
        kl.ELU(r.uniform(0.2, 2)),
        kl.ReLU(r.choice([None, 1.0, 6.0]), r.choice([0.0, 0.1]), r.choice([0.0, 0.3, -0.2])),
        kl.Softmax(r.choice([-1, 1])),
        kl.PReLU(shared_axes=list(range(1, len(x.shape) - 1)) or None),
        kl.PReLU(),
    ]
    return r.choice(layers)(x)


def normalization(r: random.Random, x: Any) -> Any:
    axis = r.randint(1, len(x.shape) - 1) if r.random() < 0.2 else -1
    last = x.shape[-1]
    affine = some(r, center=[True, False], scale=[True, True, False])
    layers: list[Callable[[], Any]] = [
        lambda: kl.BatchNormalization(axis, **affine),
        lambda: kl.BatchNormalization(axis, **affine),
        lambda: kl.LayerNormalization(axis, epsilon=0.01, **affine),
        lambda: kl.LayerNormalization([-2, -1], epsilon=0.01),
        lambda: kl.RMSNormalization(axis, epsilon=0.01),
        lambda: kl.UnitNormalization(axis),
        lambda: kl.GroupNormalization(r.choice([g for g in (1, 2, 3, -1) if last % g == 0]), epsilon=0.01, **affine),
        lambda: kl.SpectralNormalization(kl.Dense(r.randint(1, 4))),
        lambda: kl.Normalization(mean=r.uniform(-1, 1), variance=r.uniform(0.5, 2)),
        lambda: kl.Normalization(axis=None, mean=0.3, variance=2.0, invert=True),
    ]
    return r.choice(layers)()(x)


def regularization(r: random.Random, x: Any) -> Any:
    layers = [kl.Dropout(0.3), kl.GaussianNoise(0.2), kl.GaussianDropout(0.2), kl.AlphaDropout(0.2)]
    layers += [kl.ActivityRegularization(0.01), kl.Identity(), kl.Rescaling(r.uniform(-2, 2), r.uniform(-1, 1))]
    return r.choice(layers)(x)


def residual(r: random.Random, x: Any) -> Any:
    other = kl.Dense(x.shape[-1], activation=r.choice(SIMPLE))(x)
    if r.random() < 0.25:
        return kl.Concatenate(r.randint(1, len(x.shape) - 1))([x, other])
    merge = r.choice([kl.Add, kl.Subtract, kl.Multiply, kl.Average, kl.Maximum, kl.Minimum])
    return merge()([x, other])


def dot(r: random.Random, x: Any) -> Any:
    return kl.Dot(axes=r.choice([1, 2]), normalize=r.random() < 0.5)([x, kl.Activation("tanh")(x)])


def rearranged(r: random.Random, x: Any) -> Any:
    shape = list(x.shape[1:])
    kind = r.random()
    if kind < 0.35 and len(shape) > 1:
        return kl.Permute(r.sample(range(1, len(shape) + 1), len(shape)))(x)
    if kind < 0.5:
        return kl.Flatten(data_format=data_format(r))(x)
    if len(shape) == 1 and kind < 0.7:
        return kl.RepeatVector(r.randint(1, 4))(x)
    if None in shape:
        return kl.Reshape((-1, shape[-1]))(x)
    total = keras.ops.prod(shape).numpy().item()
    first = r.choice([d for d in range(1, total + 1) if total % d == 0])
    second = r.choice([d for d in range(1, total // first + 1) if (total // first) % d == 0])
    target = [first, second, total // first // second] if r.random() < 0.5 else [first, total // first]
    if r.random() < 0.3:
        target[r.randrange(len(target))] = -1
    return kl.Reshape(target)(x)
