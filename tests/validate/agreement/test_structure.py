from __future__ import annotations

import pytest

from converters.signature import Signature, TensorSpec
from validate.agreement.structure import compare_structure

IN = TensorSpec("image", ("batch", 8, 8, 3), "float32")
A, B = TensorSpec("a", ("batch", 5), "float32"), TensorSpec("b", ("batch", 5), "float32")
WANTED = Signature((IN,), (A, B))


def problems(candidate: Signature, **options: object) -> list[str]:
    return compare_structure(WANTED, candidate, **options)[0]  # type: ignore[arg-type]


def test_the_same_is_right() -> None:
    assert compare_structure(WANTED, WANTED) == ([], [])


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ((A,), "the output b is missing"),
        ((A, B, TensorSpec("c", ("batch", 5), "float32")), "c is not in the reference"),
        ((B, A), "in the order b, a instead of a, b"),
        ((A, TensorSpec("b", ("batch", 6), "float32")), "has shape (batch, 6) instead of (batch, 5)"),
        ((A, TensorSpec("b", ("batch", 5, 1), "float32")), "has shape"),
        ((A, TensorSpec("b", ("batch", "b_dim1"), "float32")), "has shape"),
        ((A, TensorSpec("b", ("batch", 5), "float16")), "is float16 instead of float32"),
        ((A, TensorSpec("b", (4, 5), "float32")), "has shape (4, 5)"),
    ],
)
def test_each_difference_is_named(outputs: tuple[TensorSpec, ...], text: str) -> None:
    found = problems(Signature((IN,), outputs))
    assert len(found) == 1
    assert text in found[0]


def test_order_says_nothing_where_the_format_has_none() -> None:
    assert problems(Signature((IN,), (B, A)), ordered=False) == []


def test_a_fixed_batch_is_noted_when_it_is_one_or_allowed() -> None:
    def fixed(size: int) -> Signature:
        inputs = (TensorSpec("image", (size, 8, 8, 3), "float32"),)
        return Signature(inputs, tuple(TensorSpec(n, (size, 5), "float32") for n in "ab"))

    assert compare_structure(WANTED, fixed(1)) == ([], ["the batch is fixed at 1"])
    assert len(problems(fixed(4))) == 3
    assert problems(fixed(4), fixed_batch=4) == []


def test_unknown_dimensions_match_by_being_unknown_not_by_name() -> None:
    one = Signature((TensorSpec("x", ("batch", "x_dim1"), "float32"),), ())
    two = Signature((TensorSpec("x", ("batch", "time"), "float32"),), ())
    assert compare_structure(one, two)[0] == []


def test_a_file_may_state_a_size_of_an_output_that_keras_does_not_know_though_it_knows_every_input() -> None:
    def model(size: int | str, width: int | str) -> Signature:
        outputs = (TensorSpec("y", ("batch", size, 2), "float32"),)
        return Signature((TensorSpec("x", ("batch", width, 3), "float32"),), outputs)

    assert compare_structure(model("y_dim1", 12), model(12, 12)) == ([], [])
    assert compare_structure(model("y_dim1", "x_dim1"), model(12, "x_dim1"))[0]
    assert compare_structure(model("y_dim1", "x_dim1"), model(12, "x_dim1"), theirs=True) == ([], [])
    assert compare_structure(model("y_dim1", 12), Signature(model(12, 12).inputs, (A,)))[0]


def test_another_converters_file_may_leave_the_sizes_of_an_output_open() -> None:
    left_open = Signature((IN,), (A, TensorSpec("b", ("batch", "b_dim1"), "float32")))
    assert compare_structure(WANTED, left_open)[0]
    assert compare_structure(WANTED, left_open, theirs=True) == ([], ["the output b leaves sizes open"])
    other = Signature((IN,), (A, TensorSpec("b", ("batch", "b_dim1", 2), "float32")))
    assert compare_structure(WANTED, other, theirs=True)[0]
