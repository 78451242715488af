"""Batch-norm statistics for a model without weights, so that its output depends on its input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from exporter.models.table import Shape

SAMPLES = 8


def warm_batch_norms(model: keras.Model, images: NDArray[np.float32]) -> int:
    """Sets each BatchNormalization's moving mean and variance to those of its own input; returns how many there are.

    A freshly initialised deep network is nearly dead: batch norms that do not normalize let the signal fade layer by
    layer. One forward pass in training mode, with momentum 0 and no dropout, leaves in each batch norm the statistics
    that its input has once all earlier ones are set.
    """
    from keras import layers

    norms = [layer for layer in _leaves(model) if isinstance(layer, layers.BatchNormalization)]
    drops = [layer for layer in _leaves(model) if isinstance(layer, layers.Dropout | layers.SpatialDropout2D)]
    momenta, rates = [norm.momentum for norm in norms], [drop.rate for drop in drops]
    try:
        for norm in norms:
            norm.momentum = 0.0
        for drop in drops:
            drop.rate = 0.0
        if norms:
            model(images, training=True)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for drop, rate in zip(drops, rates, strict=True):
            drop.rate = rate
    return len(norms)


def seeded_images(
    shape: Shape, value_range: tuple[float, float], seed: int, count: int = SAMPLES
) -> NDArray[np.float32]:
    """(count, H, W, C) float32 within the range: half noise, half smooth fields, each with its own contrast.

    Noise alone looks alike everywhere once pooled, and smooth fields alone excite few filters.
    """
    rng = np.random.default_rng(seed)
    height, width, channels = shape
    low, high = value_range
    noise = rng.uniform(size=(count, height, width, channels))
    coarse = rng.uniform(size=(count, 5, 5, channels))
    rows = np.linspace(0, 4, height).round().astype(int)
    columns = np.linspace(0, 4, width).round().astype(int)
    smooth = coarse[:, rows][:, :, columns]
    share = np.where(np.arange(count) % 2, 0.15, 1.0)[:, None, None, None]
    values = share * noise + (1 - share) * smooth
    return (low + (high - low) * values).astype(np.float32)


def _leaves(layer: keras.Layer) -> Iterator[keras.Layer]:
    """Every layer of the model, nested models opened."""
    for child in layer.layers:
        if hasattr(child, "layers"):
            yield from _leaves(child)
        else:
            yield child
