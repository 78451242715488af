"""Float32's own noise: what its members do, and that what they touch is as it was afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.checkpoints.loading import loaded_model
from validate.agreement.arrays import path_of
from validate.agreement.worker.ensemble import Subject, measure_noise, moved
from validate.agreement.worker.oracle import float64_clone, float64_default
from validate.agreement.worker.sequential_sums import mean, product, sequential_sums
from validate.agreement.worker.taps.function import TappedFunction

RNG = np.random.default_rng(0)


@given(seed=st.integers(0, 999), scale=st.sampled_from([1e-40, 1e-3, 1.0, 1e30]))
def test_values_move_by_one_unit_in_the_last_place_at_most(seed: int, scale: float) -> None:
    values = (np.random.default_rng(seed).standard_normal((5, 7)) * scale).astype(np.float32)
    values[0, :4] = 0.0, np.inf, -np.inf, np.nan
    result = moved(values, np.random.Generator(np.random.SFC64(seed)))
    np.testing.assert_array_equal(result[0, :4], values[0, :4])
    steps = result.view(np.int32).astype(np.int64) - values.view(np.int32)
    assert set(np.unique(steps)) <= {-1, 0, 1}
    assert np.count_nonzero(steps) > 8
    far = moved(values, np.random.Generator(np.random.SFC64(seed)), 64)
    assert set(np.unique(far.view(np.int32).astype(np.int64) - values.view(np.int32))) <= {-64, 0, 64}
    whole = np.arange(6)
    assert moved(whole, np.random.Generator(np.random.SFC64(seed))) is whole


def test_a_scalar_moves_and_stays_one() -> None:
    """Attention has such a weight, its scale."""
    scalar, rng = np.array(1, np.float32), np.random.Generator(np.random.SFC64(0))
    found = [moved(scalar, rng) for _ in range(20)]
    assert {value.shape for value in found} == {()}
    assert {float(value) for value in found} == {1 - 2.0**-24, 1.0, 1 + 2.0**-23}


@given(
    shapes=st.sampled_from([((3, 5), (5, 2)), ((2, 3, 5), (2, 5, 4)), ((2, 1, 3, 5), (4, 5, 2)), ((1, 300), (300, 1))]),
    seed=st.integers(0, 99),
)
def test_products_are_added_one_after_the_other(shapes: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    total = np.zeros(np.matmul(a, b).shape, np.float32)
    for k in range(a.shape[-1]):
        total = total + a[..., :, k, None] * b[..., None, k, :]
    np.testing.assert_array_equal(product(a, b), total)


@pytest.mark.parametrize(("axes", "keep_dims"), [([1, 2], False), ([1, 2], True), ([-1], False), ([0], True)])
def test_means_are_added_one_after_the_other(axes: list[int], keep_dims: bool) -> None:
    values = RNG.standard_normal((2, 9, 7, 3)).astype(np.float32)
    got = mean(values, np.array(axes), keep_dims)
    wanted = values.astype(np.float64).mean(axis=tuple(axes), keepdims=keep_dims)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    equal = np.full((1, 128, 128, 1), 0.1, np.float32)  # a row of equal terms, all of whose roundings point one way
    in_a_row = mean(equal, np.array([1, 2]), False).item()
    assert abs(in_a_row - equal[0, 0, 0, 0]) > 100 * abs(float(equal.mean(dtype=np.float64)) - equal[0, 0, 0, 0]) + 1e-5


@pytest.fixture(scope="module")
def model() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((4, 22), name="x"), layers.LayerNormalization(epsilon=1e-6), layers.Flatten(), layers.Dense(1)]
    )


def test_sums_are_sequential_within_the_block_alone(model: Any) -> None:
    loaded = loaded_model(model)
    feeds = {"x": RNG.uniform(0, 1, (4, 4, 22)).astype(np.float32)}
    with sequential_sums():
        sequential = TappedFunction(loaded.function, loaded.signature)
    plain = TappedFunction(loaded.function, loaded.signature)
    (in_a_row,), (in_blocks,) = (list(tapped.run(feeds)[0].values()) for tapped in (sequential, plain))
    assert (in_a_row != in_blocks).any()
    np.testing.assert_allclose(in_a_row, in_blocks, atol=1e-5)
    (again,) = TappedFunction(loaded.function, loaded.signature).run(feeds)[0].values()
    np.testing.assert_array_equal(again, in_blocks)


def test_a_sample_that_float32_cannot_tell_has_the_noise_of_its_own(model: Any, tmp_path: Path) -> None:
    """Rows of one value before a LayerNormalization are nothing but rounding errors behind it (0.77 has them)."""
    loaded = loaded_model(model)
    feeds = {"x": RNG.uniform(0, 1, (4, 4, 22)).astype(np.float32)}
    feeds["x"][2] = 0.77
    with float64_default():
        clone = loaded_model(float64_clone(model))
        (exact,) = TappedFunction(clone.function, clone.signature).run(feeds)[0].values()
    np.save(path_of(tmp_path, "out", 0), exact)
    before = [np.array(weight.numpy()) for weight in model.weights]
    plain = TappedFunction(loaded.function, loaded.signature)
    measure_noise(Subject(plain.run, model, loaded.signature, 4), feeds, tmp_path)
    noise = np.load(path_of(tmp_path, "noise_out", 0))
    assert noise.shape == (4,)
    assert noise[2] > 30 * np.delete(noise, 2).max()
    assert np.delete(noise, 2).max() < 1e-5
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_what_keras_cannot_put_into_a_graph_runs_eagerly() -> None:
    import keras

    x = keras.Input((None, None, 3), name="x")
    pooled = keras.layers.AdaptiveAveragePooling2D((1, 2))(x)
    loaded = loaded_model(keras.Model(x, keras.layers.Softmax()(pooled)))
    function = TappedFunction(loaded.function, loaded.signature, watched=True)
    values = RNG.standard_normal((2, 4, 6, 3)).astype(np.float32)
    (outputs, *_), logits = (list(found.values()) for found in function.run({"x": values}))
    expected = np.exp(values.reshape(2, 1, 4, 2, 3, 3).mean((2, 4)))
    np.testing.assert_allclose(outputs, expected / expected.sum(-1, keepdims=True), rtol=1e-5)
    assert function.is_eager
    assert logits == []


def test_classes_that_rounding_may_turn_are_undecided_and_no_others(tmp_path: Path) -> None:
    """The argmax of two classes whose weights are alike to 2 ** -21, beside one of two that are not."""
    import keras

    x = keras.Input((8,), name="x")
    kernels = RNG.standard_normal((2, 8, 2)).astype(np.float32)
    kernels[0, :, 1] = kernels[0, :, 0] * (1 + np.float32(2**-21) * RNG.choice([-1, 1], 8)).astype(np.float32)
    scores = [keras.layers.Dense(2, use_bias=False)(x) for _ in kernels]
    model = keras.Model(x, [keras.ops.argmax(score, -1) for score in scores])
    model.set_weights(list(kernels))
    loaded = loaded_model(model)
    feeds = {"x": RNG.uniform(-1, 1, (50, 8)).astype(np.float32)}
    with float64_default():
        clone = loaded_model(float64_clone(model))
        oracle = TappedFunction(clone.function, clone.signature)
    assert oracle.narrowing is None
    for k, values in enumerate(oracle.run(feeds)[0].values()):
        np.save(path_of(tmp_path, "out", k), values)
    run = TappedFunction(loaded.function, loaded.signature).run
    measure_noise(Subject(run, model, loaded.signature, 16), feeds, tmp_path)
    shares = [float(np.load(path_of(tmp_path, "undecided_out", k)).mean()) for k in range(2)]
    assert shares == [1.0, 0.0]
    assert not path_of(tmp_path, "noise_out", 0).exists()
