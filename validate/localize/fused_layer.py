"""Finds the broken one of several layers that a file fuses into one operation.

A convolution, its batch norm and its ReLU come out of a converter as one operation, so that only the end is seen. But
each can only break in its own way: a ReLU gives the wrong value for a given input wherever it meets it, a batch norm
gives a wrong scale and offset for each channel, and what is neither is the convolution's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.arrays import Array

_ACTIVATIONS = {"ReLU", "LeakyReLU", "Activation", "PReLU", "ELU", "Softmax"}
_NORMS = {"BatchNormalization", "LayerNormalization", "GroupNormalization", "Normalization"}
_KERNELS = {"Conv1D", "Conv2D", "Conv3D", "Dense", "DepthwiseConv2D", "Conv2DTranspose", "SeparableConv2D"}
_SCALINGS = {"Rescaling", "Multiply", "TrueDivide"}
_PAIRS = 200_000


@dataclass(frozen=True)
class Member:
    """A layer of the group.

    Attributes:
        truth: its output by the oracle.
        biased: it adds a bias of its own.
    """

    name: str
    kind: str
    truth: Array
    biased: bool = False


def broken_member(group: Sequence[Member], got: Array, tolerance: float) -> tuple[str, ...]:
    """The layers of the group that explain the value observed at its end, the likeliest first.

    Args:
        group: in order; the last one's output is what `got` should be.
        tolerance: maximum difference that is noise.
    """
    if len(group) == 1:
        return (group[0].name,)
    last = group[-1]
    # Float32 also rounds more coarsely the values that a fault has enlarged.
    tolerance *= max(1.0, float(np.abs(got).max()) / max(float(np.abs(last.truth).max()), 1e-300))
    inner = list(group)
    visible = None
    if last.kind in _ACTIVATIONS and group[-2].truth.shape == last.truth.shape:
        activation_input = group[-2].truth
        if _is_elementwise(activation_input, got - last.truth, tolerance) and not _is_scaled(
            activation_input, last.truth, got, tolerance
        ):
            return (last.name,)
        inner.pop()
        visible = got > tolerance
    norm = next((m for m in reversed(inner) if m.kind in _NORMS), None)
    kernel = next((m for m in reversed(inner) if m.kind in _KERNELS), None)
    scaling = next((m for m in inner if m.kind in _SCALINGS), None)
    if kernel is None:
        return tuple(m.name for m in (norm or inner[-1], *inner) if m)[:1] or (last.name,)
    end = norm or kernel
    fit = _Affine.of(kernel.truth, end.truth, got, visible, tolerance)
    if not fit.fits:
        return (kernel.name,)
    if fit.same_offset and fit.common_factor and scaling is not None:
        return (scaling.name,)
    if norm is None or (fit.same_offset and not fit.common_factor):
        return (kernel.name,)
    if fit.same_scale and kernel.biased:
        return (kernel.name, norm.name)  # a bias and an offset are the same to what follows
    return (norm.name,)


def _is_elementwise(activation_input: Array, residual: Array, tolerance: float) -> bool:
    """Whether the fault depends on the activation's input alone: equal inputs, from whatever channel, err alike."""
    inputs, errors = np.ravel(activation_input).astype(np.float64), np.ravel(residual).astype(np.float64)
    if inputs.size > _PAIRS:
        chosen = np.random.Generator(np.random.PCG64(0)).choice(inputs.size, _PAIRS, replace=False)
        inputs, errors = inputs[chosen], errors[chosen]
    order = np.argsort(inputs, kind="stable")
    inputs, errors = inputs[order], errors[order]
    wrong = np.abs(errors) > tolerance
    near_fault = wrong[1:] | wrong[:-1]
    if not near_fault.any():
        return False
    jumps = np.abs(np.diff(errors)) > 4 * np.abs(np.diff(inputs)) + 2 * tolerance
    return float(jumps[near_fault].mean()) < 0.02


def _is_scaled(activation_input: Array, truth: Array, got: Array, tolerance: float) -> bool:
    """Whether the activation gives one factor of all that it is given above zero, and is right below: no activation
    errs so, but a scale before it does, where the norm between has no offsets (as in a network without training)."""
    inputs, values = np.ravel(activation_input).astype(np.float64), np.ravel(got).astype(np.float64)
    above = inputs > 0
    if (np.abs(values - np.ravel(truth))[~above] > tolerance).any():
        return False
    inputs, values = inputs[above], values[above]
    factor = float(inputs @ values) / max(float(inputs @ inputs), 1e-300)
    return factor > 0 and float(np.abs(values - factor * inputs).max(initial=0.0)) <= 4 * tolerance


@dataclass(frozen=True)
class _Affine:
    """The observed value as scale * kernel's output + offset for each channel, against what the norm should give.

    Attributes:
        fits: such numbers exist.
        same_scale, same_offset: every channel's scale, or offset, is right.
        common_factor: every channel's scale is off by the same factor.
    """

    fits: bool
    same_scale: bool
    same_offset: bool
    common_factor: bool

    @classmethod
    def of(cls, kernel: Array, end: Array, got: Array, visible: Any, tolerance: float) -> _Affine:
        inputs, targets, outputs = (np.reshape(a, (-1, a.shape[-1])).astype(np.float64) for a in (kernel, end, got))
        mask = np.ones(outputs.shape, bool) if visible is None else np.reshape(visible, outputs.shape)
        factors, same_scale, same_offset = [], True, True
        for c in range(outputs.shape[1]):
            x, y = inputs[mask[:, c], c], outputs[mask[:, c], c]
            scale, offset = _line(inputs[:, c], targets[:, c])
            reach = float(np.abs(inputs[:, c]).max(initial=0.0))
            if y.size < 3:  # the activation hides the channel: nothing to be said of its numbers
                same_scale &= int((targets[:, c] > tolerance).sum()) < 3
                continue
            if float(np.ptp(y)) <= tolerance:  # the channel gives one value: a scale of nothing
                line = (0.0, float(y.mean()) if float(np.ptp(targets[:, c])) > tolerance else offset)
            else:
                line = _line(x, y)
                if float(np.abs(line[0] * x + line[1] - y).max()) > 4 * tolerance:
                    return cls(False, False, False, False)
            same_scale &= abs(line[0] - scale) * reach <= 4 * tolerance
            same_offset &= abs(line[1] - offset) <= 4 * tolerance
            if abs(scale) * reach > 64 * tolerance:
                factors.append(line[0] / scale)
        spread = float(np.ptp(factors)) if factors else 0.0
        common = bool(factors) and spread <= 1e-3 * abs(float(np.mean(factors))) and not same_scale
        return cls(True, same_scale, same_offset, common)


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Scale and offset by least squares."""
    if x.size == 0:
        return 0.0, 0.0
    mean_x, mean_y = float(x.mean()), float(y.mean())
    spread = float(((x - mean_x) ** 2).sum())
    scale = float(((x - mean_x) * (y - mean_y)).sum()) / spread if spread > 0 else 0.0
    return scale, mean_y - scale * mean_x
