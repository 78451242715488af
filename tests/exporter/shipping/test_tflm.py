"""The arena that is proposed, held against TensorFlow Lite for Microcontrollers itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converters.artifact import Artifact
from converters.contract import Contract
from converters.formats import Format, Precision
from converters.signature import Signature
from exporter.shipping.microcontroller import write_microcontroller

pytest.importorskip("tflite_micro", reason="needs the extra `tflm`")

_START = """
import sys
from tflite_micro.python.tflite_micro import runtime

runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).invoke()
"""


def _starts(path: Path, arena: int) -> bool:
    line = [sys.executable, "-c", _START, str(path), str(arena)]
    return subprocess.run(line, capture_output=True, check=False, timeout=120).returncode == 0


@pytest.fixture(scope="module")
def board(examples: Path, tmp_path_factory: pytest.TempPathFactory, edgeport: Any) -> tuple[Path, Any]:
    output = tmp_path_factory.mktemp("board") / "out"
    made = edgeport(
        "export", examples / "digits_se_inception.keras", "-o", output, "--json", "--profile", "microcontroller",
        "--calibration", examples / "digits_calibration.npz",
    )  # fmt: skip
    assert made.code == 0, made.stderr
    return output, made.document


def test_the_header_s_arena_starts_and_two_hundredths_less_does_not(board: tuple[Path, Any]) -> None:
    output, document = board
    (path,) = output.glob("*.int8.tflite")
    (header,) = (output / "microcontroller").glob("*_model.h")
    text = header.read_text()
    arena = int(text.split("ArenaSize = ")[1].split(";")[0])
    assert _starts(path, arena)
    assert not _starts(path, arena * 98 // 100)
    (row,) = document["shipping"]["microcontroller"]
    assert (row["arena"]["basis"], row["arena"]["bytes"]) == ("measured", arena)
    assert f"starts the\n// model in {row['arena']['least_bytes']} bytes" in text


def test_what_it_starts_passes_the_gate_of_boards(board: tuple[Path, Any]) -> None:
    (row,) = board[1]["artifacts"]
    assert [(gate["gate"], gate["passed"]) for gate in row["gates"]] == [("microcontroller", True)]


def test_what_it_refuses_fails_its_gate_in_its_own_words_and_is_not_packed(tmp_path: Path, edgeport: Any) -> None:
    import keras

    entry = keras.Input((8,))
    hidden = keras.layers.Dense(4, activation="gelu")(entry)
    keras.Model(entry, keras.layers.Dense(2)(hidden)).save(tmp_path / "gelu.keras")
    output = tmp_path / "out"
    made = edgeport(
        "export", tmp_path / "gelu.keras", "-o", output, "--profile", "microcontroller", "--calibration", "random"
    )
    assert made.code == 1
    assert "Didn't find op for builtin opcode 'GELU'" in made.stderr + made.stdout
    assert "Nothing was packed for microcontroller" in made.stderr + made.stdout
    assert not (output / "microcontroller").exists()
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["shipping"]["microcontroller"] == []
    assert manifest["shipping"]["left_out"] == ["gelu.int8.tflite"]


def test_where_it_is_not_installed_the_arena_is_an_estimate_and_says_so(
    board: tuple[Path, Any], tmp_path: Path
) -> None:
    (path,) = board[0].glob("*.int8.tflite")
    artifact = Artifact(path, Format.TFLITE, Precision.INT8, Signature((), ()), path.stat().st_size, "")
    row = write_microcontroller(tmp_path, "digits", artifact, Contract((), ()), None)
    assert row["arena"]["basis"] == "estimated"
    assert row["arena"]["bytes"] > board[1]["shipping"]["microcontroller"][0]["arena"]["least_bytes"]
    text = (tmp_path / "digits_model.h").read_text()
    assert "An ESTIMATE, since tflite-micro was not there" in text
    assert f"ArenaSize = {row['arena']['bytes']};" in text
