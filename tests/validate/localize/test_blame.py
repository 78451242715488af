"""A convolution, its norm and its ReLU seen only at their end: which of them is broken?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from validate.localize.fused_layer import Member, broken_member

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(0, 1, (12, 6))
GIVEN = RNG.normal(0, 2, (4, 9, 9, 12))
GAMMA, BETA, MEAN, VARIANCE = RNG.uniform(0.5, 2, 6), RNG.normal(0, 2, 6), RNG.normal(0, 1, 6), RNG.uniform(0.01, 4, 6)
NOISE = 1e-5


def convolved(kernel: Any = KERNEL, scale: float = 1.0) -> Any:
    return scale * GIVEN @ kernel


def normed(x: Any, epsilon: float = 1e-3, beta: Any = BETA) -> Any:
    return GAMMA * (x - MEAN) / np.sqrt(VARIANCE + epsilon) + beta


def relu(x: Any, cap: float = np.inf) -> Any:
    return np.clip(x, 0, cap)


def changed(kernel: Any, change: Any) -> Any:
    copy = kernel.copy()
    change(copy)
    return copy


def swap(kernel: Any) -> None:
    kernel[:, [0, 1]] = kernel[:, [1, 0]]


def zero(kernel: Any) -> None:
    kernel[:, 2] = 0


def one_weight(kernel: Any) -> None:
    kernel[3, 4] += 0.1


GROUP = [
    Member("scale", "Rescaling", GIVEN),
    Member("conv", "Conv2D", convolved()),
    Member("norm", "BatchNormalization", normed(convolved())),
    Member("relu", "ReLU", relu(normed(convolved()))),
]
BROKEN = {
    "relu6": ("relu", relu(normed(convolved()), 6.0)),
    "leaky": ("relu", np.where(normed(convolved()) > 0, normed(convolved()), 0.1 * normed(convolved()))),
    "epsilon": ("norm", relu(normed(convolved(), 1e-5))),
    "beta": ("norm", relu(normed(convolved(), beta=BETA + np.eye(6)[2]))),
    "swapped": ("conv", relu(normed(convolved(changed(KERNEL, swap))))),
    "zeroed": ("conv", relu(normed(convolved(changed(KERNEL, zero))))),
    "weight": ("conv", relu(normed(convolved(changed(KERNEL, one_weight))))),
    "doubled": ("scale", relu(normed(convolved(scale=2.0)))),
}


BEFORE_THE_RELU = {
    "epsilon": normed(convolved(), 1e-5),
    "beta": normed(convolved(), beta=BETA + np.eye(6)[2]),
    "swapped": normed(convolved(changed(KERNEL, swap))),
    "zeroed": normed(convolved(changed(KERNEL, zero))),
    "weight": normed(convolved(changed(KERNEL, one_weight))),
    "doubled": normed(convolved(scale=2.0)),
}


@pytest.mark.parametrize(("name", "to"), [*((name, 4) for name in BROKEN), *((name, 3) for name in BEFORE_THE_RELU)])
def test_the_broken_layer_of_a_fused_group_is_named(name: str, to: int) -> None:
    layer, got = BROKEN[name]
    if to == 3:
        got = BEFORE_THE_RELU[name]
    got = got + RNG.uniform(-NOISE, NOISE, got.shape) * (got != 0)
    assert broken_member(GROUP[:to], got.astype(np.float32), 2 * NOISE)[0] == layer


@pytest.mark.parametrize(("factor", "layer"), [(1.0005, "norm"), (2.0, "scale")])
def test_a_scale_before_an_activation_is_not_the_activations(factor: float, layer: str) -> None:
    """A norm as it is before training: no offsets, the same scale everywhere."""
    given = convolved()
    members = [GROUP[0]] if layer == "scale" else []
    group = [*members, GROUP[1], Member("norm", "BatchNormalization", given), Member("relu", "ReLU", relu(given))]
    assert broken_member(group, relu(factor * given), NOISE) == (layer,)
    assert broken_member(group, relu(given, 6.0), NOISE) == ("relu",)


def test_a_bias_and_an_offset_cannot_be_told_apart_and_both_are_named() -> None:
    group = [Member("conv", "Conv2D", convolved(), biased=True), GROUP[2]]
    assert broken_member(group, normed(convolved() + np.eye(6)[1]), NOISE) == ("conv", "norm")


def test_a_layer_that_is_seen_by_itself_is_the_one() -> None:
    assert broken_member([GROUP[1]], convolved() + 1, NOISE) == ("conv",)
