"""The support matrix and the words that ask for it."""

from __future__ import annotations

import pytest

from converters.conversion import _WRITERS
from converters.errors import UsageError
from converters.formats import Format, Precision
from converters.routes import ROUTES, Target, resolve_targets


def test_every_route_has_a_writer_and_every_writer_a_route() -> None:
    targets = [route.target for route in ROUTES]
    assert len(set(targets)) == len(targets)
    derived = {t for t in targets if t.precision is not Precision.FLOAT32 or t.format is Format.ORT}
    assert {(t.format, t.precision) for t in targets if t not in derived} == set(_WRITERS)
    assert {t.format for t in derived} == {Format.TFLITE, Format.ONNX, Format.ORT}


def test_targets_come_in_the_order_of_the_table() -> None:
    assert resolve_targets(["onnx", "savedmodel"], ["float32"]) == (
        Target(Format.SAVEDMODEL, Precision.FLOAT32),
        Target(Format.ONNX, Precision.FLOAT32),
    )


@pytest.mark.parametrize(
    ("formats", "precisions", "message", "hint"),
    [
        (["onxx"], ["float32"], "no format `onxx`", "`onnx`"),
        (["onnx"], ["flaot32"], "no precision", "`float32`"),
        (["onnx"], ["int16x8"], "onnx int16x8", "onnx float32"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest(
    formats: list[str], precisions: list[str], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resolve_targets(formats, precisions)
    assert hint in caught.value.next_step
