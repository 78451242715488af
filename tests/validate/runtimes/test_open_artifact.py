"""The runtimes on real files. Each opens in a process of its own, as in the product."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converters.errors import RefusedError, StepError, UsageError
from validate.runtimes import open_artifact, runtime_name
from validate.runtimes.base import failed

RUN = """
import json, sys
from pathlib import Path
import numpy as np
from converters.errors import EdgeportError
from validate.runtimes import Device, RuntimeOptions, open_artifact
path, device, batches = Path(sys.argv[1]), Device(sys.argv[2]), [int(n) for n in sys.argv[3:]]
found = {}
try:
    runtime = open_artifact(path, RuntimeOptions(device=device))
    found["signature"], found["device"] = runtime.signature.to_json(), runtime.device
    found["shapes"] = []
    for n in batches:
        rng = np.random.default_rng(0)
        arrays = {s.name: rng.uniform(0, 9, s.concrete(n)).astype(s.dtype) if s.shape[0] == "batch" else
                  rng.uniform(0, 9, (n, *s.shape[1:])).astype(s.dtype) for s in runtime.signature.inputs}
        results = runtime.run({**arrays, "spare": np.zeros(1)})
        found["shapes"].append({k: list(v.shape) for k, v in results.items()})
        if n == batches[-1]:
            first = runtime.run({k: v[:1] for k, v in arrays.items()})
            found["gap"] = max(float(np.abs(first[k][0] - results[k][0]).max()) for k in results)
    one = {s.name: arrays[s.name][:1] for s in runtime.signature.inputs}
    longer = {k: np.concatenate([v, v[:, :1]], axis=1) for k, v in one.items()}
    found["can"] = {"session": runtime.session is not None, "refuses": [runtime.refuses(one), runtime.refuses(longer)],
                    "quantization": dict(runtime.quantization)}
    call, read = runtime.prepared(one)
    prepared, plain = read(call()), runtime.run(one)
    found["prepared_gap"] = max(float(np.abs(prepared[k] - plain[k]).max()) for k in plain)
except EdgeportError as error:
    found = {"error": type(error).__name__, **error.to_json()}
found["modules"] = sorted({m.split(".")[0] for m in sys.modules})
print("RESULT" + json.dumps(found))
"""


def run(path: Path, *batches: int, device: str = "cpu") -> dict[str, Any]:
    command = [sys.executable, "-c", RUN, str(path), device, *map(str, batches)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    document: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT"))
    return document


SMALL = {
    "inputs": [{"name": "image", "shape": ["batch", 16, 16, 3], "dtype": "float32"}],
    "outputs": [{"name": "labels", "shape": ["batch", 5], "dtype": "float32"}],
}


@pytest.mark.parametrize("name", ["small.onnx", "small.tflite", "small.savedmodel", "small.keras"])
def test_every_runtime_tells_the_same_signature_and_runs_any_batch(files: Path, name: str) -> None:
    found = run(files / name, 1, 3)
    assert found["signature"] == SMALL
    assert found["device"] == "cpu"
    assert found["shapes"] == [{"labels": [1, 5]}, {"labels": [3, 5]}]
    assert found["gap"] < 1e-5


@pytest.mark.parametrize(
    ("name", "session", "refuses"),
    [
        ("small.onnx", True, [False, True]),
        ("small.tflite", False, [False, True]),
        ("small.savedmodel", False, [None, None]),  # TensorFlow holds no call to the sizes
        ("small.keras", False, [None, None]),
    ],
)
def test_every_runtime_answers_what_it_can_do(files: Path, name: str, session: bool, refuses: list[bool]) -> None:
    found = run(files / name, 1)
    assert found["can"] == {"session": session, "refuses": refuses, "quantization": {}}
    assert found["prepared_gap"] < 1e-5


@pytest.mark.parametrize("name", ["small.onnx", "small.tflite"])
def test_no_tensorflow_for_onnx_and_tflite(files: Path, name: str) -> None:
    modules = set(run(files / name, 1)["modules"])
    assert not {"tensorflow", "keras"} & modules
    assert len({"onnxruntime", "ai_edge_litert"} & modules) == 1


def test_integers_and_several_outputs_by_name(files: Path) -> None:
    found = run(files / "pair.onnx", 2)
    assert [spec["dtype"] for spec in found["signature"]["inputs"]] == ["float32", "int32"]
    assert found["shapes"] == [{"first": [2, 3], "second": [2, 3]}]


def test_a_fixed_batch_is_fed_in_pieces(files: Path) -> None:
    found = run(files / "series.tflite", 1, 4)
    assert found["signature"]["inputs"][0]["shape"] == [1, 5, 3]
    assert found["shapes"] == [{"scores": [1, 2]}, {"scores": [4, 2]}]


@pytest.mark.parametrize("name", ["small.tflite", "small.keras"])
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_a_runtime_does_not_have_is_unavailable(files: Path, name: str, device: str) -> None:
    found = run(files / name, 1, device=device)
    assert found["error"] == "DeviceUnavailableError"
    assert name in found["message"]
    assert device in found["message"]


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_onnx_runtime_is_never_silently_the_cpu(files: Path, device: str) -> None:
    """Either the device really ran, or it is unavailable and the cause is named."""
    found = run(files / "small.onnx", 1, device=device)
    if "error" not in found:
        assert found["device"] == device
        return
    assert found["error"] == "DeviceUnavailableError"
    assert found["code"] == 4
    assert any(word in found["message"] for word in (".so", "CUDA", "has no", "Please install"))
    assert "pip install" in found["next"]


@pytest.mark.parametrize("name", ["small.onnx", "small.tflite"])
@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_damaged_files_are_refused(files: Path, tmp_path: Path, name: str, keep: float) -> None:
    content = (files / name).read_bytes()
    damaged = tmp_path / name
    damaged.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    found = run(damaged, 1)
    assert found["error"] == "RefusedError"
    assert name in found["message"]


def test_a_damaged_saved_model_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model.savedmodel"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"no protobuf at all")
    assert run(folder, 1)["error"] == "RefusedError"


def test_paths_without_a_runtime(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError):
        open_artifact(tmp_path / "none.onnx")
    with pytest.raises(RefusedError):
        runtime_name(tmp_path / "notes.txt")
    with pytest.raises(RefusedError):
        runtime_name(tmp_path)  # a folder that is no SavedModel


def test_an_index_out_of_a_table_says_which_inputs_to_give() -> None:
    # in the words of TensorFlow 2.21
    said = "Graph execution error: indices[3,1] = -1 is not in [0, 20) [[{{node sequential/embedding}}]]"
    with pytest.raises(StepError) as caught:
        failed(Path("m"), RuntimeError(said))
    assert "from 0 to 19" in caught.value.next_step


def test_a_cause_is_found_behind_anything() -> None:
    with pytest.raises(StepError) as caught:
        failed(Path("m"), RuntimeError(f"Graph {'x' * 900} indices[3,1] = -1 is not in [0, 20)"))
    assert caught.value.message.endswith("indices[3,1] = -1 is not in [0, 20)")
    assert "from 0 to 19" in caught.value.next_step
