"""Foreign sources through the real command, from file to bundle; the files are those of make_sources.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAKE = Path(__file__).parents[1] / "converters" / "checkpoints" / "make_sources.py"


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    subprocess.run([sys.executable, str(MAKE), str(folder)], check=True, capture_output=True)
    return folder


def test_custom_layers_and_what_the_manifest_says(edgeport: Any, foreign: Path, tmp_path: Path) -> None:
    made = edgeport(
        "run",
        foreign / "custom.keras",
        "-o",
        tmp_path / "out",
        "-f",
        "onnx",
        "--max-seconds",
        "1",
        "--json",
        "--custom-objects",
        "shop:Halve",
        cwd=foreign,
    )
    assert made.code == 0, made.stderr
    assert made.document["source"]["opening"] == {"custom_objects": ["shop:Halve"], "unsafe": True}
    (verdict,) = made.document["verdicts"]
    assert verdict["outputs"][0]["noise_ratio"] is not None, "a custom layer that runs in float64 has an oracle"
    assert edgeport("verify", tmp_path / "out").code == 0


def test_options_for_another_kind_of_source_are_refused(edgeport: Any, foreign: Path, tmp_path: Path) -> None:
    code = f"{foreign / 'shop.py'}:plain"
    for option in (("--signature", "double"), ("--graph-output", "y"), ("--model-code", code)):
        ran = edgeport("export", foreign / "functional.h5", "-o", tmp_path / "out", "--json", *option)
        assert ran.code == 2, ran.stdout
        assert option[0] in ran.document["error"]["message"]


@pytest.mark.slow
def test_layers_and_faults_of_a_source_that_needs_options(edgeport: Any, foreign: Path, tmp_path: Path) -> None:
    custom = ("--custom-objects", "shop:Halve")
    made = edgeport("export", "custom.keras", "-o", tmp_path / "out", "-f", "onnx", "--json", *custom, cwd=foreign)
    assert made.code == 0, made.stderr
    artifact = tmp_path / "out" / made.document["artifacts"][0]["path"]
    found = edgeport("localize", "custom.keras", artifact, "--json", *custom, cwd=foreign)
    assert (found.code, found.document["first_divergent_layer"]) == (0, None), found.stderr
    tested = edgeport("validate", "custom.keras", "--self-test", "-f", "onnx", "--json", *custom, cwd=foreign)
    assert tested.code in (0, 1), tested.stderr  # 1: a fault that these inputs do not show
    assert any(row["subject"] == "onnx" and row["status"] == "caught" for row in tested.document["mutants"])
    refused = edgeport("localize", "frozen.pb", artifact, "--json", cwd=foreign)
    assert (refused.code, "no Keras checkpoint" in refused.document["error"]["message"]) == (3, True)


ROADS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "functional.h5": ((), "h5", "weightless"),
    "lambda.h5": (("--replace", "scale=rescaling:1/255"), "h5", "weightless"),
    "code.keras": (("--allow-unsafe",), "keras", "weightless"),
    "bare.weights.h5": (("--model-code", "shop.py:plain"), "weights_h5", "weightless"),
    "today": (("--model-code", "shop:plain"), "tf_checkpoint", "weightless"),
    "module": ((), "savedmodel", "frozen"),
    "several": (("--signature", "triple"), "savedmodel", "frozen"),
    "slots": ((), "savedmodel", "frozen"),
    "version1": ((), "savedmodel", "frozen"),
    "frozen.pb": ((), "frozen_graph", "frozen"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROADS)
def test_every_source_from_file_to_bundle(edgeport: Any, foreign: Path, tmp_path: Path, name: str) -> None:
    options, kind, road = ROADS[name]
    seen = edgeport("inspect", name, "--json", *options, cwd=foreign)
    assert seen.code == 0, seen.stderr
    ran = edgeport("run", name, "-o", tmp_path / "out", "--max-seconds", "1", "--json", *options, cwd=foreign)
    assert ran.code == 0, ran.stderr
    assert {v["status"] for v in ran.document["verdicts"]} == {"agree"}
    assert ran.document["source"]["kind"] == kind
    roads = {a["format"]: a["road"] for a in ran.document["artifacts"]}
    assert set(roads) == {"savedmodel", "tflite", "onnx"}
    assert roads["onnx"] == road
    again = edgeport("validate", name, tmp_path / "out", "--json", *options, cwd=foreign)
    assert again.code == 0, again.stderr
    assert {v["status"] for v in again.document["verdicts"]} == {"agree"}


@pytest.mark.slow
def test_finished_files_give_further_precisions(edgeport: Any, digits: Any, examples: Path, tmp_path: Path) -> None:
    folder, _ = digits
    for suffix in ("tflite", "onnx"):
        source = folder / f"digits_se_inception.float32.{suffix}"
        ran = edgeport(
            "run",
            source,
            "-o",
            tmp_path / suffix,
            "-p",
            "float32",
            "-p",
            "int8",
            "--max-seconds",
            "1",
            "--json",
            "--calibration",
            examples / "digits_calibration.npz",
            "--inputs",
            examples / "digits.npz",
        )
        assert ran.code == 0, ran.stderr
        names = [f"digits_se_inception.{precision}.{suffix}" for precision in ("float32", "int8")]
        assert [a["path"] for a in ran.document["artifacts"]] == names
        assert ran.document["artifacts"][0]["road"] == "the source itself"
        assert {v["status"] for v in ran.document["verdicts"]} == {"agree"}
        wrong = edgeport("export", source, "-o", tmp_path / "no", "-f", "savedmodel", "--json")
        assert wrong.code == 2, wrong.stdout
