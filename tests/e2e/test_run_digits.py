"""The main job on the shipped example: the real command, the real runtimes, 500 real scans."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.manifest_schema import undescribed

Digits = tuple[Path, dict[str, Any]]


def test_three_artifacts_agree_and_classify_alike(digits: Digits) -> None:
    _, manifest = digits
    assert [a["format"] for a in manifest["artifacts"]] == ["savedmodel", "tflite", "onnx"]
    assert not manifest["failures"]
    assert len(manifest["verdicts"]) == 3
    for verdict in manifest["verdicts"]:
        (output,) = verdict["outputs"]
        assert verdict["status"] == "agree"
        assert verdict["samples"] == 500
        assert output["basis"] == "logits"
        assert output["top1_agreement"] == 1.0
        assert output["accuracy"] >= 0.975
        assert 0 < output["noise_ratio"] <= 4
        assert output["nonfinite"] == 0


def test_the_manifest_on_disk_is_the_document_and_fits_its_schema(digits: Digits) -> None:
    folder, manifest = digits
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert undescribed(manifest) == []
    assert str(folder.parent) not in json.dumps({k: v for k, v in manifest.items() if k != "tool"} | {"source": 0})


def test_every_artifact_has_the_checkpoint_s_signature(digits: Digits) -> None:
    _, manifest = digits
    expected = {
        "inputs": [{"name": "image", "shape": ["batch", 8, 8, 1], "dtype": "float32"}],
        "outputs": [{"name": "labels", "shape": ["batch", 10], "dtype": "float32"}],
    }
    assert manifest["signature"] == expected
    assert all(a["signature"] == expected for a in manifest["artifacts"])
    assert all(a["checked"] for a in manifest["artifacts"])


def test_the_golden_vectors_are_the_checkpoint_s(digits: Digits, examples: Path) -> None:
    folder, _ = digits
    golden = np.load(folder / "golden.npz")
    assert set(golden.files) == {"input/image", "output/labels"}
    with np.load(examples / "digits.npz") as data:
        np.testing.assert_array_equal(golden["input/image"], data["image"][: len(golden["input/image"])])
    np.testing.assert_allclose(golden["output/labels"].sum(axis=1), 1, rtol=1e-5)


def test_timings_have_samples_and_cuda_is_never_silently_the_cpu(digits: Digits) -> None:
    folder, manifest = digits
    on_cpu = [row for row in manifest["timings"] if row["device"] == "cpu"]
    assert [row["status"] for row in on_cpu] == ["ok"] * 3
    for row in on_cpu:
        assert row["p50_ms"]["value"] > 0
        assert row["load_ms"] > 0
        assert row["first_ms"] > 0
        assert row["peak_rss_bytes"] > 0
    saved = sorted((folder / "latency").iterdir())
    assert sum(len(np.load(p)) for p in saved) == sum(row["samples"] for row in on_cpu) > 0
    on_cuda = [row for row in manifest["timings"] if row["device"] == "cuda"]
    assert on_cuda
    for row in on_cuda:
        assert row["status"] == "unavailable" or row["p50_ms"]
        assert row["status"] == "ok" or row["reason"]


def test_a_bundle_verifies_and_runs_again(digits: Digits, edgeport: Any) -> None:
    folder, _ = digits
    ran = edgeport("verify", folder, "--execute", "--json")
    assert ran.code == 0, ran.stdout
    assert ran.document == {"ok": True, "problems": []}


@pytest.mark.parametrize("name", ["digits_se_inception.float32.onnx", "report.html", "golden.npz", "edgeport.log"])
def test_one_changed_byte_is_found_and_named(digits: Digits, edgeport: Any, tmp_path: Path, name: str) -> None:
    folder, _ = digits
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    ran = edgeport("verify", copy, "--json")
    assert ran.code == 8
    assert [problem["path"] for problem in ran.document["problems"]] == [name]


def test_the_report_can_be_written_again(digits: Digits, edgeport: Any, tmp_path: Path) -> None:
    folder, _ = digits
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = (copy / "report.html").read_bytes()
    (copy / "report.html").write_text("lost")
    assert edgeport("report", copy).code == 0
    assert (copy / "report.html").read_bytes() == before
    assert edgeport("verify", copy).code == 0


def test_validate_and_bench_take_the_bundle(digits: Digits, edgeport: Any, examples: Path) -> None:
    folder, _ = digits
    ran = edgeport("validate", examples / "digits_se_inception.keras", folder, "--json")
    assert ran.code == 0, ran.stderr
    assert {v["status"] for v in ran.document["verdicts"]} == {"agree"}
    assert len(ran.document["verdicts"]) == 3
    ran = edgeport("bench", folder / "digits_se_inception.float32.onnx", "--max-seconds", "2", "--json")
    assert ran.code == 0, ran.stderr
    (row,) = ran.document["timings"]
    assert row["status"] == "ok"
