"""Real checkpoints of other kinds through the real command: what works, what is partial, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def formats(document: dict[str, Any]) -> list[str]:
    return [artifact["format"] for artifact in document["artifacts"]]


@pytest.mark.parametrize("source", ["plain.keras", "plain.h5", "plain_saved_model"])
def test_the_same_model_from_three_kinds_of_checkpoint(
    edgeport: Any, checkpoints: Path, tmp_path: Path, source: str
) -> None:
    ran = edgeport("run", checkpoints / source, "-o", tmp_path / "out", "--max-seconds", "3", "--json")
    assert ran.code == 0, ran.stderr
    assert formats(ran.document) == ["savedmodel", "tflite", "onnx"]
    assert {v["status"] for v in ran.document["verdicts"]} == {"agree"}
    roads = {a["format"]: a["road"] for a in ran.document["artifacts"]}
    assert roads["onnx"] == ("frozen" if "saved_model" in source else "weightless")


def test_what_tflite_lacks_is_named_and_the_rest_is_made(edgeport: Any, checkpoints: Path, tmp_path: Path) -> None:
    ran = edgeport("export", checkpoints / "flex.keras", "-o", tmp_path / "out", "--json")
    assert ran.code == 10, ran.stderr
    assert formats(ran.document) == ["savedmodel", "onnx"]
    (failure,) = ran.document["failures"]
    assert (failure["format"], failure["status"]) == ("tflite", "unsupported")
    assert "MatrixDeterminant" in failure["reason"]
    assert edgeport("verify", tmp_path / "out").code == 0


def test_flex_operations_come_only_when_asked_for(edgeport: Any, checkpoints: Path, tmp_path: Path) -> None:
    ran = edgeport("export", checkpoints / "flex.keras", "-o", tmp_path / "out", "-f", "tflite", "--allow-flex")
    assert ran.code == 0, ran.stderr
    seen = edgeport("inspect", tmp_path / "out" / "flex.float32.tflite", "--json").document
    assert seen["flex_ops"] == ["FlexMatrixDeterminant"]


def test_a_recurrent_model_gets_a_tflite_of_one_and_says_so(edgeport: Any, checkpoints: Path, tmp_path: Path) -> None:
    ran = edgeport("run", checkpoints / "recurrent.keras", "-o", tmp_path / "out", "--max-seconds", "3", "--json")
    assert ran.code == 0, ran.stderr
    tflite = next(a for a in ran.document["artifacts"] if a["format"] == "tflite")
    assert tflite["signature"]["inputs"][0]["shape"] == [1, 6, 3]
    assert "batch of 1" in " ".join(tflite["notes"])
    assert ran.document["signature"]["inputs"][0]["shape"] == ["batch", 6, 3]


def test_a_dead_model_is_inconclusive_not_passed(edgeport: Any, checkpoints: Path, tmp_path: Path) -> None:
    ran = edgeport("run", checkpoints / "dead.keras", "-o", tmp_path / "out", "--max-seconds", "2", "--json")
    assert ran.code == 1, ran.stderr
    assert {v["status"] for v in ran.document["verdicts"]} == {"inconclusive"}
    allowed = edgeport(
        "run", checkpoints / "dead.keras", "-o", tmp_path / "out", "--max-seconds", "2", "--allow-inconclusive"
    )
    assert allowed.code == 0, allowed.stderr


def test_weights_need_an_architecture_and_then_work(edgeport: Any, tmp_path: Path, examples: Path) -> None:
    import zipfile

    weights = tmp_path / "digits.weights.h5"
    with zipfile.ZipFile(examples / "digits_se_inception.keras") as archive:
        weights.write_bytes(archive.read("model.weights.h5"))
    refused = edgeport("run", weights, "-o", tmp_path / "out", "--json")
    assert refused.code == 3
    assert "--architecture" in refused.document["error"]["next"]
    ran = edgeport(
        "export", weights, "--architecture", "digits_se_inception", "-f", "onnx", "-o", tmp_path / "out", "--json"
    )
    assert ran.code == 0, ran.stderr
    assert ran.document["artifacts"][0]["path"] == "digits.float32.onnx"


@pytest.mark.parametrize(
    "name",
    [
        "inception_module",
        "residual_module",
        "se_googlenet",
        "se_inception_v3",
        "mobilenet_v2",
        "efficientnet_b0",
        "resnet50_v2",
        "densenet121",
        "inception_v3",
        "mobilenet_v3_small",
        "xception",
        "efficientnet_v2_b0",
    ],
)
@pytest.mark.slow
def test_every_architecture_converts_and_agrees(edgeport: Any, tmp_path: Path, name: str) -> None:
    ran = edgeport("run", name, "-o", tmp_path / "out", "--max-seconds", "3", "--samples", "4", "--json")
    assert ran.code == 0, ran.stderr
    assert formats(ran.document) == ["savedmodel", "tflite", "onnx"]
    assert {v["status"] for v in ran.document["verdicts"]} == {"agree"}
    seen = edgeport("inspect", tmp_path / "out" / f"{name}.float32.tflite", "--json").document
    assert not {"SHAPE", "PACK"} & set(seen["ops"])
