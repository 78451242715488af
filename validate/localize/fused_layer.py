"""Which of several layers that a file fuses into one operation is the broken one.

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
    """The layers of the group that explain the value seen at its end, the likeliest first.

    Args:
        group: in order; the last one's output is what `got` should be.
        tolerance: greatest difference that is noise.
    """
    if len(group) == 1:
        return (group[0].name,)
    last = group[-1]
    # Float32 rounds what a fault has made greater more coarsely too.
    tolerance *= max(1.0, float(np.abs(got).max()) / max(float(np.abs(last.truth).max()), 1e-300))
    inner = list(group)
    visible = None
    if last.kind in _ACTIVATIONS and group[-2].truth.shape == last.truth.shape:
        given = group[-2].truth
        if _is_elementwise(given, got - last.truth, tolerance) and not _is_scaled(given, last.truth, got, tolerance):
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
    if fit.offset_kept and fit.common_factor and scaling is not None:
        return (scaling.name,)
    if norm is None or (fit.offset_kept and not fit.common_factor):
        return (kernel.name,)
    if fit.scale_kept and kernel.biased:
        return (kernel.name, norm.name)  # a bias and an offset are the same to what follows
    return (norm.name,)


def _is_elementwise(given: Array, residual: Array, tolerance: float) -> bool:
    """Whether the fault depends on the activation's input alone: equal inputs, from whatever channel, err alike."""
    inputs, errors = np.ravel(given).astype(np.float64), np.ravel(residual).astype(np.float64)
    if inputs.size > _PAIRS:
        chosen = np.random.Generator(np.random.PCG64(0)).choice(inputs.size, _PAIRS, replace=False)
        inputs, errors = inputs[chosen], errors[chosen]
    order = np.argsort(inputs, kind="stable")
    inputs, errors = inputs[order], errors[order]
    wrong = np.abs(errors) > tolerance
    beside = wrong[1:] | wrong[:-1]
    if not beside.any():
        return False
    jumps = np.abs(np.diff(errors)) > 4 * np.abs(np.diff(inputs)) + 2 * tolerance
    return float(jumps[beside].mean()) < 0.02


def _is_scaled(given: Array, truth: Array, got: Array, tolerance: float) -> bool:
    """Whether the activation gives one factor of all that it is given above zero, and is right below: no activation
    errs so, but a scale before it does, where the norm between has no offsets (as in a network without training)."""
    inputs, values = np.ravel(given).astype(np.float64), np.ravel(got).astype(np.float64)
    above = inputs > 0
    if (np.abs(values - np.ravel(truth))[~above] > tolerance).any():
        return False
    inputs, values = inputs[above], values[above]
    factor = float(inputs @ values) / max(float(inputs @ inputs), 1e-300)
    return factor > 0 and float(np.abs(values - factor * inputs).max(initial=0.0)) <= 4 * tolerance


@dataclass(frozen=True)
class _Affine:
    """The value seen as scale * kernel's output + offset for each channel, against what the norm should give.

    Attributes:
        fits: such numbers exist.
        scale_kept, offset_kept: every channel's scale, or offset, is what it should be.
        common_factor: every channel's scale is off by the same factor.
    """

    fits: bool
    scale_kept: bool
    offset_kept: bool
    common_factor: bool

    @classmethod
    def of(cls, kernel: Array, end: Array, got: Array, visible: Any, tolerance: float) -> _Affine:
        given, wanted, seen = (np.reshape(a, (-1, a.shape[-1])).astype(np.float64) for a in (kernel, end, got))
        mask = np.ones(seen.shape, bool) if visible is None else np.reshape(visible, seen.shape)
        factors, scale_kept, offset_kept = [], True, True
        for c in range(seen.shape[1]):
            x, y = given[mask[:, c], c], seen[mask[:, c], c]
            scale, offset = _line(given[:, c], wanted[:, c])
            reach = float(np.abs(given[:, c]).max(initial=0.0))
            if y.size < 3:  # the activation hides the channel: nothing to be said of its numbers
                scale_kept &= int((wanted[:, c] > tolerance).sum()) < 3
                continue
            if float(np.ptp(y)) <= tolerance:  # the channel gives one value: a scale of nothing
                new = (0.0, float(y.mean()) if float(np.ptp(wanted[:, c])) > tolerance else offset)
            else:
                new = _line(x, y)
                if float(np.abs(new[0] * x + new[1] - y).max()) > 4 * tolerance:
                    return cls(False, False, False, False)
            scale_kept &= abs(new[0] - scale) * reach <= 4 * tolerance
            offset_kept &= abs(new[1] - offset) <= 4 * tolerance
            if abs(scale) * reach > 64 * tolerance:
                factors.append(new[0] / scale)
        spread = float(np.ptp(factors)) if factors else 0.0
        common = bool(factors) and spread <= 1e-3 * abs(float(np.mean(factors))) and not scale_kept
        return cls(True, scale_kept, offset_kept, common)


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Least squares."""
    if x.size == 0:
        return 0.0, 0.0
    mean_x, mean_y = float(x.mean()), float(y.mean())
    spread = float(((x - mean_x) ** 2).sum())
    scale = float(((x - mean_x) * (y - mean_y)).sum()) / spread if spread > 0 else 0.0
    return scale, mean_y - scale * mean_x
