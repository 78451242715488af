"""`--bake-preprocess`: pixels in, the checkpoint's own answers out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.manifest.reader import load
from exporter.report.commands import commands

MODEL = "digits_se_inception"


@pytest.mark.slow
def test_every_artifact_takes_pixels_and_answers_like_the_checkpoint(
    edgeport: Any, examples: Path, tmp_path: Path
) -> None:
    ran = edgeport(
        "run",
        examples / f"{MODEL}.keras",
        "-o",
        tmp_path / "out",
        "-f",
        "savedmodel",
        "-f",
        "tflite",
        "-f",
        "onnx",
        "-f",
        "ort",
        "-p",
        "float32",
        "--bake-preprocess",
        "--inputs",
        examples / "digits.npz",
        "--max-seconds",
        "2",
        "--json",
    )
    assert ran.code == 0, ran.stderr
    manifest = ran.document
    assert {row["signature"]["inputs"][0]["dtype"] for row in manifest["artifacts"]} == {"uint8"}
    assert {row["status"] for row in manifest["verdicts"]} == {"agree"}
    assert all(row["outputs"][0]["accuracy"] > 0.98 for row in manifest["verdicts"])
    (image,) = manifest["contract"]["inputs"]
    assert (image["dtype"], image["scale"], image["in_model"]["layer"]) == ("uint8", 1, "rescale")
    with np.load(tmp_path / "out" / "golden.npz") as golden:
        assert golden["input/image"].dtype == np.uint8
    assert_the_commands_of_the_page_work(edgeport, tmp_path / "out")
    unbaked = edgeport("inspect", examples / f"{MODEL}.keras", "--json").document
    assert manifest["source"]["sha256"] == unbaked["sha256"]


def assert_the_commands_of_the_page_work(edgeport: Any, bundle: Path) -> None:
    again = commands(load(bundle / "manifest.json"))
    for name in ("agreement", "layers", "samples", "latency", "sizes", "verify"):
        program, *arguments = shlex.split(again[name])
        ran = edgeport(*arguments, *(("--max-seconds", "2") if name == "latency" else ()))
        assert (program, ran.code) == ("edgeport", 0), f"{again[name]}\n{ran.stderr}"
    assert again["agreement"].endswith("--bake-preprocess")


def test_nothing_to_bake_is_refused(edgeport: Any, checkpoints: Path, tmp_path: Path) -> None:
    source = checkpoints / "plain.keras"
    ran = edgeport("export", source, "-o", tmp_path / "out", "--bake-preprocess", "--json")
    assert ran.code == 3
    assert "no float input of three dimensions or more" in ran.document["error"]["message"]
    again = edgeport("export", source, "-o", tmp_path / "out", "--bake-preprocess", "--io", "int8", "--json")
    assert again.code == 2


def test_preprocessing_that_would_change_nothing_is_refused(edgeport: Any, checkpoints: Path) -> None:
    source = checkpoints / "plain.keras"
    ran = edgeport("validate", source, source, "--preprocess", "scale=1/255")
    assert ran.code == 2
    assert "--bake-preprocess" in ran.stderr
