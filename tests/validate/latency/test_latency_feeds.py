"""Inputs and answers of a timing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.checkpoints.texts import Texts
from converters.errors import RefusedError, StepError, UsageError
from converters.formats import Precision
from converters.signature import BATCH, TEXT, Signature, TensorSpec
from validate.latency import feeds as module
from validate.latency.feeds import DISTINCT, Golden, check_answers, make_feeds


def signature(*specs: TensorSpec) -> Signature:
    return Signature(specs, (TensorSpec("y", (BATCH, 2), "float32"),))


X = signature(TensorSpec("x", (BATCH, 3), "float32"))


def golden(samples: int) -> Golden:
    x = np.random.default_rng(1).uniform(-7, 9, (samples, 3)).astype(np.float32)
    return Golden({"x": x}, {"y": x[:, :2]})


def test_made_up_inputs_are_distinct_typed_and_seeded() -> None:
    specs = [
        TensorSpec("f", (BATCH, 4, "f_dim2"), "float16"),
        TensorSpec("b", (BATCH, 64), "uint8"),
        TensorSpec("i", (BATCH, 64), "int64"),
        TensorSpec("t", (BATCH, 64), "bool"),
    ]
    shapes = {"f": (BATCH, 4, 32)}
    made = make_feeds(signature(*specs), batch=2, seed=3, golden=None, shapes=shapes)
    assert len(made.inputs) == DISTINCT
    assert made.expected == ()
    assert len({feed["f"].tobytes() for feed in made.inputs}) == DISTINCT
    first = made.inputs[0]
    assert [first[s.name].dtype for s in specs] == [s.dtype for s in specs]
    assert first["f"].shape == (2, 4, 32)
    assert first["b"].max() > 100
    assert set(np.unique(first["i"])) == {0, 1}
    again = make_feeds(signature(*specs), batch=2, seed=3, golden=None, shapes=shapes)
    assert all(np.array_equal(a[k], b[k]) for a, b in zip(made.inputs, again.inputs, strict=True) for k in a)


@given(st.integers(1, 40), st.integers(1, 20))
def test_golden_feeds_use_every_sample_and_none_twice(samples: int, batch: int) -> None:
    g = golden(samples)
    made = make_feeds(X, batch, 0, g)
    assert len(made.inputs) == len(made.expected) > 0
    assert all(feed["x"].shape == (batch, 3) and feed["x"].flags.c_contiguous for feed in made.inputs)
    used = np.concatenate([feed["x"] for feed in made.inputs])
    assert {row.tobytes() for row in g.inputs["x"]} == {row.tobytes() for row in used}  # and no other
    assert len({feed["x"].tobytes() for feed in made.inputs}) == len(made.inputs)
    for feed, expected in zip(made.inputs, made.expected, strict=True):
        assert np.array_equal(feed["x"][:, :2], expected["y"])


def test_golden_inputs_of_another_size_are_left_out_whole() -> None:
    open_size = signature(TensorSpec("x", (BATCH, "x_dim1"), "float32"))
    assert {feed["x"].shape for feed in make_feeds(open_size, 1, 0, golden(4), {"x": (BATCH, 3)}).inputs} == {(1, 3)}
    made = make_feeds(open_size, 1, 0, golden(4), {"x": (BATCH, 5)})
    assert {feed["x"].shape for feed in made.inputs} == {(1, 5)}
    assert made.expected == ()


def test_a_fixed_batch_takes_no_other() -> None:
    fixed = signature(TensorSpec("x", (2, 3), "float32"))
    assert make_feeds(fixed, 2, 0, golden(4)).expected
    with pytest.raises(UsageError, match=r"fixed to a batch of 2 .* a batch of 4 cannot") as caught:
        make_feeds(fixed, 4, 0, golden(4))
    assert "--batch 2" in caught.value.next_step


def test_integer_inputs_of_an_artifact_of_its_own_are_made_up_and_unchecked() -> None:
    made = make_feeds(signature(TensorSpec("x", (BATCH, 3), "int8")), 1, 0, golden(4))
    assert made.expected == ()
    assert made.inputs[0]["x"].dtype == np.int8


@pytest.mark.parametrize(
    ("spec", "cause"),
    [(TensorSpec("z", (BATCH, 3), "float32"), "no input z"), (TensorSpec("x", (BATCH, 4), "float32"), "shape")],
)
def test_golden_vectors_of_another_model_are_refused(spec: TensorSpec, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        make_feeds(signature(spec), 1, 0, golden(4))


def test_texts_are_made_of_the_words_of_the_file() -> None:
    texts = {"words": Texts(("cat", "dog"), None, "a table", others=False, empty=False)}
    made = make_feeds(signature(TensorSpec("words", (BATCH,), TEXT)), 2, 0, None, texts=texts)
    assert {word for feed in made.inputs for word in feed["words"].tolist()} == {b"cat", b"dog"}


def test_other_texts_than_the_golden_ones_are_a_wrong_answer() -> None:
    golden_words = {"word": np.array([b"cat", b"dog"])}
    check_answers(golden_words, {"word": np.array([b"cat", b"dog"])}, None)
    with pytest.raises(StepError, match="other texts"):
        check_answers(golden_words, {"word": np.array([b"cat", b"cow"])}, None)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_damaged_golden_files_are_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "golden.npz"
    if content is None:
        np.savez(file, other=np.zeros(3))
    else:
        file.write_bytes(content)
    with pytest.raises(RefusedError, match=r"golden\.npz"):
        Golden.read(file)


def test_answers_are_checked_grossly() -> None:
    wanted = {"y": np.array([[1.0, -2.0]], np.float32)}
    check_answers(wanted, {"y": np.array([[1.004, -2.0]], np.float32)}, Precision.FLOAT32)
    check_answers(wanted, {"y": np.array([[1.3, -1.9]], np.float32)}, Precision.INT8)
    check_answers(wanted, {"y": np.array([[100, 3]], np.int8)}, Precision.INT8)  # an artifact with integer outputs


def test_what_the_verdict_allows_is_no_wrong_answer() -> None:
    """Of one-hot inputs agreement may allow more than a hundredth of the largest value."""
    wanted, got = ({"y": np.array([[value, -2.0]], np.float32)} for value in (1.0, 1.1))
    check_answers(wanted, got, Precision.FLOAT32, {"y": 0.11})
    for allowed in ({}, {"y": 0.09}, {"other": 0.11}):
        with pytest.raises(StepError, match="differs"):
            check_answers(wanted, got, Precision.FLOAT32, allowed)


@pytest.mark.parametrize(
    ("outputs", "cause"),
    [
        ({"y": np.array([[1.3, -1.9]], np.float32)}, "differs"),
        ({"y": np.array([[np.nan, -2.0]], np.float32)}, "not finite"),
        ({"y": np.array([1.0, -2.0], np.float32)}, "shape"),
        ({"Identity": np.array([[1.0, -2.0]], np.float32)}, "missing"),
    ],
)
def test_wrong_answers_are_no_timing(outputs: module.Arrays, cause: str) -> None:
    with pytest.raises(StepError, match=cause):
        check_answers({"y": np.array([[1.0, -2.0]], np.float32)}, outputs, Precision.FLOAT32)
