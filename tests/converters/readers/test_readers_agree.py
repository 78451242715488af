"""What the readers say is what the real libraries say of the same files."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "attacks"))

from reader_samples import facts, samples  # noqa: F401

from converters.errors import RefusedError
from converters.isolation import Limits
from converters.readers import h5_file, keras_api, onnx_file, saved_model_file, tflite_schema
from converters.readers.facts import TensorFact
from converters.readers.h5_file import read_h5
from converters.readers.keras_file import read_keras
from converters.readers.onnx_file import read_onnx
from converters.readers.saved_model_file import read_saved_model
from converters.readers.tflite_file import read_tflite

Facts = dict[str, Any]


@pytest.mark.parametrize("name", ["picture", "text", "mixed", "quantized", "pair"])
def test_keras_parameters(name: str, samples: Path, facts: Facts) -> None:  # noqa: F811
    archive = read_keras(samples / f"{name}.keras")
    assert sum(w.elements for w in archive.weights.weights) == facts["models"][name]["parameters"]
    assert archive.config["class_name"] in ("Functional", "Sequential")
    assert archive.metadata["keras_version"]


@pytest.mark.parametrize("name", ["picture.h5", "picture.weights.h5"])
def test_h5_parameters(name: str, samples: Path, facts: Facts) -> None:  # noqa: F811
    found = read_h5(samples / name)
    assert sum(w.elements for w in found.weights) == facts["models"]["picture"]["parameters"]
    assert (found.model_config is None) == name.endswith(".weights.h5")
    assert {w.dtype for w in found.weights} == {"float32"}


@pytest.mark.parametrize("name", ["picture", "rich"])
def test_onnx(name: str, samples: Path, facts: Facts) -> None:  # noqa: F811
    found, expected = read_onnx(samples / f"{name}.onnx"), facts["onnx"][name]
    assert dict(found.ops) == expected["ops"]
    assert [t.name for t in found.inputs] == expected["inputs"]
    assert [t.name for t in found.outputs] == expected["outputs"]
    assert found.opset == expected["opset"]
    stored = {i.name: [list(i.shape), i.nbytes] for i in found.initializers}
    assert expected["initializers"].items() <= stored.items()


def test_onnx_details(samples: Path) -> None:  # noqa: F811
    found = read_onnx(samples / "rich.onnx")
    assert found.inputs == [TensorFact("x", ("N", "time", 3), "float32")]
    assert found.outputs == [TensorFact("y", ("N", None, 3), "float32")]
    assert found.custom_ops == ["com.example::Strange"]
    assert found.opsets == {"": 18, "local": 1, "com.example": 1}
    assert {i.name: i.shape for i in found.initializers} == {"one": (2, 3), "yes": ()}


def test_onnx_external_data(samples: Path) -> None:  # noqa: F811
    inside, beside = read_onnx(samples / "picture.onnx"), read_onnx(samples / "external.onnx")
    assert beside.external_files == ["external.onnx.data"]
    assert inside.external_files == []
    assert sum(i.elements for i in beside.initializers) == sum(i.elements for i in inside.initializers)


@pytest.mark.parametrize("name", ["float32", "float16"])
def test_tflite(name: str, samples: Path, facts: Facts) -> None:  # noqa: F811
    found, expected = read_tflite(samples / f"picture.{name}.tflite"), facts["tflite"][name]
    signature = found.signature()
    assert signature is not None
    assert signature.key == "serving_default"
    for side, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        told = {t.name: [[-1 if d is None else d for d in t.shape or ()], t.dtype] for t in tensors}
        assert told == expected[side]
    assert dict(found.ops) == expected["ops"]
    assert found.custom_ops == []


def test_saved_model(samples: Path, facts: Facts) -> None:  # noqa: F811
    found = read_saved_model(samples / "picture.savedmodel")
    assert dict(found.ops) == facts["savedmodel"]["ops"]
    assert list(found.tags[0]) == facts["savedmodel"]["tags"]
    signature = found.signature()
    assert signature is not None
    assert signature.inputs == (TensorFact("image", (None, 16, 16, 3), "float32"),)
    assert [t.shape for t in signature.outputs] == [(None, 4)]
    assert sum(math.prod(v.shape) for v in found.variables) == facts["models"]["picture"]["parameters"]


def test_tables_are_those_of_the_libraries(facts: Facts) -> None:  # noqa: F811
    schema = facts["schema"]
    assert {n: i for i, n in enumerate(tflite_schema.BUILTIN_OPERATORS)} == schema["operators"]
    assert len(tflite_schema.TENSOR_TYPES) == len(schema["types"])
    for name, number in schema["types"].items():
        assert tflite_schema.TENSOR_TYPES[number] == name.lower()
    spelled = {"FLOAT": "float32", "DOUBLE": "float64"}
    for number, name in schema["onnx_types"].items():
        expected = spelled.get(name, name.lower()).replace("_", "")
        assert onnx_file.DTYPES[int(number)].replace("_", "") == expected
    for number, name in schema["tf_types"].items():
        assert saved_model_file.DTYPES[int(number)] == name


def test_keras_names_without_keras() -> None:
    assert {"Dense", "MultiHeadAttention", "TFSMLayer"} <= keras_api.public_names("keras.layers")
    assert "relu" in keras_api.function_names()
    assert "Mean" in keras_api.private_classes("keras.src.ops.numpy")
    assert "LayerScale" in keras_api.private_classes("keras.src.applications.convnext")
    assert not keras_api.public_names("keras.utils")
    assert not keras_api.private_classes("keras.src.utils.file_utils")
    assert not keras_api.private_classes("keras.src.layers./etc/x")
    assert not {"deserialize", "get", "load_model"} & (keras_api.legacy_names() | keras_api.function_names())


def test_a_library_that_hangs_is_a_refusal(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Some damaged files send the HDF5 library round for ever: the limit of its worker ends that."""
    monkeypatch.setattr(h5_file, "_LIMITS", Limits(timeout_s=0.01))
    with pytest.raises(RefusedError, match="does not survive"):
        read_h5(samples / "picture.h5")
