"""What a model file calls its tensors opens nothing: workers see what was granted, whatever their request says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from converters.isolation import sandbox

Edgeport = Callable[..., Any]

SPY = """#!/bin/bash
# Writes down what each worker is shown, and tries to read the secret in its place.
before=()
for word in "$@"; do
  [ "$word" = -- ] && break
  before+=("$word")
done
printf '%s\\n' "${before[@]}" >> "$SPIED"
if [ "$REAL" != none ]; then
  "$REAL" "${before[@]}" -- /bin/cat "$SECRET" >> "$LEAKED" 2> /dev/null
  exec "$REAL" "$@"
fi
exec "${@:${#before[@]}+2}"
"""
"""Stands in the place of bwrap: before the real one, or, where there is none, with no sandbox at all."""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret" / "id"
    path.parent.mkdir()
    path.write_text("the key")
    return path


@pytest.fixture
def hostile(tmp_path: Path, secret: Path) -> Path:
    """A model whose input and output are named after a file of the user's."""
    name, answer = str(secret), f"{secret.parent}/answer"
    given = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4])
    gives = helper.make_tensor_value_info(answer, TensorProto.FLOAT, ["batch", 4])
    graph = helper.make_graph([helper.make_node("Relu", [name], [answer])], "g", [given], [gives])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "models" / "hostile.onnx"
    path.parent.mkdir()
    onnx.save(model, path)
    return path


@pytest.fixture
def spy(tmp_path: Path, secret: Path) -> dict[str, str]:
    """The environment in which bwrap is spied on."""
    real = "none" if sandbox.unavailable() else str(shutil.which("bwrap"))
    program = tmp_path / "bin" / "bwrap"
    program.parent.mkdir()
    program.write_text(SPY)
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "REAL": real,
        "SECRET": str(secret),
        "SPIED": str(tmp_path / "spied"),
        "LEAKED": str(tmp_path / "leaked"),
    }


def test_a_tensor_named_like_a_path_opens_no_folder(
    edgeport: Edgeport, hostile: Path, secret: Path, spy: dict[str, str], tmp_path: Path
) -> None:
    twin = hostile.with_name("twin.onnx")
    shutil.copyfile(hostile, twin)
    ran = edgeport("validate", hostile, twin, "--sandbox", "require", "--json", **spy)
    assert ran.code == 0, ran.stderr
    (verdict,) = ran.document["verdicts"]
    assert (verdict["status"], verdict["outputs"][0]["name"]) == ("agree", f"{secret.parent}/answer")
    shown = Path(spy["SPIED"]).read_text().splitlines()
    assert not [place for place in shown if place.startswith(str(secret.parent))]
    assert str(hostile) in shown, "no worker was spied on"
    assert str(hostile.parent) not in shown, "the model's neighbours are shown too"
    leaked = Path(spy["LEAKED"])
    assert leaked.exists() == (spy["REAL"] != "none")
    assert not leaked.exists() or leaked.read_text() == ""
