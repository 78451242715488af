"""The support matrix and the words that ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from converters.errors import UsageError
from converters.formats import Format, Precision
from converters.options import ConvertOptions
from converters.routes import ROUTES, Target, resolve_targets
from converters.workers.float32 import _WRITERS


def test_every_route_has_a_writer_and_every_writer_a_route() -> None:
    targets = [route.target for route in ROUTES]
    assert len(set(targets)) == len(targets)
    derived = {t for t in targets if t.precision is not Precision.FLOAT32 or t.format is Format.ORT}
    assert {(t.format, t.precision) for t in targets if t not in derived} == set(_WRITERS)
    assert {t.format for t in derived} == {Format.TFLITE, Format.ONNX, Format.ORT}


def test_targets_come_in_the_order_of_the_table() -> None:
    assert resolve_targets([Format.ONNX, Format.SAVEDMODEL], [Precision.FLOAT32]) == (
        Target(Format.SAVEDMODEL, Precision.FLOAT32),
        Target(Format.ONNX, Precision.FLOAT32),
    )


def targets(fmt: Any, precision: Any) -> Any:
    asked: Any = ConvertOptions(formats=(fmt,), precisions=(precision,))
    return resolve_targets(asked.formats, asked.precisions)


@pytest.mark.parametrize(
    ("fmt", "precision", "message", "hint"),
    [
        ("onxx", "float32", "no format `onxx`", "`onnx`"),
        ("onnx", "flaot32", "no precision", "`float32`"),
        ("onnx", "int16x8", "onnx int16x8", "onnx float32"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest(fmt: str, precision: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        targets(fmt, precision)
    assert hint in caught.value.next_step
