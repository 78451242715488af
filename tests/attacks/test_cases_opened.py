"""Files that pass the scan and fail in their framework: in a worker, with a clean exit code, the parent alive."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

sys.path.append(str(Path(__file__).parent))

import attack_files as attack
import runtime_files as runtime
from opening import Opener, opener  # noqa: F401
from reader_samples import facts, samples  # noqa: F401

from converters.checkpoints.checkpoint import SourceKind
from converters.checkpoints.scan_file import check
from converters.errors import EdgeportError, ResourceError, StepTimeoutError
from converters.isolation import Limits, run_step
from exporter.bundle import write_golden
from exporter.inspection.nonfinite_weights import nonfinite_weights


def with_weights(source: Path, path: Path, edit: Callable[[h5py.File], None]) -> Path:
    """A `.keras` archive with its weights changed."""
    members = attack.members_of(source)
    buffer = io.BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        edit(file)
    return attack.write_zip(path, list((members | {"model.weights.h5": buffer.getvalue()}).items()))


def dense(file: h5py.File) -> Any:
    """The folder of the weights of the model's Dense layer."""
    found: list[str] = []
    file.visit(lambda name: found.append(name) if name.endswith(("dense/vars", "labels/vars")) else None)
    return file[found[0]]


def test_weights_of_another_shape_are_exit_4_naming_both(opener: Opener, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    def edit(file: h5py.File) -> None:
        folder = dense(file)
        del folder["0"]
        folder["0"] = np.zeros((8, 5), np.float32)

    answer = opener(with_weights(samples / "picture.keras", tmp_path / "m.keras", edit))
    assert answer["code"] == 4, answer
    assert "(8, 4)" in answer["message"]
    assert "(8, 5)" in answer["message"]
    assert "dense" in answer["message"] or "labels" in answer["message"]


def test_a_flipped_variable_of_a_saved_model_is_exit_4(opener: Opener, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    path = attack.copy_saved_model(samples, tmp_path)
    data = path / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    for place in range(0, len(content), 50):
        content[place] ^= 4
    data.write_bytes(content)
    answer = opener(path)
    assert (answer["code"], "damaged" in answer["message"]) == (4, True), answer


def test_weights_that_are_no_numbers_are_named(samples: Path, tmp_path: Path) -> None:  # noqa: F811
    def edit(file: h5py.File) -> None:
        dense(file)["0"][1, 1] = np.nan

    path = with_weights(samples / "picture.keras", tmp_path / "m.keras", edit)
    (name,) = nonfinite_weights(path, SourceKind.KERAS)
    assert "dense" in name or "labels" in name
    for good, kind in (("picture.keras", "keras"), ("picture.h5", "h5"), ("picture.savedmodel", "savedmodel")):
        assert nonfinite_weights(samples / good, SourceKind(kind)) == ()


@pytest.mark.slow
def test_weights_that_are_no_numbers_fail_a_gate(edgeport: Any, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    def edit(file: h5py.File) -> None:
        dense(file)["0"][1, 1] = np.inf

    path = with_weights(samples / "picture.keras", tmp_path / "m.keras", edit)
    ran = edgeport("run", path, "-o", tmp_path / "out", "-f", "onnx", "--max-seconds", "0.5", "--json")
    assert ran.code == 1, ran.stderr
    (gate,) = ran.document["artifacts"][0]["gates"]
    assert (gate["gate"], gate["passed"], "vars/0" in gate["reason"]) == ("finite-weights", False, True)


def two(path: Path) -> Path:
    return runtime.onnx_model(path, [runtime.node("Relu", ["x"], ["y"]), runtime.node("Abs", ["x"], ["y"])])


def cycle(path: Path) -> Path:
    return runtime.onnx_model(
        path,
        [
            runtime.node("Add", ["x", "b"], ["a"]),
            runtime.node("Add", ["a", "x"], ["b"]),
            runtime.node("Relu", ["a"], ["y"]),
        ],
    )


ONNX: dict[str, Callable[[Path], Path]] = {
    "cycle": cycle,
    "output twice": two,
    "dtype 77": lambda p: runtime.onnx_model(p, [runtime.node("Relu", ["x"], ["y"])], input_type=77),
    "opset 99": lambda p: runtime.onnx_model(p, [runtime.node("Relu", ["x"], ["y"])], opset=99),
    "IR 999": lambda p: runtime.onnx_model(p, [runtime.node("Relu", ["x"], ["y"])], ir=999),
    "unknown operation": lambda p: runtime.onnx_model(p, [runtime.node("Nonsense", ["x"], ["y"])]),
    "missing input": lambda p: runtime.onnx_model(p, [runtime.node("Add", ["x", "nothing"], ["y"])]),
}


@pytest.mark.parametrize("name", ONNX)
def test_wrong_onnx_is_exit_3_in_one_line(name: str, opener: Opener, tmp_path: Path) -> None:  # noqa: F811
    answer = opener(ONNX[name](tmp_path / "m.onnx"))
    assert answer["code"] == 3, answer
    assert "\n" not in answer["message"]
    assert "m.onnx" in answer["message"]


def golden(folder: Path) -> dict[str, str]:
    write_golden(folder / "golden.npz", {"x": np.ones(1, np.float32)}, {"y": np.ones(1, np.float32)})
    return {"golden": str(folder / "golden.npz"), "outputs": str(folder / "outputs.npz")}


def test_an_endless_loop_is_stopped_at_its_limit(tmp_path: Path) -> None:
    path = runtime.endless_loop(tmp_path / "m.onnx")
    check(path)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    request = {"path": str(path), **golden(tmp_path)}
    with pytest.raises(StepTimeoutError):
        run_step("exporter.bundle.execute:run_golden", request, step="verify", limits=Limits(timeout_s=4))
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before, "the worker is left behind"


@pytest.mark.parametrize("elements", [1 << 40, 1 << 29])
def test_a_model_that_wants_all_memory_is_exit_7(elements: int, tmp_path: Path) -> None:
    """4 TiB, which no allocator gives, and 2 GiB over a limit of 1 GiB."""
    path = runtime.huge_constant(tmp_path / "m.onnx", elements)
    limits = Limits(timeout_s=60, memory_bytes=1 << 30)
    with pytest.raises(ResourceError):
        run_step(
            "exporter.bundle.execute:run_golden", {"path": str(path), **golden(tmp_path)}, step="verify", limits=limits
        )


def tensors(model: Any) -> Any:
    return model.subgraphs[0].tensors


def set_shape(model: Any, shape: list[int]) -> None:
    for tensor in tensors(model):
        tensor.shape = np.array(shape, np.int32)
        tensor.shapeSignature = None


def first_constant(model: Any) -> Any:
    return next(b for b in model.buffers if b.data is not None and len(b.data) > 64)


TFLITE: dict[str, Callable[[Any], None]] = {
    "INT_MAX": lambda m: set_shape(m, [2**31 - 1]),
    "INT_MAX each way": lambda m: set_shape(m, [2**31 - 1] * 3),
    "negative": lambda m: set_shape(m, [-7, 3]),
    "index 9999": lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [9999]),
    "index -2": lambda m: setattr(m.subgraphs[0].operators[0], "outputs", [-2]),
    "buffer 9999": lambda m: setattr(tensors(m)[0], "buffer", 9999),
    "code 9999": lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 9999),
    "short buffers": lambda m: setattr(first_constant(m), "data", np.zeros(3, np.uint8)),
    "no outputs": lambda m: setattr(m.subgraphs[0], "outputs", [77777]),
    "rank 9": lambda m: setattr(tensors(m)[1], "shape", np.ones(9, np.int32)),
    "schema 99": lambda m: setattr(m, "version", 99),
}


@pytest.mark.parametrize("name", TFLITE)
def test_wrong_tflite_is_exit_3_or_5(name: str, opener: Opener, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    path = runtime.edited_tflite(samples / "picture.float32.tflite", tmp_path / "m.tflite", TFLITE[name])
    answer = opener(path)
    assert answer["code"] in (3, 5), answer


@pytest.mark.parametrize("custom", ["FlexConv2D", "MyOwnThing"])
def test_an_unresolved_operation_is_exit_3_and_named(
    custom: str,
    opener: Opener,  # noqa: F811
    samples: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    def edit(model: Any) -> None:
        code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, custom

    answer = opener(runtime.edited_tflite(samples / "picture.float32.tflite", tmp_path / "m.tflite", edit))
    assert answer["code"] == 3
    assert custom in answer["message"]


def test_a_refused_candidate_is_the_commands_exit_code(edgeport: Any, samples: Path, tmp_path: Path) -> None:  # noqa: F811
    """validate with nothing that could be run ends in the first file's code; the reference is an artifact here."""
    strange = runtime.node("Strange", ["x"], ["y"], domain="a.b")
    path = runtime.onnx_model(tmp_path / "m.onnx", [strange], domains=("a.b",))
    ran = edgeport("validate", samples / "picture.onnx", path, "--json")
    assert ran.code == 3, ran.stderr
    assert "a.b::Strange" in ran.document["error"]["message"]
    with pytest.raises(EdgeportError):
        check(path)
