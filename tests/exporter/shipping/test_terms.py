"""The contract from a signature, what the model says and what the user says; what contradicts is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converters.checkpoints.ranges import Range
from converters.contract import Contract
from converters.errors import EdgeportError, RefusedError, UsageError
from converters.facts import Facts
from converters.signature import Signature, TensorSpec
from exporter.options import ShipOptions
from exporter.shipping.terms import Terms, contract_of

IMAGE = TensorSpec("image", ("batch", 8, 8, 3), "float32")
CLASSES = TensorSpec("classes", ("batch", 3), "float32")
SIGNATURE = Signature((IMAGE,), (CLASSES,))
RESCALED = {"scaling": {"image": {"layer": "rescale", "scale": [1 / 255], "offset": [0.0]}}}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\nÜbergrösse\n", encoding="utf-8")
    return path


def made(*, told: dict[str, Any] | None = None, signature: Signature = SIGNATURE, **said: Any) -> Contract:
    facts = Facts(signature, 0, ranges={"image": Range(0, 255, "test")}, interface=told or {})
    return contract_of(facts, Terms(ShipOptions(**said)))


def test_labels_belong_to_the_output_that_they_fit(labels: Path) -> None:
    contract = made(told={"activations": {"classes": "softmax"}}, labels=(str(labels),))
    (row,) = contract.outputs
    assert (row.labels, row.activation, row.threshold) == (("cat", "dog", "Übergrösse"), "softmax", None)


def test_an_output_is_named_where_there_are_two(labels: Path) -> None:
    two = Signature((IMAGE,), (CLASSES, TensorSpec("other", ("batch", 3), "float32")))
    with pytest.raises(UsageError, match="2 of the outputs"):
        made(signature=two, labels=(str(labels),))
    contract = made(signature=two, labels=(f"other={labels}",))
    assert [row.labels is None for row in contract.outputs] == [True, False]


def test_one_sigmoid_takes_two_labels(tmp_path: Path) -> None:
    path = tmp_path / "two.txt"
    path.write_text("healthy\nill\n")
    one = Signature((IMAGE,), (TensorSpec("ill", ("batch", 1), "float32"),))
    (row,) = made(signature=one, told={"activations": {"ill": "sigmoid"}}, labels=(str(path),)).outputs
    assert (row.labels, row.threshold) == (("healthy", "ill"), 0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\n", "has 2 labels, and the output `classes` has 3 places"),
        (b"a\n\nb\nc\n", "an empty line at line 2"),
        (b"\xff\xfea\n", "not UTF-8"),
        (b"", "is empty"),
        (b"a\nb\x00\nc\n", "control characters at line 2"),
    ],
)
def test_bad_labels_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=message) as raised:
        made(labels=(str(path),))
    assert raised.value.exit_code == 3
    assert raised.value.next_step


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        Terms(ShipOptions(labels=(str(tmp_path / "none.txt"),))).check()


def test_the_model_scales_itself_so_a_device_feeds_raw_values() -> None:
    (row,) = made(told=RESCALED, preprocess=("colour_order=BGR", "resize=bilinear-crop")).inputs
    assert (row.scale, row.mean, row.std) == (1.0, (0.0,), (1.0,))
    assert (row.colour_order, row.resize, row.layout, row.range) == ("BGR", "bilinear-crop", "NHWC", (0, 255))
    assert row.in_model == RESCALED["scaling"]["image"]


def test_scaling_twice_contradicts_the_models_own_layer() -> None:
    with pytest.raises(RefusedError, match="own layer `rescale` scales the input `image` already") as raised:
        made(told=RESCALED, preprocess=("scale=1/255",))
    assert raised.value.exit_code == 3


def test_what_is_given_is_what_a_device_computes() -> None:
    (row,) = made(preprocess=("scale=1/255", "mean=0.485,0.456,0.406", "std=0.229,0.224,0.225")).inputs
    assert row.scale == pytest.approx(1 / 255)
    assert (row.mean, row.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_what_nobody_says_is_null() -> None:
    (row,) = made().inputs
    assert (row.scale, row.mean, row.std, row.colour_order, row.resize) == (None,) * 5


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("scale", UsageError, "none of scale="),
        ("size=3", UsageError, "none of scale="),
        ("scale=0", UsageError, "above 0"),
        ("scale=1/0", UsageError, "no number"),
        ("mean=x", UsageError, "no number"),
        ("std=0.1,0", UsageError, "above 0"),
        ("mean=1,2", UsageError, "2 numbers.*3 channels"),
        ("resize=cubic", UsageError, "cannot be"),
        ("colour_order=GRAY", RefusedError, "cannot hold GRAY"),
        ("sound.scale=2", UsageError, "no input `sound`"),
    ],
)
def test_bad_preprocessing_is_refused(word: str, kind: type[EdgeportError], message: str) -> None:
    with pytest.raises(kind, match=message):
        made(preprocess=(word,))


def test_integers_are_not_scaled() -> None:
    tokens = Signature((TensorSpec("tokens", ("batch", 5), "int32"),), (CLASSES,))
    with pytest.raises(RefusedError, match="takes int32"):
        made(signature=tokens, preprocess=("scale=2",))


def test_a_contract_survives_json(labels: Path) -> None:
    contract = made(told=RESCALED, labels=(str(labels),), preprocess=("resize=area",))
    assert Contract.from_json(contract.to_json()) == contract
