"""`edgeport models` and `edgeport build` as people call them."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys

import pytest

from exporter.cli.main import run
from exporter.models.table import ARCHITECTURES


def test_models_lists_the_table(capsys):
    assert run(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(ARCHITECTURES)
    shown = {row["name"]: row for row in rows}["se_inception_v3"]
    assert (shown["input_shape"], shown["parameters"]) == ([224, 224, 3], 22_364_081)
    assert "arXiv:1709.01507" in shown["source"]
    assert run(["models", "-v"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ARCHITECTURES)
    assert "reduction_ratio=16" in text


def test_build_says_path_and_parameters(tmp_path, capsys):
    target = tmp_path / "m.keras"
    assert run(["build", "residual_module", "-o", str(target), "--input-shape", "16,16,5"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{target}: residual_module, 230 parameters\n"
    assert "building residual_module" in shown.err
    assert run(["build", "residual_module", "-o", str(target), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["file"]) == (2, str(target))
    assert run(["build", "residual_module", "-o", str(target), "--json", "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 84


def test_an_interrupted_build_leaves_nothing(tmp_path):
    target = tmp_path / "m.keras"
    command = [sys.executable, "-m", "exporter.cli.main", "build", "digits_se_inception", "-o", str(target)]
    listen = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # CI may run us deaf to it
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listen) as process:
        assert "loading TensorFlow" in process.stderr.readline()  # the worker is at work
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["resnet50v2"], "Did you mean `resnet50_v2`?"),
        (["residual_module", "--input-shape", "16,16"], "is not H,W,C"),
        (["residual_module", "--set", "warm"], "is not KEY=VALUE"),
        (["residual_module", "--set", "depth=3"], "no setting `depth`"),
        (["residual_module", "--classes", "many"], "--classes"),
    ],
)
def test_bad_usage_is_exit_2_and_writes_nothing(tmp_path, capsys, arguments, part):
    assert run(["build", *arguments, "-o", str(tmp_path / "m.keras")]) == 2
    shown = capsys.readouterr()
    assert part in shown.err
    assert shown.out == ""
    assert list(tmp_path.iterdir()) == []
