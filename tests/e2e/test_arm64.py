"""The shipped example judged on an emulated Arm, beside the host, in one command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from validate.targets.environment import RECORD

from ..conftest import Edgeport

ARM = "arm64:cortex-a76"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, shared_targets: Path, examples: Path, edgeport: Edgeport) -> Path:
    folder = tmp_path_factory.mktemp("arm64") / "out"
    ran = edgeport(
        *("run", examples / "digits_se_inception.keras", "-o", folder, "-f", "tflite", "-f", "onnx", "-p", "float32"),
        *("-p", "int8", "--calibration", examples / "digits_calibration.npz", "--samples", "4", "--max-seconds", "2"),
        *("--on", "host", "--require", "arm64"),
        EDGEPORT_TARGETS=str(shared_targets),
    )
    assert ran.code == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    return parsed


def test_every_file_is_judged_there_too(manifest: dict[str, Any]) -> None:
    rows = {(v["artifact"].partition(".")[2], v["target"]): v for v in manifest["verdicts"]}
    assert len(rows) == 8
    assert all(row["status"] == "agree" for row in rows.values())
    for (name, target), row in rows.items():
        assert row["emulated"] == (target == ARM)
        here = rows[name, "host"]
        assert row["runtime_version"] == here["runtime_version"]
        if name.startswith("int8") and target == ARM:
            assert row["same_as"] == "host, default"


def test_none_is_timed_there_and_each_says_why(manifest: dict[str, Any]) -> None:
    timings = [row for row in manifest["timings"] if row["target"] == ARM]
    assert len(timings) == 4
    for row in timings:
        assert (row["status"], row["kind"], row["p50_ms"]) == ("untimed", "never", None)
        assert "never timed" in row["reason"]
    assert all(row["p50_ms"] for row in manifest["timings"] if row["target"] == "host")


def test_the_page_says_that_it_is_emulated(bundle: Path) -> None:
    for name in ("report.md", "report.html"):
        text = (bundle / name).read_text()
        assert f"{ARM}, emulated" in text


def test_a_target_that_is_not_there_is_a_row_and_the_rest_is_whole(
    own_targets: Path, examples: Path, edgeport: Edgeport, bundle: Path
) -> None:
    file = next(bundle.glob("*.float32.onnx"))
    words = ("validate", examples / "digits_se_inception.keras", file, "--samples", "2", "--on", "arm64", "--json")
    ran = edgeport(*words, EDGEPORT_TARGETS=str(own_targets))
    assert ran.code == 0
    assert [v["target"] for v in ran.document["verdicts"]] == ["host"]
    (row,) = ran.document["unavailable"]
    assert row["target"] == ARM
    assert "edgeport target install arm64" in row["next"]


def test_one_that_is_required_and_damaged_ends_the_run_after_its_bundle_is_written(
    shared_targets: Path, own_targets: Path, tmp_path: Path, examples: Path, edgeport: Edgeport
) -> None:
    (own_targets / "arm64").mkdir(parents=True)
    shutil.copy(shared_targets / "arm64" / RECORD, own_targets / "arm64")
    words = ("-f", "tflite", "--samples", "2", "--max-seconds", "2", "--require", "arm64", "--json")
    ran = edgeport(
        *("run", examples / "digits_se_inception.keras", "-o", tmp_path / "out", *words),
        EDGEPORT_TARGETS=str(own_targets),
    )
    assert ran.code == 4
    assert "arm64:cortex-a76 is required and cannot be used: The environment of arm64 is damaged" in ran.stderr
    assert (tmp_path / "out" / "manifest.json").is_file()
