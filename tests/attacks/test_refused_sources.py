"""Hostile and broken checkpoints: each is refused with the right exit code before any framework is loaded."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

import attack_files as attack
from reader_samples import facts, samples  # noqa: F401

from converters.checkpoints.identify import identify
from converters.errors import EdgeportError
from exporter.inspection import inspect


def rename(class_name: str, **fields: Any) -> attack.Build:
    """The model's first Dense layer turned into something else."""

    def edit(config: dict[str, Any]) -> None:
        item = attack.layer(config, "Dense")
        item["class_name"] = class_name
        item.update(fields)

    return attack.config_edit(edit)


def setting(class_name: str, key: str, value: Any) -> attack.Build:
    def edit(config: dict[str, Any]) -> None:
        attack.layer(config, class_name)["config"][key] = value

    return attack.config_edit(edit)


def function(module: str | None, name: str) -> attack.Build:
    return setting("Dense", "activation", {"module": module, "class_name": "function", "config": name})


def extra_lookup(**config: Any) -> attack.Build:
    def edit(document: dict[str, Any]) -> None:
        item = {"module": "keras.layers", "class_name": "StringLookup", "config": {"name": "lookup"} | config}
        document["config"]["layers"].append(item | {"registered_name": None})

    return attack.config_edit(edit)


