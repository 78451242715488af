"""The blocks: shapes for any channel count and ratio, and their formulas against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate

from exporter.models.blocks import InceptionWidths, inception_block, residual_block, squeeze_excite

few = settings(max_examples=12, deadline=None, derandomize=True)
sizes = st.integers(1, 6)
channel_counts = st.integers(1, 9)


def _model(shape, block):
    import keras

    image = keras.Input(shape)
    model = keras.Model(image, block(image))
    rng = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def _images(shape):
    return np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)


def _conv(x, kernel, bias):
    """Same-padded 2-D cross-correlation in float64: (H, W, C) with (k, k, C, F) -> (H, W, F)."""
    pad = kernel.shape[0] // 2
    padded = np.pad(x.astype(np.float64), ((pad, pad), (pad, pad), (0, 0)))
    maps = [correlate(padded, kernel[..., f].astype(np.float64), mode="valid")[..., 0] for f in range(kernel.shape[-1])]
    return np.stack(maps, -1) + bias


@few
@given(height=sizes, width=sizes, channels=channel_counts, ratio=st.integers(1, 40))
def test_squeeze_excite_is_its_formula(height, width, channels, ratio):
    model = _model((height, width, channels), lambda x: squeeze_excite(x, ratio))
    x = _images((height, width, channels))
    w1, b1, w2, b2 = (np.asarray(v, np.float64) for v in model.variables)
    assert w1.shape == (channels, max(1, channels // ratio))
    z = x.mean((1, 2))
    s = 1 / (1 + np.exp(-(np.maximum(z @ w1 + b1, 0) @ w2 + b2)))
    np.testing.assert_allclose(model(x), x * s[:, None, None, :], rtol=1e-4, atol=1e-5)


@few
@given(height=sizes, width=sizes, channels=channel_counts)
def test_residual_is_its_formula(height, width, channels):
    model = _model((height, width, channels), residual_block)
    x = _images((height, width, channels))
    kernel, bias = (np.asarray(v) for v in model.variables)
    expected = [image + _conv(image, kernel, bias) for image in x]
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


@few
@given(height=sizes, width=sizes, channels=channel_counts, tower=st.integers(1, 5), plain=st.integers(0, 3))
def test_inception_is_its_formula(height, width, channels, tower, plain):
    widths = InceptionWidths(tower, tower + 1, tower, tower, tower + 2, plain)
    model = _model((height, width, channels), lambda x: inception_block(x, widths))
    x = _images((height, width, channels))
    value = {v.path: np.asarray(v) for v in model.variables}

    def relu_conv(image, part):
        return np.maximum(_conv(image, value[f"inception_{part}/kernel"], value[f"inception_{part}/bias"]), 0)

    def expected(image):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
        towers = [relu_conv(image, "1x1")] if plain else []
        towers += [relu_conv(relu_conv(image, f"{k}x{k}_reduce"), f"{k}x{k}") for k in (3, 5)]
        return np.concatenate([*towers, relu_conv(windows.max((-1, -2)), "pool_proj")], -1)

    y = np.asarray(model(x))
    assert y.shape == (2, height, width, widths.total)
    np.testing.assert_allclose(y, [expected(image) for image in x], rtol=1e-3, atol=1e-3)


def test_the_tutorials_defaults():
    import keras

    image = keras.Input((256, 256, 3))
    assert inception_block(image).shape == (None, 256, 256, 192)
    assert inception_block(image, axis=1, name="other").shape == (None, 768, 256, 64)


def test_batch_norm_replaces_the_bias():
    import keras

    image = keras.Input((4, 4, 3))
    model = keras.Model(image, inception_block(image, InceptionWidths.even(2), batch_norm=True))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(convolutions) == len(norms) == 5
    assert not any(layer.use_bias for layer in convolutions)


def test_what_cannot_be_is_refused():
    import keras

    image = keras.Input((4, 4, 3))
    with pytest.raises(ValueError, match="ratio must be at least 1"):
        squeeze_excite(image, 0)
    with pytest.raises(ValueError, match="axis must be"):
        inception_block(image, axis=0)
