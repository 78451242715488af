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


def strided(r: random.Random, rank: int, even: bool = False) -> dict[str, Any]:
    """Strides or dilation, never both; `even` where a kernel takes one number for all axes only."""
    kind, most = r.random(), 2 if rank == 3 else 3
    if kind < 0.3:
        return {"strides": r.randint(1, 3) if even else sizes(r, rank, 1, 3)}
    return {"dilation_rate": r.randint(1, most) if even else sizes(r, rank, 1, most)} if kind < 0.5 else {}


def data_format(r: random.Random) -> str:
    return "channels_first" if r.random() < 0.15 else "channels_last"


def convolution(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        order = data_format(r)
        channels = x.shape[1 if order == "channels_first" else -1]
        groups = r.choice([g for g in (1, 1, 1, 2, 3, 4) if channels % g == 0])
        padding = r.choice(["valid", "same", "causal"] if rank == 1 and order == "channels_last" else ["valid", "same"])
        more = {"padding": padding, "groups": groups, "data_format": order, **strided(r, rank)}
        filters, kernel = groups * r.randint(1, 4), sizes(r, rank, 1, r.choice([3, 3, 5]))
        kind = getattr(kl, f"Conv{rank}D")
        return kind(filters, kernel, **some(r, activation=SIMPLE, use_bias=[True, False]), **more)(x)

    return step


def depthwise(rank: int, separable: bool) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        kernel = sizes(r, rank, 1, 4)
        more = some(r, padding=["valid", "same"], depth_multiplier=[1, 1, 2, 3], activation=SIMPLE)
        more |= some(r, use_bias=[True, False]) | strided(r, rank, even=True) | {"data_format": data_format(r)}
        kind = getattr(kl, f"{'Separable' if separable else 'Depthwise'}Conv{rank}D")
        return (kind(r.randint(1, 5), kernel, **more) if separable else kind(kernel, **more))(x)

    return step


def transposed(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        strides = sizes(r, rank, 1, 3)
        more: dict[str, Any] = {"strides": strides, "padding": r.choice(["valid", "same"])}
        least = strides if isinstance(strides, int) else min(strides)
        if least > 1 and r.random() < 0.3:
            more["output_padding"] = r.randint(0, least - 1)
        elif strides == 1 and r.random() < 0.3:
            more["dilation_rate"] = sizes(r, rank, 1, 3)
        more |= some(r, activation=SIMPLE, use_bias=[True, False]) | {"data_format": data_format(r)}
        return getattr(kl, f"Conv{rank}DTranspose")(r.randint(1, 4), sizes(r, rank, 1, 4), **more)(x)

    return step


def pool(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        kind = getattr(kl, f"{r.choice(['Max', 'Average'])}Pooling{rank}D")
        strides = r.choice([None, None, 1, 2, sizes(r, rank, 1, 3)])
        more = some(r, padding=["valid", "same"], strides=[strides]) | {"data_format": data_format(r)}
        return kind(sizes(r, rank, 1, 4), **more)(x)

    return step


def adaptive_pool(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        return getattr(kl, f"Adaptive{r.choice(['Max', 'Average'])}Pooling{rank}D")(
            sizes(r, rank, 1, 3), data_format(r)
        )(x)

    return step


def global_pool(rank: int) -> Step:
    def step(r: random.Random, x: Any) -> Any:
        kind = getattr(kl, f"Global{r.choice(['Max', 'Average'])}Pooling{rank}D")
        return kind(keepdims=r.random() < 0.5, data_format=data_format(r))(x)

    return step


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
        kl.Softmax(r.choice([-1, 1, [1, 2], [-2, -1]])),
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
        lambda: kl.LayerNormalization(list(range(1, len(x.shape))), epsilon=0.01, **affine),
        lambda: kl.RMSNormalization(axis, epsilon=0.01),
        lambda: kl.UnitNormalization(r.choice([axis, [-2, -1] if len(x.shape) > 2 else axis])),
        lambda: kl.GroupNormalization(r.choice([g for g in (1, 2, 3, -1) if last % g == 0]), epsilon=0.01, **affine),
        lambda: kl.GroupNormalization(r.choice([1, -1]), axis=axis, epsilon=0.01, **affine),
        lambda: kl.SpectralNormalization(kl.Dense(r.randint(1, 4))),
        lambda: kl.SpectralNormalization(getattr(kl, f"Conv{len(x.shape) - 2}D")(2, 2, padding="same")),
        lambda: kl.Normalization(mean=r.uniform(-1, 1), variance=r.uniform(0.5, 2)),
        lambda: kl.Normalization(mean=[0.1 * k for k in range(last)], variance=[0.5 + 0.1 * k for k in range(last)]),
        lambda: kl.Normalization(axis=None, mean=0.3, variance=2.0, invert=True),
    ]
    return r.choice(layers)()(x)


def regularization(r: random.Random, x: Any) -> Any:
    layers = [kl.Dropout(0.3), kl.GaussianNoise(0.2), kl.GaussianDropout(0.2), kl.AlphaDropout(0.2)]
    layers += [kl.ActivityRegularization(0.01), kl.Identity(), kl.Rescaling(r.uniform(-2, 2), r.uniform(-1, 1))]
    if 3 <= len(x.shape) <= 5:
        layers.append(getattr(kl, f"SpatialDropout{len(x.shape) - 2}D")(0.2))
    return r.choice(layers)(x)


def residual(r: random.Random, x: Any) -> Any:
    other = kl.Dense(x.shape[-1], activation=r.choice(SIMPLE))(x)
    if r.random() < 0.25:
        return kl.Concatenate(r.randint(1, len(x.shape) - 1))([x, other])
    if r.random() < 0.15:
        other = kl.Dense(1)(x)  # one value for all channels
    merge = r.choice([kl.Add, kl.Subtract, kl.Multiply, kl.Average, kl.Maximum, kl.Minimum])
    more = [kl.Activation("tanh")(x)] if merge is not kl.Subtract and r.random() < 0.2 else []
    return merge()([x, other, *more])


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
