from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from converters.errors import RefusedError, StepError, UsageError
from converters.signature import Signature, TensorSpec
from validate.inputs import InputOptions, Range, generate, read, shapes_that_run, untold

IMAGE = TensorSpec("image", ("batch", 4, 6, 3), "float32")
WORD = TensorSpec("word", ("batch", 5), "int32")
FLAG = TensorSpec("flag", ("batch",), "bool")


def signature(*specs: TensorSpec) -> Signature:
    return Signature(specs, ())


def test_the_same_seed_gives_the_same_values_in_any_order() -> None:
    first = generate(signature(IMAGE, WORD, FLAG), InputOptions(seed=3)).arrays
    second = generate(signature(FLAG, WORD, IMAGE), InputOptions(seed=3)).arrays
    other = generate(signature(IMAGE), InputOptions(seed=4)).arrays
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert (first["image"] != other["image"]).mean() > 0.9


@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-2, 1e3), samples=st.integers(1, 9))
def test_floats_stay_in_the_range_and_samples_differ(low: float, width: float, samples: int) -> None:
    made = generate(signature(IMAGE), InputOptions(samples, value_range=(low, low + width)))
    values = made.arrays["image"]
    assert values.shape == (samples, 4, 6, 3)
    assert values.dtype == np.float32
    slack = 1e-6 * max(abs(low), width)
    assert values.min() >= low - slack
    assert values.max() <= low + width + slack
    assert made.ranges["image"].source == "--input-range"
    assert len(np.unique(values.reshape(samples, -1), axis=0)) == samples


def test_every_first_sample_covers_the_range_and_every_second_a_part_of_it() -> None:
    spec = TensorSpec("x", ("batch", 4000), "float32")
    made = generate(signature(spec), InputOptions(10, hints={"x": Range(0, 255, "hint")})).arrays["x"]
    spans = np.ptp(made, axis=1)
    assert (spans[::2] > 250).all()
    assert (spans[1::2] < 250).all()


def test_who_tells_a_range_is_known_and_a_range_that_nobody_tells_is_said_to_be_assumed(tmp_path: Path) -> None:
    other, pixels = TensorSpec("other", ("batch", 2), "float32"), TensorSpec("pixels", ("batch", 4), "uint8")
    kinds = signature(IMAGE, other, WORD, FLAG, pixels)
    hints = {"image": Range(0, 255, "the layer", origin="layer")}
    ranges = generate(kinds, InputOptions(hints=hints)).ranges
    origins = {name: limits.origin for name, limits in ranges.items()}
    assert origins == {"image": "layer", "other": "assumed", "word": "assumed", "flag": "dtype", "pixels": "dtype"}
    assert str(ranges["image"]) == "0 to 255 (the layer)"
    assert str(ranges["other"]) == "0 to 1, assumed (U(0,1) and N(0,1) in turn)"
    assert Range.from_json(ranges["other"].to_json()) == ranges["other"]
    for_floats, for_ids = untold(ranges, kinds)
    assert "input other" in for_floats
    assert "--input-range" in for_floats
    assert "input word" in for_ids
    assert "--inputs" in for_ids
    assert "--input-range" not in for_ids, "whole numbers are not drawn from it"
    told = generate(kinds, InputOptions(value_range=(0, 1), hints=hints)).ranges
    assert told["image"].origin == told["other"].origin == "option"
    np.savez(tmp_path / "given.npz", image=np.ones((2, 4, 6, 3), np.float32))
    assert read(tmp_path / "given.npz", signature(IMAGE)).ranges["image"].origin == "data"


def test_without_a_hint_half_is_uniform_and_half_normal() -> None:
    values = generate(signature(IMAGE), InputOptions(40)).arrays["image"]
    assert values[::2].min() >= 0
    assert values[::2].max() <= 1
    assert values[1::2].min() < -1
    assert abs(values[1::2].mean()) < 0.1


def test_integers_draw_from_the_vocabulary_and_booleans_are_both() -> None:
    made = generate(signature(WORD, FLAG), InputOptions(200, hints={"word": Range(0, 19, "Embedding")})).arrays
    assert set(np.unique(made["word"])) == set(range(20))
    assert made["word"].dtype == np.int32
    assert 0.3 < made["flag"].mean() < 0.7


SOUND = TensorSpec("sound", ("batch", "sound_dim1", 2), "float32")


def test_unknown_dimensions_get_the_size_that_was_settled() -> None:
    drawn = generate(signature(SOUND), InputOptions(2, shapes={"sound": ("batch", 48, 2)}))
    assert drawn.arrays["sound"].shape == (2, 48, 2)


def test_a_file_is_run_at_the_first_size_that_leaves_its_outputs_something() -> None:
    def run(shapes: Any) -> Any:
        if shapes["sound"][1] < 64:
            raise StepError("too short", next_step="")
        return {"y": np.zeros((1, max(0, shapes["sound"][1] - 100)))}

    assert shapes_that_run(signature(SOUND), {}, run) == {"sound": ("batch", 128, 2)}
    assert shapes_that_run(signature(SOUND), {"sound": ("batch", 70, 2)}, run) == {"sound": ("batch", 70, 2)}
    with pytest.raises(UsageError, match="No size runs for sound: its output y is empty") as caught:
        shapes_that_run(signature(SOUND), {}, lambda _shapes: {"y": np.zeros((1, 0))})
    assert "--shape sound=batch,64,2" in caught.value.next_step


