"""Sizes that a signature leaves open: what the user may say of them, and what is tried without a word."""

from __future__ import annotations

from typing import Any

import pytest

from converters.common import Common
from converters.errors import UsageError
from converters.shapes import check_shapes, filled, shapes_text, sizes_to_try, timed_batch
from converters.signature import BATCH, Signature, TensorSpec
from exporter.cli.types import type_of

IMAGES = Signature(
    (TensorSpec("image", (BATCH, "image_dim1", "image_dim2", 3), "float32"), TensorSpec("age", (BATCH, 1), "float32")),
    (),
)


@pytest.mark.parametrize(
    ("text", "shape"),
    [("image=batch,320,320,3", (BATCH, 320, 320, 3)), ("a=b=4, 96,96", (4, 96, 96)), ("x=Batch,7", (BATCH, 7))],
)
def test_words_of_the_command_line(text: str, shape: tuple[Any, ...]) -> None:
    assert type_of(Common, "shapes").convert(text, None, None) == {text.rpartition("=")[0]: shape}


@pytest.mark.parametrize("text", ["image", "=1,2", "image=", "image=batch,x,3", "image=1,batch", "image=1,0", "a=1.5"])
def test_words_that_are_no_shape(text: str) -> None:
    with pytest.raises(UsageError, match="is not NAME=B,H,W,C"):
        type_of(Common, "shapes").convert(text, None, None)


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({"imag": (BATCH, 9, 9, 3)}, "no input `imag`"),
        ({"image": (BATCH, 9, 3)}, "has 3 sizes, and the input has 4"),
        ({"image": (BATCH, 9, 9, 4)}, "gives 4 where the input has 3"),
        ({"age": (BATCH, 2)}, "gives 2 where the input has 1"),
    ],
)
def test_shapes_that_do_not_fit(shapes: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        check_shapes(IMAGES, shapes)


def test_only_unknown_sizes_are_filled() -> None:
    assert filled(IMAGES, {}, 64) == {"image": (BATCH, 64, 64, 3)}
    assert filled(IMAGES, {"image": (2, 48, 80, 3)}, 64) == {"image": (BATCH, 48, 80, 3)}
    assert shapes_text(filled(IMAGES, {}, 64)) == "image 64 x 64 x 3"


def test_a_number_for_the_batch_is_what_is_timed() -> None:
    assert timed_batch({"image": (4, 9, 9, 3), "age": (BATCH, 1)}) == 4
    assert timed_batch({"image": (BATCH, 9, 9, 3)}) is None
    with pytest.raises(UsageError, match="the batches 2, 4"):
        timed_batch({"image": (4, 9, 9, 3), "age": (2, 1)})


def test_long_sizes_are_tried_for_series_alone() -> None:
    assert max(sizes_to_try([(BATCH, "t", 1)])) == 65536
    assert max(sizes_to_try([spec.shape for spec in IMAGES.inputs])) == 2048
