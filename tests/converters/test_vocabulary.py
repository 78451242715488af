"""The words that every layer shares: names, signatures, digests, errors."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import errors
from converters.artifact import Artifact, digest, size_of
from converters.formats import Format, Precision, artifact_name, format_of, model_name
from converters.signature import BATCH, Signature, TensorSpec, unique_names

NAMES = st.text(min_size=0, max_size=300)


@given(NAMES)
def test_a_model_name_is_always_a_plain_file_name(text: str) -> None:
    name = model_name(text)
    assert name
    assert name[0] not in ".-"
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert len(name.encode()) <= 100


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b/digits.keras", "digits"),
        ("my model.h5", "my_model"),
        ("x.weights.h5", "x"),
        ("se_inception_v3",) * 2,
        ("../..", "model"),
        (".keras", "keras"),
        ("v1.2.keras", "v1.2"),
    ],
)
def test_model_names(source: str, name: str) -> None:
    assert model_name(source) == name


@pytest.mark.parametrize("fmt", list(Format))
@pytest.mark.parametrize("precision", list(Precision))
def test_an_artifact_name_tells_its_format(fmt: Format, precision: Precision, tmp_path: Path) -> None:
    path = tmp_path / artifact_name("net.v2", precision, fmt)
    if fmt is Format.SAVEDMODEL:
        path.mkdir()
        (path / "saved_model.pb").touch()
    assert format_of(path) is fmt


def test_a_name_that_is_taken_is_numbered() -> None:
    assert unique_names(["a", "b"], taken=["a", "c"]) == ("a_1", "b")


@given(st.lists(st.sampled_from(["a", "a_1", "b", "a_2", "c"]), max_size=8))
def test_unique_names_keep_order_and_number(names: list[str]) -> None:
    unique = unique_names(names)
    assert len(set(unique)) == len(names)
    for given_name, name in zip(names, unique, strict=True):
        assert name == given_name or name.startswith(f"{given_name}_")
    for name in set(names):  # the first of its name keeps it
        assert unique[names.index(name)] == name


def test_a_signature_survives_json() -> None:
    signature = Signature(
        (TensorSpec("image", (BATCH, "image_dim1", 8, 3), "float32"),), (TensorSpec("labels", (BATCH, 10), "float32"),)
    )
    assert Signature.from_json(signature.to_json()) == signature
    assert signature.inputs[0].is_dynamic
    assert not signature.outputs[0].is_dynamic
    assert signature.inputs[0].concrete(4, 16) == (4, 16, 8, 3)


def test_the_digest_of_a_folder_sees_names_and_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"1")
    (folder / "sub" / "b").write_bytes(b"22")
    first = digest(folder)
    lines = [f"{hashlib.sha256(b'1').hexdigest()}  a\n", f"{hashlib.sha256(b'22').hexdigest()}  sub/b\n"]
    assert first == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert size_of(folder) == 3
    (folder / "a").rename(folder / "c")
    assert digest(folder) != first


def test_an_artifact_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "net.float32.onnx"
    path.write_bytes(b"onnx")
    signature = Signature((TensorSpec("x", (BATCH, 3), "float32"),), ())
    artifact = Artifact.on_disk(
        path, Format.ONNX, Precision.FLOAT32, signature, conversion_path="weightless", notes=("n",)
    )
    assert artifact.to_json(tmp_path)["path"] == "net.float32.onnx"
    assert Artifact.from_json(artifact.to_json(tmp_path), tmp_path) == artifact


@pytest.mark.parametrize(
    "kind",
    [
        errors.UsageError,
        errors.RefusedError,
        errors.StepError,
        errors.CrashError,
        errors.StepTimeoutError,
        errors.ResourceError,
        errors.IntegrityError,
        errors.LockedError,
    ],
)
def test_an_error_crosses_the_process_border(kind: type[errors.EdgeportError]) -> None:
    error = kind("What.", next_step="Next.", file="f", step="load")
    rebuilt = errors.error_from_json(error.to_json())
    assert type(rebuilt) is kind
    assert rebuilt.to_json() == error.to_json()


def test_the_words_of_a_cause_keep_it_wherever_it_stands() -> None:
    """As TensorFlow tells of a graph: the places in somebody's code first, the cause last."""
    places = "".join(f'File "/lib/part{k}.py", line {k}, in call\n  return self.do(x)\n' for k in range(200))
    text = (
        f"Graph execution error:\n\nDetected at node a/b defined at (most recent call last):\n{places}\nIt is cursed\n"
    )
    assert errors.words_of(ValueError(text)) == "Graph execution error: It is cursed"
    long = errors.words_of(ValueError(f"begin {'word ' * 2000} end"))
    assert long.startswith("begin word")
    assert long.endswith("word end")
    assert len(long) < 2100
    assert errors.words_of(KeyError()) == "KeyError"
