"""The size at which a model with open sizes is run: large enough that no layer is left without values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loading import loaded_model
from converters.checkpoints.sizes import check_inputs, family_size, settle
from converters.errors import UsageError
from converters.signature import BATCH


def loaded(shape: tuple[Any, ...], *layers: Any) -> Any:
    import keras

    return loaded_model(keras.Sequential([keras.Input(shape, name="x"), *layers]))


@pytest.fixture(scope="module")
def made() -> Any:
    import keras

    return keras.layers


def test_a_crop_that_leaves_nothing_at_32(made: Any) -> None:
    model = loaded((None, 4), made.Conv1D(3, 1), made.Cropping1D(20, name="crop"), made.Conv1D(2, 1))
    assert settle(model, {}) == {"x": (BATCH, 64, 4)}
    assert settle(model, {"x": (BATCH, 45, 4)}) == {"x": (BATCH, 45, 4)}
    with pytest.raises(
        UsageError, match=r"--shape x=batch,30,4 cannot be run: at 30 x 4 the layer crop does"
    ) as caught:
        settle(model, {"x": (BATCH, 30, 4)})
    assert caught.value.next_step == "This fits: --shape x=batch,64,4"


def test_arrays_that_leave_nothing_are_told_with_a_size_that_fits(made: Any, tmp_path: Path) -> None:
    model = loaded((None, 4), made.Conv1D(3, 1), made.Cropping1D(20), made.Cropping1D(2), made.Conv1D(2, 1))
    path = tmp_path / "short.npy"
    np.save(path, np.zeros((2, 12, 4), np.float32))
    message = (
        r"The inputs in .*short.npy cannot be run: at 12 x 4 one of the layers cropping1d.*, cropping1d_\d+ \(Crop"
    )
    with pytest.raises(UsageError, match=message) as caught:
        check_inputs(model, path, {})
    assert caught.value.next_step == "Give larger ones: x of 64 x 4 runs."
    np.save(path, np.zeros((2, 64, 4), np.float32))
    check_inputs(model, path, {})
    np.save(path, np.zeros((2, 64, 5), np.float32))
    with pytest.raises(UsageError, match=r"short.npy: the array for x has shape \(2, 64, 5\)"):
        check_inputs(model, path, {})


def test_what_is_empty_inside_is_found_though_the_output_is_whole(made: Any) -> None:
    """A maximum over nothing is a number to TensorFlow."""

    class Inner(made.Layer):  # type: ignore[misc]
        def call(self, values: Any) -> Any:
            return values[:, 40:]

    model = loaded((None, 4), Inner(name="inner"), made.GlobalAveragePooling1D(), made.Dense(2))
    assert settle(model, {}) == {"x": (BATCH, 64, 4)}
    with pytest.raises(UsageError, match="at 40 x 4 the layer inner has nothing left"):
        settle(model, {"x": (BATCH, 40, 4)})


def test_strides_of_images_and_recordings(made: Any) -> None:
    image = loaded((None, None, 3), made.Conv2D(2, 40, strides=4), made.Conv2D(2, 12), made.GlobalMaxPooling2D())
    assert settle(image, {}) == {"x": (BATCH, 128, 128, 3)}
    wave = loaded((None, 1), made.Conv1D(2, 400, strides=160), made.Conv1D(2, 30), made.GlobalMaxPooling1D())
    assert settle(wave, {}) == {"x": (BATCH, 8192, 1)}


def test_a_model_that_takes_no_more_than_it_has_places_for(made: Any) -> None:
    import keras

    class Places(made.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=(20, 4), name="table")

        def call(self, values: Any) -> Any:
            return values + self.table[: keras.ops.shape(values)[1]]

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    assert settle(loaded((None, 4), Places(), made.Dense(2)), {}) == {"x": (BATCH, 16, 4)}


def test_words_that_have_no_place_are_found_by_running(made: Any) -> None:
    """Shape inference lets a slice beyond the end of a table pass, as it stands in KerasHub's positions."""
    import keras

    class Places(made.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=(20, 4), name="table")

        def call(self, values: Any) -> Any:
            length = keras.ops.shape(values)[1]
            return values + keras.ops.broadcast_to(keras.ops.slice(self.table, (0, 0), (length, 4)), (1, length, 4))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    inputs = keras.Input((None,), dtype="int32", name="words")
    model = loaded_model(keras.Model(inputs, Places(name="places")(made.Embedding(9, 4)(inputs))))
    assert settle(model, {}) == {"words": (BATCH, 16)}
    with pytest.raises(UsageError, match=r"at 30 the layer places does not run \(Invalid.*: Expected size\[0\]"):
        settle(model, {"words": (BATCH, 30)})


def test_known_sizes_cost_nothing_and_stay(made: Any) -> None:
    model = loaded((8, 4), made.Dense(2))
    assert settle(model, {}) == {}
    with pytest.raises(UsageError, match="gives 9 where the input has 8"):
        settle(model, {"x": (BATCH, 9, 4)})


@pytest.mark.parametrize(
    ("name", "size"),
    [("mobilenetv2_1.00_224", 224), ("inception_v3", 299), ("efficientnetb7", 600), ("efficientnetv2-b3", 300),
     ("resnet50v2", 224), ("inception_resnet_v2", 299), ("sequential", None)],
)  # fmt: skip
def test_families(name: str, size: int | None) -> None:
    class Model:
        layers = ()

    model: Any = Model()
    model.name = name
    assert family_size(model) == size
    Model.layers = (model,)  # type: ignore[assignment]
    assert family_size(Model()) == size
