"""Bad calibration sets are caught by name, each with what mends it; good ones pass in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.calibration import Expected, check, random_calibration, read_calibration
from converters.checkpoints.ranges import Range
from converters.errors import RefusedError, UsageError
from converters.signature import Signature, TensorSpec
from converters.user_arrays import UserArrays

Array = np.ndarray[Any, np.dtype[Any]]

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGITS = Signature(
    (TensorSpec("image", ("batch", 8, 8, 1), "float32"),), (TensorSpec("labels", ("batch", 10), "float32"),)
)
PHOTOS = Signature(
    (TensorSpec("image", ("batch", 32, 32, 3), "float32"),), (TensorSpec("labels", ("batch", 10), "float32"),)
)
RAW = Expected({"image": Range(0, 255, "the model's Rescaling layer rescale")})
CENTERED = Expected({"image": Range(-1, 1, "the convention of mobilenetv2 in keras.applications")})


def photos(count: int = 40, seed: int = 0) -> Array:
    """Smooth pictures, brighter in red than in blue as photographs are, values 0..255."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    ramp = np.linspace(0, 1, 32)[None, :, None, None]
    warm = np.array([1.0, 0.85, 0.7])
    picture: Array = (255 * (0.7 * coarse + 0.3 * ramp) * warm).astype(np.float32)
    return picture


def saved(folder: Path, **arrays: Array) -> Path:
    np.savez(folder / "calibration.npz", **arrays)  # type: ignore[arg-type]
    return folder / "calibration.npz"


def names(array: Array, expected: Expected = RAW, labels: Array | None = None) -> set[str]:
    return {finding.name for finding in check(UserArrays({"image": array}, labels), PHOTOS, expected)}


def test_the_shipped_calibration_data_is_good() -> None:
    expected = Expected({"image": Range(0, 16, "the model's Rescaling layer rescale")})
    data = read_calibration(EXAMPLES / "digits_calibration.npz", DIGITS, 64, expected)
    assert data.samples == 64
    assert data.findings == ()
    assert data.notes() == ("Calibrated on 64 samples of digits_calibration.npz.",)


def test_photographs_are_good() -> None:
    assert names(photos()) == set()
    assert names(photos() / 127.5 - 1, CENTERED) == set()


@pytest.mark.parametrize(
    ("array", "expected", "name", "mend"),
    [
        (photos() / 255, RAW, "range", "Multiply it by"),
        (photos(), Expected({"image": Range(0, 1, "the model")}), "range", "divide by about"),
        (photos() - 120, RAW, "centered", "Leave the mean in"),
        ((photos() - 120) / 60, RAW, "centered", "Leave the mean in"),
        (photos() / 255, CENTERED, "centered", "values around 0"),
        (np.full((40, 32, 32, 3), 7, np.float32), RAW, "constant", "real samples"),
    ],
    ids=["scaled-down", "not-scaled", "mean-subtracted", "standardized", "mean-left-in", "constant"],
)
def test_data_that_cannot_be_right_is_refused(
    tmp_path: Path, array: Array, expected: Expected, name: str, mend: str
) -> None:
    with pytest.raises(RefusedError, match=rf"\({name}\)") as caught:
        read_calibration(saved(tmp_path, image=array), PHOTOS, 32, expected)
    assert mend in caught.value.next_step


def test_noise_is_named() -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (40, 32, 32, 3)).astype(np.float32)
    assert names(noise) == {"noise"}


def test_swapped_channels_are_named() -> None:
    assert names(photos()[..., ::-1]) == {"swapped-channels"}
    judged_on = Expected(RAW.ranges, {"image": photos(seed=1)[..., ::-1]})
    assert names(photos()[..., ::-1], judged_on) == set(), "the data that is judged on is taken to be right"
    assert names(photos(), judged_on) == {"swapped-channels"}


def test_a_still_channel_is_named() -> None:
    array = photos()
    array[..., 2] = 0
    assert names(array) == {"constant-channel"}


def test_few_samples_of_one_class_are_named() -> None:
    assert names(photos(8), labels=np.full(8, 3)) == {"few", "one-class"}
    assert names(np.repeat(photos(1), 40, axis=0) + np.arange(40).reshape(-1, 1, 1, 1) * 1e-3) == {"alike"}


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    array = photos()
    array[3, 1, 1, 0] = np.nan
    with pytest.raises(RefusedError, match="not finite"):
        read_calibration(saved(tmp_path, image=array), PHOTOS, 32, RAW)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": photos()[:, :16]}, "has shape"),
        ({"image": photos()[0]}, "has shape"),
        ({"pictures": photos()}, "no array for the input image"),
        ({"image": photos().astype(np.complex64)}, "dtype complex64"),
    ],
    ids=["size", "no-batch", "name", "dtype"],
)
def test_what_does_not_fit_the_signature_is_a_usage_error(
    tmp_path: Path, arrays: dict[str, Array], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_calibration(saved(tmp_path, **arrays), PHOTOS, 32, RAW)


def test_a_fixed_batch_takes_whole_batches_only(tmp_path: Path) -> None:
    fixed = Signature((TensorSpec("image", (16, 32, 32, 3), "float32"),), PHOTOS.outputs)
    with pytest.raises(UsageError, match="batches of 16 alone"):
        read_calibration(saved(tmp_path, image=photos(40)), fixed, 32, RAW)
    data = read_calibration(saved(tmp_path, image=photos(48)), fixed, 20, RAW)
    assert data.samples == 32


def test_samples_are_taken_from_all_over(tmp_path: Path) -> None:
    array = photos(100)
    data = read_calibration(saved(tmp_path, image=array), PHOTOS, 4, RAW)
    assert np.array_equal(data.arrays["image"], array[[0, 33, 66, 99]])


def test_made_up_data_says_that_it_is() -> None:
    data = random_calibration(PHOTOS, 16, RAW, seed=3)
    assert data.arrays["image"].shape == (16, 32, 32, 3)
    assert data.arrays["image"].max() > 200
    assert [finding.name for finding in data.findings] == ["random"]
    assert "random" in data.notes()[0]
    again = random_calibration(PHOTOS, 16, RAW, seed=3)
    assert np.array_equal(again.arrays["image"], data.arrays["image"])


def test_made_up_data_is_drawn_as_what_is_judged() -> None:
    """U(0, 1) and N(0, 1) in turn where nothing tells the range; ids stay ids."""
    unknown = random_calibration(PHOTOS, 16).arrays["image"]
    assert unknown[::2].min() >= 0
    assert unknown[1::2].min() < -2
    signature = Signature((TensorSpec("ids", ("batch", 9), "float32"),), ())
    ids = random_calibration(signature, 8, Expected({"ids": Range(0, 50, "vocabulary", whole=True)})).arrays["ids"]
    assert (ids == np.rint(ids)).all()
    assert ids.max() <= 50
