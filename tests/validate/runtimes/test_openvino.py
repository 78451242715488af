"""OpenVINO on real files: the answers of their own runtimes, and what it computes in when it is told nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters.errors import RefusedError
from validate.runtimes import Device, DeviceUnavailableError, RuntimeOptions, open_artifact

pytest.importorskip("openvino", reason="needs the extra `openvino`")

IMAGES = np.random.default_rng(0).uniform(0, 9, (6, 16, 16, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["small.onnx", "small.tflite"])
def test_told_float32_it_gives_what_the_file_s_own_runtime_gives(files: Path, name: str) -> None:
    here = open_artifact(files / name)
    there = open_artifact(files / name, RuntimeOptions(device=Device.OPENVINO, float32=True))
    assert there.signature == here.signature
    assert there.arithmetic is None
    found, wanted = there.run({"image": IMAGES}), here.run({"image": IMAGES})
    np.testing.assert_allclose(found["labels"], wanted["labels"], atol=1e-6)
    call, read = there.prepared({"image": IMAGES[:1]})
    np.testing.assert_allclose(read(call())["labels"], wanted["labels"][:1], atol=1e-6)
    assert there.refuses({"image": IMAGES}) is False
    assert there.refuses({"image": IMAGES[:, :15]}) is True


@pytest.mark.parametrize("name", ["small.onnx", "small.tflite"])
def test_told_nothing_its_answers_are_those_of_the_arithmetic_that_it_names(files: Path, name: str) -> None:
    default = open_artifact(files / name, RuntimeOptions(device=Device.OPENVINO))
    told = open_artifact(files / name, RuntimeOptions(device=Device.OPENVINO, float32=True))
    gap = np.abs(default.run({"image": IMAGES})["labels"] - told.run({"image": IMAGES})["labels"]).max()
    assert (gap > 0) == (default.arithmetic is not None)
    assert gap < 0.05


def test_inputs_and_outputs_of_several_types_go_by_name(files: Path) -> None:
    here = open_artifact(files / "pair.onnx")
    there = open_artifact(files / "pair.onnx", RuntimeOptions(device=Device.OPENVINO, float32=True))
    assert there.signature == here.signature
    assert {spec.dtype for spec in here.signature.inputs} == {"float32", "int32"}
    feeds = {spec.name: np.ones(spec.concrete(2), spec.dtype) for spec in here.signature.inputs}
    for name, values in here.run(feeds).items():
        np.testing.assert_allclose(there.run(feeds)[name], values, atol=1e-6)


def test_a_fixed_batch_is_fed_in_pieces(files: Path) -> None:
    values = np.random.default_rng(1).normal(size=(4, 5, 3)).astype(np.float32)
    here, there = (
        open_artifact(files / "series.tflite", RuntimeOptions(device=device, float32=True))
        for device in (Device.CPU, Device.OPENVINO)
    )
    (name,) = here.signature.input_names
    np.testing.assert_allclose(there.run({name: values})["scores"], here.run({name: values})["scores"], atol=1e-5)


@pytest.mark.parametrize(("name", "content"), [("x.onnx", "small.tflite"), ("x.tflite", "small.onnx")])
def test_bytes_of_another_format_are_refused(files: Path, tmp_path: Path, name: str, content: str) -> None:
    """A front end is chosen by the format, so that no other is tried on bytes that may be hostile."""
    (tmp_path / name).write_bytes((files / content).read_bytes())
    with pytest.raises(RefusedError, match=r"x\."):
        open_artifact(tmp_path / name, RuntimeOptions(device=Device.OPENVINO))


def test_a_saved_model_has_no_place_there(files: Path) -> None:
    with pytest.raises(DeviceUnavailableError, match="onnx and tflite"):
        open_artifact(files / "small.savedmodel", RuntimeOptions(device=Device.OPENVINO))


LISTENING = """
import sys
from pathlib import Path
used = []
sys.addaudithook(lambda event, _: used.append(event) if event.startswith(("socket.", "urllib.", "http.")) else None)
import numpy as np
from validate.runtimes import Device, RuntimeOptions, open_artifact
runtime = open_artifact(Path(sys.argv[1]), RuntimeOptions(device=Device.OPENVINO))
runtime.run({"image": np.zeros((1, 16, 16, 3), np.float32)})
print("RESULT", sorted(set(used)))
"""


def test_nothing_is_told_to_anybody(files: Path) -> None:
    """OpenVINO's packages bring a telemetry: no socket is made from its import to an answer."""
    command = [sys.executable, "-c", LISTENING, str(files / "small.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "RESULT []"