REFUSED: dict[str, tuple[attack.Build, str]] = {
    "empty": (attack.content("a.keras", b""), "an empty file"),
    "text": (attack.content("a.keras", b"Not a model, sorry.\n"), "a text file"),
    "truncated .keras": (attack.cut("picture.keras", 0.6, ".keras"), "not a complete zip"),
    "truncated .h5": (attack.cut("picture.h5", 0.7, ".h5"), "truncated file"),
    "h5 of 2 kB": (attack.cut("picture.h5", 0.05, ".h5"), "truncated file"),
    "random bytes": (attack.content("a.h5", bytes(range(255, 0, -1)) * 9), "unknown content"),
    "no config": (attack.without("config.json"), "no config.json"),
    "no weights": (attack.without("model.weights.h5"), "no model.weights.h5"),
    "empty zip": (attack.content("a.keras", b"PK\x05\x06" + bytes(18)), "no config.json"),
    "config twice": (attack.extra_member("config.json", b"{}"), "twice"),
    "traversal": (attack.extra_member("../evil"), "leads out of"),
    "inner traversal": (attack.extra_member("assets/../../evil"), "leads out of"),
    "absolute member": (attack.extra_member("/etc/evil"), "leads out of"),
    "backslash": (attack.extra_member("..\\evil"), "leads out of"),
    "drive": (attack.extra_member("C:/evil"), "leads out of"),
    "symlink member": (attack.extra_member(attack.symlink_member(), b"/etc/passwd"), "symbolic link"),
    "encrypted": (attack.encrypted, "encrypted"),
    "bomb in weights": (attack.bomb("model.weights.h5"), "unpacks to more"),
    "bomb in config": (attack.bomb("config.json"), "unpacks to more"),
    "bomb in assets": (attack.bomb("assets/vocabulary.txt"), "unpacks to more"),
    "flipped weight": (attack.damaged_weights, "checksum"),
    "config not JSON": (attack.raw_config(b"{'class_name': 1}"), "not JSON"),
    "config a list": (attack.raw_config(b"[]"), "not a JSON object"),
    "config not UTF-8": (attack.raw_config(b'{"class_name": "\xff"}'), "not UTF-8"),
    "config NaN": (attack.raw_config(b'{"class_name": NaN}'), "NaN"),
    "config 100k deep": (attack.raw_config(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "too deep"),
    "config 700 deep": (attack.raw_config(b'{"a":' * 700 + b"1" + b"}" * 700), "deep"),
    "config too large": (attack.raw_config(b'"' + b"x" * (65 << 20) + b'"'), "larger than"),
    "config half a character": (attack.raw_config(rb'{"class_name": "\uD800"}'), "surrogate"),
    "config huge number": (attack.raw_config(b'{"a": ' + b"9" * 5000 + b"}"), "not JSON"),
    "config without a model": (attack.raw_config(b"{}"), "holds no model"),
    "Lambda": (lambda s, f: s / "lambda.keras", "layer `half`"),
    "Lambda in h5": (lambda s, f: s / "lambda.h5", "layer `half`"),
    "Lambda edited into h5": (attack.h5_edit(attack.lambda_in_h5), "Python code in a Lambda"),
    "custom layer": (lambda s, f: s / "custom.keras", "`Halve`"),
    "registered layer": (rename("Dense", registered_name="shop>Dense"), "`shop>Dense`"),
    "os.system": (rename("system", module="os"), "`system` of `os`"),
    "subprocess": (rename("Popen", module="subprocess"), "`Popen` of `subprocess`"),
    "private module": (rename("get_file", module="keras.src.utils.file_utils"), "`get_file`"),
    "traversing module": (rename("Dense", module="keras.src.layers.../../x"), "`Dense`"),
    "Keras 2": (rename("Functional", module="keras.src.engine.functional"), "Keras 2"),
    "get_file": (function("keras.utils", "get_file"), "`get_file`"),
    "plot_model": (function("keras.utils", "plot_model"), "`plot_model`"),
    "set_floatx": (function("keras.config", "set_floatx"), "`set_floatx`"),
    "print": (function("builtins", "print"), "`print`"),
    "load_model": (function("keras.models", "load_model"), "`load_model`"),
    "TFSMLayer": (rename("TFSMLayer"), "TFSMLayer"),
    "TorchModuleWrapper": (rename("TorchModuleWrapper"), "TorchModuleWrapper"),
    "vocabulary file": (extra_lookup(vocabulary="/etc/passwd"), "/etc/passwd"),
    "vocabulary address": (extra_lookup(vocabulary="http://127.0.0.1:9/v"), "127.0.0.1"),
    "idf file": (extra_lookup(idf_weights="/etc/passwd"), "idf_weights"),
    "layer name": (setting("Dense", "name", "../../x"), "which is a path"),
    "huge Dense": (setting("Dense", "units", 2**31), "2,147,483,648 units"),
    "external link": (attack.h5_edit(attack.external_link), "link"),
    "soft link": (attack.h5_edit(attack.soft_link), "link"),
    "external storage": (attack.h5_edit(attack.external_storage), "another file"),
    "virtual data set": (attack.h5_edit(attack.virtual_dataset), "another file"),
    "4 TiB data set": (attack.h5_edit(attack.shape_bomb(1 << 40)), "declares far more"),
    "2 GiB data set": (attack.h5_edit(attack.shape_bomb(1 << 29)), "declares far more"),
    "other HDF5": (attack.bare_h5, "Keras did not write"),
    "no graph": (attack.saved_model_without("saved_model.pb"), "without a saved_model.pb"),
    "empty graph": (attack.saved_model_with("saved_model.pb", b""), "empty"),
    "no index": (attack.saved_model_without("variables/variables.index"), "variables.index"),
    "no data": (attack.saved_model_without("variables/variables.data-00000-of-00001"), "is missing"),
    "short data": (attack.saved_model_with("variables/variables.data-00000-of-00001", b"x"), "cut short"),
    "WriteFile": (attack.saved_model_with("saved_model.pb", attack.saved_model_of("WriteFile", in_function=False)),
                  "WriteFile"),
    "hidden reader": (attack.saved_model_with("saved_model.pb",
                                              attack.saved_model_of("WholeFileReaderV2", in_function=True)),
                      "WholeFileReaderV2"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    build, cause = REFUSED[name]
    path = build(samples, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(EdgeportError) as caught:
        identify(path)
    assert caught.value.exit_code == 3, caught.value.message
    assert cause in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.next_step
    assert sorted(tmp_path.rglob("*")) == before, "refusing a file must not write any"


@pytest.mark.parametrize("name", ["bomb in weights", "bomb in config", "2 GiB data set", "config 100k deep"])
def test_bombs_cost_little_memory(name: str, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    path = REFUSED[name][0](samples, tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(EdgeportError):
            identify(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


REFUSED_ARTIFACTS: dict[str, tuple[attack.Build, str]] = {
    "empty .onnx": (attack.content("a.onnx", b""), "an empty file"),
    "text .onnx": (attack.content("a.onnx", b"hello"), "a text file"),
    "random .onnx": (attack.content("a.onnx", bytes(range(255, 0, -1)) * 9), "not a valid ONNX"),
    "truncated .onnx": (attack.cut("picture.onnx", 0.5, ".onnx"), "past the end"),
    "deep .onnx": (attack.content("a.onnx", attack.deep_protobuf(5000)), "nested deeper"),
    "no graph .onnx": (attack.content("a.onnx", b"\x08\x08"), "no graph"),
    "external ../": (attack.external_location("../secret"), "points out of"),
    "external a/../../": (attack.external_location("a/../../secret"), "points out of"),
    "external absolute": (attack.external_location("/etc/passwd"), "points out of"),
    "external missing": (attack.external_location("nothing"), "not beside it"),
    "external symlink": (attack.external_onnx(attack.as_symlink), "symbolic link"),
    "external hard link": (attack.external_onnx(attack.as_hard_link), "hard link"),
    "external FIFO": (attack.external_onnx(attack.as_fifo), "no file of its own"),
    "external cut": (attack.external_onnx(lambda p: p.write_bytes(p.read_bytes()[:-8])), "which has"),
    "tflite head": (attack.content("a.tflite", b"\x18\0\0\0TFL3"), "past the end"),
    "tflite zeros": (attack.content("a.tflite", bytes(64)), "TFL3"),
    "tflite cut": (attack.cut("picture.float32.tflite", 0.5, ".tflite"), "past the end"),
    "tflite far vtable": (attack.tflite_with(0, 0x7FFFFFFF), "past the end"),
    "tflite as .onnx text": (attack.content("a.tflite", b"words"), "a text file"),
}


@pytest.mark.parametrize("name", REFUSED_ARTIFACTS)
def test_refused_artifact(name: str, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    build, cause = REFUSED_ARTIFACTS[name]
    folder = tmp_path / "inner"
    folder.mkdir()
    with pytest.raises(EdgeportError) as caught:
        inspect(build(samples, folder))
    assert caught.value.exit_code == 3, caught.value.message
    assert cause in caught.value.message
