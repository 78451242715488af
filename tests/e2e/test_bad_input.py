"""Bad input to the real command: exit code, one sentence with the cause, one with the next step, nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def _no_such(folder: Path, _: Path) -> list[Any]:
    return [folder / "missing.keras"]


def _text(folder: Path, _: Path) -> list[Any]:
    (folder / "notes.keras").write_text("not a checkpoint")
    return [folder / "notes.keras"]


def _truncated(suffix: str) -> Any:
    def make(folder: Path, checkpoints: Path) -> list[Any]:
        content = (checkpoints / f"plain{suffix}").read_bytes()
        (folder / f"cut{suffix}").write_bytes(content[: len(content) * 2 // 3])
        return [folder / f"cut{suffix}"]

    return make


def _checkpoint(name: str, *more: str) -> Any:
    return lambda folder, checkpoints: [checkpoints / f"{name}.keras", *more]


def _foreign_output(folder: Path, checkpoints: Path) -> list[Any]:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("mine")
    return [checkpoints / "plain.keras"]


def _wrong_arrays(folder: Path, checkpoints: Path) -> list[Any]:
    np.savez(folder / "wrong.npz", series=np.zeros((4, 6, 5), np.float32))
    return [checkpoints / "recurrent.keras", "--inputs", folder / "wrong.npz"]


CASES = {
    "no such path": (_no_such, 2, "missing.keras"),
    "text": (_text, 3, "notes.keras"),
    "truncated keras": (_truncated(".keras"), 3, "cut.keras"),
    "truncated h5": (_truncated(".h5"), 3, "cut.h5"),
    "lambda": (_checkpoint("scaling_lambda"), 3, "scale"),
    "custom layer": (_checkpoint("custom"), 3, "Doubling"),
    "unknown model": (lambda *_: ["se_inceptoin_v3"], 2, "se_inceptoin_v3"),
    "unknown format": (_checkpoint("plain", "-f", "tflight"), 2, "tflight"),
    "unknown precision": (_checkpoint("plain", "-p", "int9"), 2, "int9"),
    "unknown option": (_checkpoint("plain", "--fast"), 2, "--fast"),
    "unknown opset": (_checkpoint("plain", "-f", "onnx", "--opset", "7"), 2, "7"),
    "inputs of another shape": (_wrong_arrays, 2, "series has shape (4, 6, 5)"),
    "foreign output": (_foreign_output, 2, "out"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_two_sentences(case: str, edgeport: Any, checkpoints: Path, tmp_path: Path) -> None:
    make, code, named = CASES[case]
    arguments = make(tmp_path, checkpoints)
    before = sorted(tmp_path.rglob("*"))
    ran = edgeport("run", *arguments, "-o", tmp_path / "out", "--json")
    assert ran.code == code, ran.stderr
    error = ran.document["error"]
    assert error["code"] == code
    assert named in error["message"]
    assert error["next"].endswith((".", "?"))
    after = sorted(p for p in tmp_path.rglob("*") if not p.name.startswith(".out.lock"))
    assert after == before


def test_errors_without_json_go_to_stderr(edgeport: Any, tmp_path: Path) -> None:
    ran = edgeport("run", tmp_path / "missing.keras", "-o", tmp_path / "out")
    assert ran.code == 2
    assert ran.stdout == ""
    first, second = ran.stderr.strip().splitlines()
    assert first.startswith("edgeport: ")
    assert second.strip().startswith("next: ")


def test_a_required_device_that_is_missing_is_exit_4_and_the_bundle_is_kept(
    edgeport: Any, checkpoints: Path, tmp_path: Path
) -> None:
    ran = edgeport(
        "run",
        checkpoints / "plain.keras",
        "-f",
        "onnx",
        "-o",
        tmp_path / "out",
        "--require",
        "tensorrt",
        "--max-seconds",
        "2",
        "--json",
    )
    if ran.code == 0:
        pytest.skip("needs a machine without TensorRT")
    assert ran.code == 4
    assert "tensorrt" in ran.document["error"]["message"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {row["status"] for row in manifest["timings"] if row["device"] == "tensorrt"} == {"unavailable"}
