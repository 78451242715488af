"""The arena that is proposed, held against TensorFlow Lite for Microcontrollers itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tflite_micro", reason="needs tflite_micro: pip install tflite-micro")

_START = """
import sys
from tflite_micro.python.tflite_micro import runtime

runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).invoke()
"""


def _starts(path: Path, arena: int) -> bool:
    line = [sys.executable, "-c", _START, str(path), str(arena)]
    return subprocess.run(line, capture_output=True, check=False, timeout=120).returncode == 0


def test_the_proposed_arena_is_enough_and_not_twice_too_much(examples: Path, tmp_path: Path, edgeport: Any) -> None:
    output = tmp_path / "board"
    edgeport(
        "export",
        examples / "digits_se_inception.keras",
        "-o",
        output,
        "--profile",
        "microcontroller",
        "--calibration",
        examples / "digits_calibration.npz",
    )
    (path,) = output.glob("*.int8.tflite")
    (header,) = (output / "microcontroller").glob("*_model.h")
    arena = int(header.read_text().split("ArenaSize = ")[1].split(";")[0])
    assert _starts(path, arena)
    assert not _starts(path, arena // 2)
