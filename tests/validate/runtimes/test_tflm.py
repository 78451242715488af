"""TensorFlow Lite for Microcontrollers on real files: LiteRT's answers, the least arena, refusals in its own words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters.errors import RefusedError
from validate.runtimes import Device, DeviceUnavailableError, RuntimeOptions, open_artifact
from validate.runtimes.quantized import dequantized
from validate.runtimes.tflm_arena import in_child, least_number

from .stateful_file import INPUTS, STEPS, stateful_lstm

pytest.importorskip("tflite_micro", reason="needs the extra `tflm`")

TFLM = RuntimeOptions(device=Device.TFLM)
IMAGES = np.random.default_rng(0).uniform(0, 9, (6, 16, 16, 3)).astype(np.float32)


def test_a_float_file_gives_what_litert_gives_sample_by_sample(files: Path) -> None:
    here, there = open_artifact(files / "small.tflite"), open_artifact(files / "small.tflite", TFLM)
    assert there.signature.inputs[0].shape == (1, 16, 16, 3)
    assert there.signature.input_names == here.signature.input_names
    np.testing.assert_allclose(there.run({"image": IMAGES})["labels"], here.run({"image": IMAGES})["labels"], atol=1e-6)
    assert there.refuses({"image": IMAGES[:1]}) is False
    assert there.refuses({"image": IMAGES[:1, :15]}) is True


def test_integers_go_in_and_out_with_their_scales(files: Path) -> None:
    path = files / "small.int8.tflite"
    here, there = open_artifact(path), open_artifact(path, TFLM)
    assert there.quantization == here.quantization
    scale, zero = there.quantization["image"]
    codes = np.clip(np.round(IMAGES / scale) + zero, -128, 127).astype(np.int8)
    found, wanted = (dequantized(r, "labels", r.run({"image": codes})["labels"]) for r in (there, here))
    np.testing.assert_allclose(found, wanted, atol=2.5 * there.quantization["labels"][0])


def test_what_keeps_a_state_begins_every_run_anew(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(stateful_lstm())
    runtime = open_artifact(tmp_path / "m.tflite", TFLM)
    x = np.random.default_rng(1).normal(size=(3, STEPS, INPUTS)).astype(np.float32)
    together = runtime.run({"x": x})["y"]
    np.testing.assert_array_equal(together[2:], runtime.run({"x": x[2:]})["y"])
    here = open_artifact(tmp_path / "m.tflite").run({"x": x})["y"]
    np.testing.assert_allclose(together, here, atol=1e-5)


STARTS = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).invoke()
"""


@pytest.mark.parametrize("name", ["small.tflite", "small.int8.tflite", "series.tflite"])
def test_the_arena_is_the_least_that_starts(files: Path, name: str) -> None:
    """In processes of their own, which share nothing with those in which it was sought."""
    arena = open_artifact(files / name, TFLM).arena
    assert arena is not None
    assert arena.recorded == arena.head + arena.tail
    assert arena.recorded <= arena.least  # what the planner takes while it plans is not recorded
    for size, starts in ((arena.least, True), (arena.least - 16, False)):
        command = [sys.executable, "-c", STARTS, str(files / name), str(size)]
        assert (subprocess.run(command, capture_output=True, check=False).returncode == 0) is starts


def test_the_host_measures_no_arena(files: Path) -> None:
    assert open_artifact(files / "small.tflite").arena is None


@pytest.mark.parametrize("least", [1, 2, 37, 1000])
@pytest.mark.parametrize("guess", [1, 36, 37, 38, 900, 5000])
def test_the_least_is_found_from_any_guess(least: int, guess: int) -> None:
    asked: list[int] = []

    def starts(number: int) -> bool:
        asked.append(number)
        return number >= least

    assert least_number(starts, guess) == least
    assert min(asked) > 0
    assert len(asked) < 40


def test_bytes_that_are_no_model_are_refused(files: Path, tmp_path: Path) -> None:
    content = (files / "small.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    with pytest.raises(RefusedError, match=r"cut\.tflite"):
        open_artifact(tmp_path / "cut.tflite", TFLM)


def test_only_tflite_files_have_a_place_there(files: Path) -> None:
    with pytest.raises(DeviceUnavailableError, match="tflite files alone"):
        open_artifact(files / "small.onnx", TFLM)


def test_a_child_that_is_ended_says_by_what_and_what_it_said_before() -> None:
    def dies() -> None:
        os.write(2, b"beyond\nits range")
        os.kill(os.getpid(), signal.SIGABRT)

    found = in_child(dies)
    assert not found.ok
    assert found.ended == "SIGABRT"
    assert found.words == "beyond its range"
