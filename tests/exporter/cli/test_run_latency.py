"""`edgeport run` takes the session settings of `bench`, and its manifest says what they came to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.cli.main import run

DIGITS = Path(__file__).parents[3] / "examples" / "digits_se_inception.keras"


def manifest_of(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> dict[str, Any]:
    words = ["run", str(DIGITS), "-o", str(folder), "-f", "onnx", "--threads", "1", "--samples", "8", "--json", "-q"]
    assert run([*words, *more]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_settings_percentiles_and_profiles_stand_in_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--graph", "basic", "--graph", "all", "--profile-ops", "--cold", "2", "--max-seconds", "8")
    manifest = manifest_of(capsys, tmp_path / "out", *more)
    assert [row["variant"] for row in manifest["timings"]] == ["graph basic", ""]
    for row in manifest["timings"]:
        assert row["cold_starts"] == 2
        for name in ("p50", "p90", "p95", "p99"):
            interval = row[f"{name}_ms"]
            known = f"{name}_too_few_samples" not in row["flags"]
            assert (interval["low"] is not None) == (interval["high"] is not None) == known
            assert not known or interval["low"] <= interval["value"] <= interval["high"]
    for profile in manifest["environment"]["profiles"]:
        assert {"inception1_3x3", "stem"} & {group["name"] for group in profile["layers"]}
        assert {group["name"] for group in profile["kinds"]} >= {"convolution", "dense"}
        assert profile["macs"] > 0
        assert "nodes" not in profile
    (peak,) = manifest["environment"]["peaks"]
    assert peak["macs_per_s"] > 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


@pytest.mark.slow
def test_tuned_settings_stand_in_the_manifest_as_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = manifest_of(capsys, tmp_path / "out", "--tune", "--max-seconds", "20")
    (settings,) = manifest["recommended"]["settings"].values()
    assert "onnxruntime" in settings["code"]
    assert settings["threads"] >= 1
    assert len(manifest["timings"]) >= 4
