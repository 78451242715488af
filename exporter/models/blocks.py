"""The three building blocks: inception, residual, squeeze-excite. Functional Keras, channels last, any channel count.

Each takes a symbolic (batch, height, width, channels) tensor and returns one; `name` prefixes the names of the layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras import KerasTensor


@dataclass(frozen=True)
class InceptionWidths:
    """Output channels of each convolution of an inception block; `conv1` = 0 leaves the plain 1x1 tower out.

    The defaults are the three 64-wide towers of the Keras tutorial; the GoogLeNet paper's table 1 has a fourth, 1x1.
    """

    reduce3: int = 64
    conv3: int = 64
    reduce5: int = 64
    conv5: int = 64
    pool: int = 64
    conv1: int = 0

    @classmethod
    def even(cls, width: int) -> InceptionWidths:
        """Three towers of `width` channels each."""
        return cls(reduce3=width, conv3=width, reduce5=width, conv5=width, pool=width)

    @property
    def total(self) -> int:
        """Channels after concatenation on the channel axis."""
        return self.conv1 + self.conv3 + self.conv5 + self.pool


def convolution(
    x: KerasTensor, filters: int, size: int, *, name: str, strides: int = 1, batch_norm: bool = False
) -> KerasTensor:
    """Same-padded `size` x `size` convolution and ReLU: (B, H, W, C) -> (B, ceil(H/s), ceil(W/s), filters).

    With `batch_norm`, relu(BN(conv(x))) and no bias, since BN's shift is one (Ioffe & Szegedy 2015, section 3.2).
    """
    from keras import layers

    options: dict[str, Any] = {"strides": strides, "padding": "same", "name": name}
    if not batch_norm:
        return layers.Conv2D(filters, size, activation="relu", **options)(x)
    x = layers.Conv2D(filters, size, use_bias=False, **options)(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def inception_block(
    x: KerasTensor,
    widths: InceptionWidths = InceptionWidths(),
    *,
    axis: int = -1,
    batch_norm: bool = False,
    name: str = "inception",
) -> KerasTensor:
    """Parallel towers that keep height and width, concatenated: Szegedy et al. 2014, arXiv:1409.4842, figure 2(b).

    y = concat([conv1x1(x)], conv3x3(conv1x1(x)), conv5x5(conv1x1(x)), conv1x1(maxpool3x3(x))), every convolution
    followed by ReLU; the first tower is there when `widths.conv1` is not 0.

    Shape: (B, H, W, C) -> (B, H, W, widths.total) with `axis` -1. `axis` 1 stacks the towers on the *height*, as the
    Keras tutorial's channels-last code does: (B, towers * H, W, width), and the towers must be equally wide.

    Raises:
        ValueError: `axis` is neither a channel nor a spatial axis, or the towers cannot be stacked on it.
    """
    from keras import layers

    if axis not in {-1, 1, 2, 3}:
        raise ValueError(f"axis must be -1, 1, 2 or 3, not {axis}")

    def conv(tensor: KerasTensor, filters: int, size: int, part: str) -> KerasTensor:
        return convolution(tensor, filters, size, name=f"{name}_{part}", batch_norm=batch_norm)

    towers = [conv(x, widths.conv1, 1, "1x1")] if widths.conv1 else []
    towers.append(conv(conv(x, widths.reduce3, 1, "3x3_reduce"), widths.conv3, 3, "3x3"))
    towers.append(conv(conv(x, widths.reduce5, 1, "5x5_reduce"), widths.conv5, 5, "5x5"))
    pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    towers.append(conv(pooled, widths.pool, 1, "pool_proj"))
    return layers.Concatenate(axis=axis, name=name)(towers)


def residual_block(x: KerasTensor, *, name: str = "residual") -> KerasTensor:
    """y = x + conv3x3(x): He et al. 2015, arXiv:1512.03385, equation 1 with one linear layer, no projection.

    Shape: (B, H, W, C) -> (B, H, W, C).
    """
    from keras import layers

    branch = layers.Conv2D(x.shape[-1], 3, padding="same", name=f"{name}_3x3")(x)
    return layers.Add(name=name)([x, branch])


def squeeze_excite(x: KerasTensor, ratio: int = 16, *, name: str = "se") -> KerasTensor:
    """Channels weighted by what the whole image shows: Hu et al. 2017, arXiv:1709.01507, equations 2 to 4.

    z = mean over H, W of x (squeeze); s = sigmoid(W2 relu(W1 z + b1) + b2) (excitation); y = x * s (scale), with
    W1 of shape (C, max(1, C // ratio)) and W2 back to C. The squeeze is reshaped to (1, 1, C) before the dense layers,
    as in the Keras tutorial, so that its weights files fit.

    Shape: (B, H, W, C) -> (B, H, W, C).

    Raises:
        ValueError: `ratio` is below 1.
    """
    from keras import layers

    if ratio < 1:
        raise ValueError(f"ratio must be at least 1, not {ratio}")
    channels = x.shape[-1]
    s = layers.GlobalAveragePooling2D(name=f"{name}_squeeze")(x)
    s = layers.Reshape((1, 1, channels), name=f"{name}_reshape")(s)
    s = layers.Dense(max(1, channels // ratio), activation="relu", name=f"{name}_reduce")(s)
    s = layers.Dense(channels, activation="sigmoid", name=f"{name}_excite")(s)
    return layers.Multiply(name=name)([x, s])
