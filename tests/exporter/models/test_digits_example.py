"""The shipped example: real scans, held out, and a checkpoint that reads them."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"


def _script():
    spec = importlib.util.spec_from_file_location("train_digits", ROOT / "scripts" / "train_digits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_checkpoint_reads_the_held_out_scans():
    import keras

    from exporter.models.table import ARCHITECTURES

    path = EXAMPLES / "digits_se_inception.keras"
    assert path.stat().st_size < 1_000_000
    model = keras.saving.load_model(path)
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        assert "optimizer" not in weights
    assert model.count_params() == ARCHITECTURES["digits_se_inception"].parameters
    with np.load(EXAMPLES / "digits.npz") as held:
        accuracy = np.mean(model.predict(held["image"], verbose=0).argmax(-1) == held["labels"])
    assert accuracy >= 0.975


def test_the_files_are_the_data_set_and_do_not_overlap():
    (train, _), (held, labels) = _script().load_digits()
    with np.load(EXAMPLES / "digits.npz") as stored, np.load(EXAMPLES / "digits_calibration.npz") as calibration:
        assert stored["image"].dtype == np.float32
        np.testing.assert_array_equal(stored["image"], held)
        np.testing.assert_array_equal(stored["labels"], labels)
        assert calibration["image"].shape == (128, 8, 8, 1)
        known = {image.tobytes() for image in train}
        assert all(image.tobytes() in known for image in calibration["image"])
    assert (len(train), len(held)) == (1297, 500)


def test_shifts_move_whole_images_by_at_most_a_pixel():
    images = np.zeros((200, 8, 8, 1), np.float32)
    images[:, 4, 4] = 1
    moved = _script().shifted(images, np.random.default_rng(0))
    assert moved.shape == images.shape
    places = np.argwhere(moved[..., 0])
    assert len(places) == 200
    assert {tuple(place) for place in places[:, 1:]} == {(r, c) for r in (3, 4, 5) for c in (3, 4, 5)}
