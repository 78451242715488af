"""Which of a file's ends is which of the checkpoint's, where its makers named them otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from converters.arrays import Array, Arrays
from converters.errors import UsageError
from converters.signature import BATCH, Signature, TensorSpec
from validate.agreement.worker.mapping import Trial, fits, renamed
from validate.agreement.worker.taps import Tapped
from validate.runtimes.base import Runtime

FLOAT = "float32"
IMAGE, AGE = TensorSpec("image", (BATCH, 8, 8, 3), FLOAT), TensorSpec("age", (BATCH, 2), FLOAT)
ONE, TWO, WIDE = (TensorSpec(n, (BATCH, k), FLOAT) for n, k in (("one", 4), ("two", 4), ("wide", 9)))
OURS = Signature((IMAGE, AGE), (ONE, TWO, WIDE))

RNG = np.random.default_rng(0)
TRUTHS = {"one": RNG.random((4, 4)), "two": RNG.random((4, 4)) * 1e3, "wide": RNG.random((4, 9))}
FEEDS = {"image": RNG.random((4, 8, 8, 3)), "age": RNG.random((4, 2))}
TRIAL = Trial(FEEDS, TRUTHS)


class File(Runtime):
    """Gives what it was made with, and keeps what it was fed."""

    device, ordered, notes = "cpu", True, ()

    def __init__(self, signature: Signature, answers: Arrays) -> None:
        self.signature, self.answers = signature, answers
        self.fed: set[str] = set()

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        self.fed = set(inputs)
        return self.answers

    def refuses(self, feeds: Arrays) -> bool:
        return set(feeds) == {"x", "y"}


class Untapped(Tapped):
    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.kinds = runtime, {"b": "softmax"}

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        outputs = self.runtime.run(inputs)
        return outputs, {"b": outputs["b"]}


def spec(like: TensorSpec, name: str) -> TensorSpec:
    return TensorSpec(name, like.shape, like.dtype)


def theirs() -> File:
    """Outputs in another order, under names that say nothing: `b` is `one`, `a` is `two`, each a little off."""
    file = Signature((spec(AGE, "y"), spec(IMAGE, "x")), (spec(TWO, "a"), spec(WIDE, "c"), spec(ONE, "b")))
    return File(file, {"a": TRUTHS["two"] + 0.1, "b": TRUTHS["one"] + 1e-3, "c": TRUTHS["wide"]})


def test_ends_are_found_by_shape_and_value() -> None:
    file = theirs()
    tapped, names, notes = renamed(Untapped(file), OURS, {}, TRIAL)
    assert names == {"x": "image", "y": "age", "c": "wide", "b": "one", "a": "two"}
    assert tapped.runtime.signature == OURS
    assert tapped.kinds == {"one": "softmax"}
    outputs, logits = tapped.run(FEEDS)
    assert file.fed == {"x", "y"}
    np.testing.assert_array_equal(outputs["two"], file.answers["a"])
    np.testing.assert_array_equal(logits["one"], file.answers["b"])
    assert tapped.runtime.refuses(FEEDS)
    assert "b is one (by value)" in notes[0]
    assert "c is wide (by shape)" in notes[0]


def test_the_user_has_the_last_word() -> None:
    _, names, notes = renamed(Untapped(theirs()), OURS, {"a": "one", "b": "two"}, TRIAL)
    assert (names["a"], names["b"]) == ("one", "two")
    assert "a is one (by --map)" in notes[0]


@pytest.mark.parametrize(("given", "words"), [({"a": "image"}, "no output image"), ({"x": "one"}, "no input one")])
def test_a_name_of_the_other_side_is_refused(given: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        renamed(Untapped(theirs()), OURS, given, TRIAL)


def test_the_same_names_are_left_alone() -> None:
    file = File(OURS, {**TRUTHS, "b": TRUTHS["one"]})
    untapped = Untapped(file)
    assert renamed(untapped, OURS, {}, TRIAL) == (untapped, {}, [])


def test_the_same_names_in_another_order_are_told() -> None:
    tapped, names, notes = renamed(Untapped(File(Signature((AGE, IMAGE), (TWO, ONE, WIDE)), {})), OURS, {}, TRIAL)
    assert (tapped.runtime.signature, names) == (OURS, {})
    assert notes == ["Its order is not the reference's: its inputs are age, image; its outputs two, one, wide."]


def test_inputs_of_one_shape_are_taken_in_order() -> None:
    left, right = TensorSpec("left", (BATCH, 2), FLOAT), TensorSpec("right", (BATCH, 2), FLOAT)
    ours = Signature((left, right), (WIDE,))
    file = File(Signature((spec(left, "b"), spec(left, "a")), (WIDE,)), {})
    _, names, notes = renamed(Untapped(file), ours, {}, Trial({}, {}))
    assert names == {"b": "left", "a": "right"}
    assert "a is right (by order)" in notes[0]


@pytest.mark.parametrize(
    ("shape", "dtype", "alike"),
    [
        ((BATCH, 8, 8, 3), FLOAT, True),
        ((1, 8, 8, 3), FLOAT, True),
        ((BATCH, "h", "w", 3), FLOAT, True),
        ((BATCH, 8, 8, 3), "uint8", True),
        ((BATCH, 3, 8, 8), FLOAT, False),
        ((BATCH, 8, 8), FLOAT, False),
        ((BATCH, 8, 8, 3), "int64", False),
    ],
)
def test_what_may_be_the_image(shape: Any, dtype: str, alike: bool) -> None:
    assert fits(IMAGE, TensorSpec("x", shape, dtype)) is alike
