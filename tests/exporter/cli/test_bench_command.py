"""`edgeport bench` as people call it: exit codes, the document, bundles."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from converters.artifact import digest, size_of
from exporter.bundle import finish, staged, write_golden
from exporter.cli.main import run
from exporter.manifest.schema import Manifest
from validate.agreement.rows import OutputRow

QUICK = ["--max-seconds", "2", "--threads", "1", "-q"]
_MAKE = """
import pathlib, sys
from exporter.doctor.tiny import tiny_onnx
pathlib.Path(sys.argv[1]).write_bytes(tiny_onnx())
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sum = a + b` of two vectors of length 2: a batch fixed to 2."""
    path = tmp_path_factory.mktemp("bench") / "tiny.float32.onnx"
    subprocess.run([sys.executable, "-c", _MAKE, str(path)], check=True)
    return path


def bundle(folder: Path, artifact: Path, total: list[float], allowed: float | None = None) -> Path:
    """A bundle of the artifact, with `total` for its golden answer, and how far from it the verdict found right."""
    tensors = [{"name": name, "shape": [2], "dtype": "float32"} for name in ("a", "b", "sum")]
    signature = {"inputs": tensors[:2], "outputs": tensors[2:]}
    row = {"path": artifact.name, "format": "onnx", "precision": "float32", "signature": signature}
    document = {
        "tool": {"name": "edgeport", "version": "0.1.0", "command": ["edgeport", "run"]},
        "source": {"path": "tiny.keras", "kind": "keras", "sha256": "a" * 64, "parameters": 0},
        "signature": signature,
        "artifacts": [row | {"size_bytes": size_of(artifact), "sha256": digest(artifact)}],
        "created": "2026-03-14T09:26:53Z",
    }
    if allowed is not None:
        nothing = dict.fromkeys(field.name for field in fields(OutputRow) if field.default is MISSING)
        found = {"name": "sum", "basis": "outputs", "nonfinite": 0, "samples": 2, "status": "agree", "reason": ""}
        output = nothing | found | {"gate": {"allowed": allowed}, "noise_ratios": {}}
        document["verdicts"] = [{"artifact": artifact.name, "status": "agree", "reason": "", "outputs": [output]}]
    vectors = {name: np.asarray(values, np.float32) for name, values in (("a", [1, 2]), ("b", [3, 4]), ("sum", total))}
    with staged(folder) as staging:
        shutil.copyfile(artifact, staging / artifact.name)
        write_golden(staging / "golden.npz", {name: vectors[name] for name in "ab"}, {"sum": vectors["sum"]})
        finish(staging, Manifest.from_document(document))
    return folder


def document(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, dict[str, object]]:
    code = run(["bench", *arguments, "--json", *QUICK])
    parsed: dict[str, object] = json.loads(capsys.readouterr().out)
    return code, parsed


def test_a_bare_file_is_timed_and_said_to_be_unchecked(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = document(capsys, [str(artifact), "--batch", "2", "--save-samples", str(tmp_path / "raw")])
    (row,) = printed["timings"]  # type: ignore[misc]
    assert (code, row["status"], row["batch"], row["precision"]) == (0, "ok", 2, "float32")
    assert "unchecked" in row["flags"]
    assert [p.name for p in (tmp_path / "raw").iterdir()] == ["tiny.float32.onnx.cpu.t1.b2.npy"]


def test_a_bundle_is_checked_against_its_golden_answers(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = bundle(tmp_path / "good", artifact, [4, 6])
    code, printed = document(capsys, [str(good), "--batch", "2"])
    (row,) = printed["timings"]  # type: ignore[misc]
    assert (code, row["status"]) == (0, "ok")
    assert "unchecked" not in row["flags"]

    wrong = bundle(tmp_path / "wrong", artifact, [4, 9])
    code, printed = document(capsys, [str(wrong), "--batch", "2"])
    assert code == 4
    assert "wrong answer" in printed["error"]["message"]  # type: ignore[index]

    assert "there is no verdict to go by" in printed["error"]["message"]  # type: ignore[index]

    right = bundle(tmp_path / "right", artifact, [4, 9], allowed=3.5)
    for given in (right, right / artifact.name):
        code, printed = document(capsys, [str(given), "--batch", "2"])
        assert (code, printed["timings"][0]["status"]) == (0, "ok")  # type: ignore[index]
        assert "what the verdict found right" in printed["timings"][0]["facts"]["held_to"]  # type: ignore[index]

    code, printed = document(capsys, [str(good), str(wrong), "--batch", "2"])
    assert code == 10
    assert [row["status"] for row in printed["timings"]] == ["ok", "error"]  # type: ignore[attr-defined]


def test_an_artifact_by_itself_is_checked_against_the_answers_of_its_bundle(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = bundle(tmp_path / "wrong", artifact, [4, 9])
    code, printed = document(capsys, [str(wrong / artifact.name), "--batch", "2"])
    assert code == 4
    assert "wrong answer" in printed["error"]["message"]  # type: ignore[index]
    (wrong / "golden.npz").write_bytes(b"others")
    code, printed = document(capsys, [str(wrong / artifact.name), "--batch", "2"])
    assert code == 8
    assert "golden.npz is changed" in printed["error"]["message"]  # type: ignore[index]


def test_a_required_device_that_is_not_there_is_exit_4(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = document(capsys, [str(artifact), "--batch", "2", "--require", "cuda"])
    if code == 0:
        pytest.skip("needs a machine without CUDA")
    assert code == 4
    assert "cuda is required" in printed["error"]["message"]  # type: ignore[index]


def test_an_unavailable_device_is_exit_0_when_not_required(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = document(capsys, [str(artifact), "--batch", "2", "--device", "tensorrt"])
    (row,) = printed["timings"]  # type: ignore[misc]
    assert code == 0
    assert row["status"] in {"ok", "unavailable"}
    assert row["device"] == "tensorrt"


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["nowhere.onnx"], "nowhere.onnx"),
        (["{}", "--threads", "0"], "threads"),
        (["{}", "--device", "tpu"], "tpu"),
        ([], "ARTIFACT"),
        (["{}", "--batch", "1,x"], "whole number"),
        (["{}", "--max-slowdown", "5%"], "compares with nothing"),
        (["{}", "--compare", "nowhere.json"], "nowhere.json"),
        (["{}", "--ssh", "a", "--tune"], "ssh:a goes with neither --tune"),
        (["{}", "--on", "ssh"], "told which one"),
        (["{}", "--cold", "0"], "--cold"),
        (["{}", "--batch", "2,0"], "1 or more, not 0"),
    ],
)
def test_usage_errors_are_exit_2(
    arguments: list[str], cause: str, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = document(capsys, [a.format(artifact) for a in arguments])
    assert code == 2
    assert cause in printed["error"]["message"]  # type: ignore[index]


def test_the_table_shows_the_row(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(artifact), str(artifact), "--batch", "2", "--max-seconds", "2", "--threads", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("tiny.float32.onnx") == 7  # rows, phases, both names in the comparison, the control
    assert "noise floor" in captured.out
    assert "warming up tiny.float32.onnx" in captured.err


def test_settings_are_swept_and_batches_may_be_listed(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = document(capsys, [str(artifact), "--batch", "2,3", "--graph", "all", "--graph", "basic"])
    rows = printed["timings"]
    assert code == 10
    assert [(r["batch"], r["variant"], r["status"]) for r in rows] == [  # type: ignore[attr-defined]
        (2, "", "ok"),
        (2, "graph basic", "ok"),
        (3, "", "error"),
        (3, "graph basic", "error"),
    ]
    assert len(printed["controls"]) == 1  # type: ignore[arg-type]


def test_an_earlier_result_and_a_gate(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = document(capsys, [str(artifact), "--batch", "2"])
    assert code == 0
    for name, factor in (("same", 1.0), ("fast", 1e-6)):
        (row,) = printed["timings"]  # type: ignore[misc]
        old = {**printed, "timings": [{**row, "p50_ms": {k: v and v * factor for k, v in row["p50_ms"].items()}}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(old))
    files = ["--junit", str(tmp_path / "junit.xml"), "--markdown", str(tmp_path / "bench.md")]
    compare = ["--compare", str(tmp_path / "fast.json"), "--max-slowdown", "5%"]
    code, printed = document(capsys, [str(artifact), "--batch", "2", *compare, *files])
    (change,) = printed["changes"]  # type: ignore[misc]
    assert (code, change["fails"]) == (1, True)
    assert change["verdict"] in {"slower", "unknown"}, "on a busy machine even that may be within its noise"
    suite = Xml.fromstring((tmp_path / "junit.xml").read_text())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "0")
    assert "over the gate" in (tmp_path / "bench.md").read_text()

    code, printed = document(
        capsys,
        [str(artifact), "--batch", "2", "--compare", str(tmp_path / "same.json"), "--max-slowdown", "100000000%"],
    )
    assert code == 0
    unlike = {**json.loads((tmp_path / "same.json").read_text()), "host": {"cpu": "another"}}
    (tmp_path / "unlike.json").write_text(json.dumps(unlike))
    code, printed = document(capsys, [str(artifact), "--batch", "2", "--compare", str(tmp_path / "unlike.json")])
    assert code == 2
    assert "another kind of host" in printed["error"]["message"]  # type: ignore[index]


def test_tuning_gives_options_to_paste_that_run(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["bench", str(artifact), "--batch", "2", "--tune", "--json", "-q", "--max-seconds", "8"])
    (tuned,) = json.loads(capsys.readouterr().out)["tuned"]
    assert code == 0
    assert tuned["threads"] >= 1
    assert tuned["gain"] >= 1 or not tuned["sure"]
    pasted = tuned["code"] + "\nprint(session.get_inputs()[0].name)"
    command = [sys.executable, "-c", pasted]
    done = subprocess.run(command, cwd=artifact.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "a"


def test_a_profile_is_told_by_kind_and_layer(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(artifact), "--batch", "2", "--profile-ops", "--threads", "1", "--max-seconds", "2"]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert "by kind" in out
    assert "elementwise" in out
