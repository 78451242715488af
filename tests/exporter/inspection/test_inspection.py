"""`edgeport inspect`: one document for every kind of file, and no framework loaded for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "attacks"))

from reader_samples import facts, samples  # noqa: F401

from converters.artifact import digest
from converters.errors import RefusedError
from exporter.cli.main import run
from exporter.inspection import inspect
from exporter.inspection.keras_signature import signature_of
from exporter.inspection.layer_shapes import output_shape

IMAGE = {"name": "image", "shape": ["batch", 16, 16, 3], "dtype": "float32"}
LABELS = {"name": "labels", "shape": ["batch", 4], "dtype": "float32"}
KEYS = {
    "path",
    "format",
    "precision",
    "size_bytes",
    "sha256",
    "inputs",
    "outputs",
    "parameters",
    "ops",
    "opset",
    "flex_ops",
    "custom_ops",
    "notes",
    "integer",
    "contract",
}


@pytest.mark.parametrize("name", ["picture.keras", "picture.h5"])
def test_keras_files(name: str, samples: Path, facts: dict[str, Any]) -> None:  # noqa: F811
    found = inspect(samples / name)
    assert set(found) == KEYS
    assert found["format"] == name.split(".")[1]
    assert found["precision"] == "float32"
    assert found["inputs"] == [IMAGE]
    assert found["outputs"] == [LABELS]
    assert found["parameters"] == facts["models"]["picture"]["parameters"]
    assert found["ops"]["Conv2D"] == 2
    assert found["sha256"] == digest(samples / name)
    assert found["size_bytes"] == (samples / name).stat().st_size


def test_weights(samples: Path, facts: dict[str, Any]) -> None:  # noqa: F811
    found = inspect(samples / "picture.weights.h5")
    assert (found["format"], found["inputs"], found["outputs"]) == ("weights_h5", [], [])
    assert found["parameters"] == facts["models"]["picture"]["parameters"]
    assert "weights alone" in found["notes"][0]


def test_saved_model(samples: Path, facts: dict[str, Any]) -> None:  # noqa: F811
    found = inspect(samples / "picture.savedmodel")
    assert (found["format"], found["precision"], found["inputs"]) == ("savedmodel", "float32", [IMAGE])
    assert found["outputs"][0]["shape"] == ["batch", 4]
    assert found["parameters"] == facts["models"]["picture"]["parameters"]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_tflite(precision: str, samples: Path) -> None:  # noqa: F811
    found = inspect(samples / f"picture.{precision}.tflite")
    assert (found["format"], found["precision"]) == ("tflite", precision)
    assert found["inputs"] == [IMAGE]
    assert found["ops"]["CONV_2D"] == 2
    assert found["flex_ops"] == found["custom_ops"] == []


def test_onnx(samples: Path) -> None:  # noqa: F811
    found = inspect(samples / "rich.onnx")
    assert (found["format"], found["opset"], found["custom_ops"]) == ("onnx", 18, ["com.example::Strange"])
    assert found["inputs"] == [{"name": "x", "shape": ["batch", "time", 3], "dtype": "float32"}]
    assert found["outputs"] == [{"name": "y", "shape": ["batch", "y_dim1", 3], "dtype": "float32"}]
    assert found["ops"]["Add"] == 2, "one in the If, one in the local function"
    assert "external.onnx.data" in inspect(samples / "external.onnx")["notes"][0]


def test_names_of_nested_outputs_and_unknown_sizes(samples: Path) -> None:  # noqa: F811
    found = inspect(samples / "text.keras")
    assert found["inputs"] == [{"name": "words", "shape": ["batch", "words_dim1"], "dtype": "string"}]
    assert [(o["name"], o["shape"]) for o in found["outputs"]] == [("a", ["batch", 2]), ("b.c", ["batch", 1])]


def test_order_and_dtypes_of_several(samples: Path) -> None:  # noqa: F811
    found = inspect(samples / "pair.keras")
    assert [(i["name"], i["dtype"]) for i in found["inputs"]] == [("x", "float32"), ("y", "int32")]
    assert [(o["name"], o["shape"]) for o in found["outputs"]] == [("plus", ["batch", 4]), ("both", ["batch", 8])]


def test_precisions_of_keras_files(samples: Path) -> None:  # noqa: F811
    assert inspect(samples / "mixed.keras")["precision"] == "mixed_float16"
    assert inspect(samples / "mixed.keras")["outputs"][0]["dtype"] == "float16"
    assert inspect(samples / "quantized.keras")["precision"] == "int8"


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetB0", "ResNet50V2", "DenseNet121", "InceptionV3"])
def test_signatures_of_applications(name: str, samples: Path) -> None:  # noqa: F811
    found = signature_of(json.loads((samples / f"{name}.json").read_text()))
    assert [o.shape for o in found.outputs] == [("batch", 1000)]
    assert found.inputs[0].shape[0] == "batch"
    assert found.notes == []


def test_what_the_config_does_not_tell_is_not_guessed() -> None:
    dense = {"class_name": "Dense", "config": {"name": "d", "units": 3}}
    found = signature_of({"class_name": "Sequential", "config": {"name": "s", "layers": [dense]}})
    assert found.inputs == found.outputs == []
    assert len(found.notes) == 2
    assert signature_of({"class_name": "Functional", "config": {"input_layers": 3, "layers": 5}}).outputs == []


@pytest.mark.parametrize(
    ("class_name", "settings", "shapes", "expected"),
    [
        ("Dense", {"units": 5}, [(None, 7, 3)], (None, 7, 5)),
        ("Flatten", {}, [(None, 4, 3)], (None, 12)),
        ("Flatten", {}, [(None, None, 3)], (None, None)),
        ("GlobalAveragePooling2D", {"keepdims": False}, [(None, 4, 4, 8)], (None, 8)),
        ("Concatenate", {"axis": -1}, [(None, 2), (None, 5)], (None, 7)),
        ("Reshape", {"target_shape": [2, -1]}, [(None, 6)], None),
        ("Add", {}, [(None, 2), (None, 1)], None),
        ("SomethingElse", {}, [(None, 2)], None),
    ],
)
def test_output_shapes(class_name: str, settings: dict[str, Any], shapes: Any, expected: Any) -> None:
    assert output_shape(class_name, settings, shapes) == expected


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("window", [(9, 3, 1, 1), (9, 3, 2, 1), (10, 2, 3, 1), (9, 3, 1, 2)])
def test_convolution_size(padding: str, window: tuple[int, int, int, int]) -> None:
    """Against counting: the window positions that fit, with `same` padding those that start inside."""
    size, kernel, stride, dilation = window
    settings = {"padding": padding, "kernel_size": [kernel], "strides": [stride], "dilation_rate": [dilation]}
    reach = dilation * (kernel - 1)
    last = size - 1 if padding == "same" else size - 1 - reach
    expected = (None, len(range(0, last + 1, stride)), 6)
    assert output_shape("Conv1D", settings | {"filters": 6}, [(None, size, 2)]) == expected


def test_the_command(samples: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert run(["inspect", str(samples / "picture.keras"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"] == [IMAGE]
    assert run(["inspect", str(samples / "picture.keras")]) == 0
    assert "batch x 16 x 16 x 3" in capsys.readouterr().out
    assert run(["inspect", str(samples / "nothing"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == 2


def test_terminal_codes_in_names_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import attack_files as attack

    node = attack.field(4, b"Re\x1b[2Jlu") + attack.field(7, b"evil\x1b")
    path = tmp_path / "codes.onnx"
    path.write_bytes(b"\x08\x08" + attack.field(8, b"\x10\x12") + attack.field(7, attack.field(1, node)))
    assert run(["inspect", str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no SavedModel"):
        inspect(tmp_path)


def test_no_framework_is_loaded(samples: Path) -> None:  # noqa: F811
    code = (
        "import sys; from pathlib import Path; from exporter.inspection import inspect\n"
        "for path in sys.argv[1:]: inspect(Path(path))\n"
        "print({'tensorflow', 'keras', 'onnx', 'onnxruntime', 'ai_edge_litert', 'tf2onnx'} & set(sys.modules))"
    )
    names = ("picture.keras", "picture.h5", "picture.onnx", "picture.float32.tflite", "picture.savedmodel")
    command = [sys.executable, "-c", code, *(str(samples / name) for name in names)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"