def test_images_of_several_sizes_need_a_word(tmp_path: Path) -> None:
    spec = TensorSpec("image", ("batch", "image_dim1", "image_dim2", 3), "uint8")
    for k, size in enumerate(((20, 10), (30, 10))):
        Image.new("RGB", size).save(tmp_path / f"{k}.png")
    with pytest.raises(UsageError, match="have 2 sizes"):
        read(tmp_path, signature(spec))
    assert read(tmp_path, signature(spec), {"image": ("batch", 8, 9, 3)}).arrays["image"].shape == (2, 8, 9, 3)
    (tmp_path / "1.png").unlink()
    assert read(tmp_path, signature(spec)).arrays["image"].shape == (1, 10, 20, 3)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(UsageError):
        generate(signature(IMAGE), InputOptions(0))
    with pytest.raises(UsageError):
        generate(signature(IMAGE), InputOptions(value_range=(1.0, 1.0)))


def test_npz_by_name_with_labels_and_extra_keys(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, image=np.ones((3, 4, 6, 3), np.uint8), labels=np.arange(3), extra=np.zeros(1))
    found = read(path, signature(IMAGE))
    assert found.arrays["image"].dtype == np.float32
    np.testing.assert_array_equal(found.labels, [0, 1, 2])
    assert any("extra" in note for note in found.notes)
    assert any("converted to float32" in note for note in found.notes)
    assert found.samples == 3


def test_npy_for_a_single_input_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((2, 4, 6, 3), np.float64))
    assert read(path, signature(IMAGE)).arrays["image"].shape == (2, 4, 6, 3)
    with pytest.raises(UsageError, match="the model has 2"):
        read(path, signature(IMAGE, WORD))


@pytest.mark.parametrize(
    ("arrays", "error", "text"),
    [
        ({"picture": np.ones((2, 4, 6, 3))}, UsageError, "no array for the input image"),
        ({"image": np.ones((2, 4, 7, 3))}, UsageError, "has shape"),
        ({"image": np.ones((4, 6, 3))}, UsageError, "has shape"),
        ({"image": np.ones((0, 4, 6, 3))}, RefusedError, "is empty"),
        ({"image": np.full((2, 4, 6, 3), np.nan)}, RefusedError, "not finite"),
        ({"image": np.full((2, 4, 6, 3), 1e300)}, RefusedError, "not finite"),
        ({"image": np.ones((2, 4, 6, 3), complex)}, UsageError, "has dtype complex128"),
        ({"image": np.ones((2, 4, 6, 3)), "labels": np.arange(3)}, UsageError, "different numbers of samples"),
    ],
)
def test_arrays_that_do_not_fit(
    tmp_path: Path, arrays: dict[str, np.ndarray], error: type[Exception], text: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(error, match=text):
        read(tmp_path / "x.npz", signature(IMAGE))


def test_integers_are_never_cut(tmp_path: Path) -> None:
    np.savez(tmp_path / "big.npz", word=np.full((2, 5), 2**40))
    np.savez(tmp_path / "float.npz", word=np.full((2, 5), 1.5))
    np.savez(tmp_path / "good.npz", word=np.full((2, 5), 7, np.int64))
    for name in ("big", "float"):
        with pytest.raises(UsageError, match="int32"):
            read(tmp_path / f"{name}.npz", signature(WORD))
    assert read(tmp_path / "good.npz", signature(WORD)).arrays["word"].dtype == np.int32


class Trap:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.path, "ran")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([Trap(tmp_path / "ran")], dtype=object), allow_pickle=True)
    with pytest.raises(RefusedError, match="Python objects"):
        read(tmp_path / "x.npy", signature(IMAGE))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"\0" * 40, b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(RefusedError):
        read(path, signature(IMAGE))


def test_paths_that_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2")
    for path in (tmp_path / "none.npz", tmp_path / "x.csv", tmp_path):
        with pytest.raises(UsageError):
            read(path, signature(IMAGE))


def test_a_folder_of_images(tmp_path: Path) -> None:
    for k, colour in enumerate(((255, 0, 0), (0, 0, 255))):
        Image.new("RGB", (12, 8), colour).save(tmp_path / f"{k}.png")
    (tmp_path / "notes.txt").write_text("no image")
    values = read(tmp_path, signature(IMAGE)).arrays["image"]
    assert values.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(values[0, 0, 0], [255, 0, 0])
    np.testing.assert_array_equal(values[1, 0, 0], [0, 0, 255])
    gray = read(tmp_path, signature(TensorSpec("image", ("batch", 8, 8, 1), "float32"))).arrays["image"]
    assert gray.shape == (2, 8, 8, 1)
    (tmp_path / "bad.png").write_bytes(b"no png")
    with pytest.raises(RefusedError, match=r"bad\.png"):
        read(tmp_path, signature(IMAGE))
