"""The two hard cases: a model that int8 spoils and a rescue mends, and one whose output is a constant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.isolation import run_step
from exporter.cli.main import run as command
from exporter.options import BuildChoices, RunOptions
from exporter.rescue.probe import Step, decision, noise
from exporter.run.pipeline import Outcome, run

EXAMPLES = Path(__file__).parents[3] / "examples"
SCANS, CALIBRATION = EXAMPLES / "digits.npz", EXAMPLES / "digits_calibration.npz"

_HARDEN = """
import sys, keras
model = keras.models.load_model(sys.argv[1])
scaled, undone = model.get_layer("inception1_3x3_reduce_bn"), model.get_layer("inception1_3x3")
gamma, beta, *rest = scaled.get_weights()
gamma[:3] *= 1000
beta[:3] *= 1000
scaled.set_weights([gamma, beta, *rest])
(kernel,) = undone.get_weights()
kernel[:, :, :3] /= 1000
undone.set_weights([kernel])
model.save(sys.argv[2])
"""


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits checkpoint with three channels scaled by 1000 and undone by the next layer: the same function."""
    path = tmp_path_factory.mktemp("hard") / "hard.keras"
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", _HARDEN, str(EXAMPLES / "digits_se_inception.keras"), str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return path


def run_hard(source: Path, folder: Path, **given: Any) -> Outcome:
    words = {"formats": ("tflite", "onnx"), "precisions": ("int8",), **given}
    options = RunOptions.of(inputs=SCANS, calibration=str(CALIBRATION), time=False, **words)
    return run(str(source), folder, options)


@pytest.mark.slow
def test_without_a_budget_the_hard_model_fails(hard: Path, tmp_path: Path) -> None:
    outcome = run_hard(hard, tmp_path / "out", rescue_budget=0.0)
    assert outcome.exit_code == 1
    assert [v.status for v in outcome.manifest.verdicts] == ["disagree", "disagree"]


@pytest.mark.slow
def test_a_rescue_finds_the_two_layers_and_passes(hard: Path, tmp_path: Path) -> None:
    outcome = run_hard(hard, tmp_path / "out")
    assert outcome.exit_code == 0
    for artifact, verdict in zip(outcome.manifest.artifacts, outcome.manifest.verdicts, strict=True):
        assert artifact.rescue is not None
        assert artifact.integer is not None
        told = artifact.rescue.to_document()
        assert {kept["layer"] for kept in told["float_layers"]} == {"inception1_3x3_reduce", "inception1_3x3"}
        assert told["float_macs_share"] < 0.1
        assert told["sqnr_db_before"] < 13 < told["sqnr_db_after"]
        assert all(kept["sqnr_db_without"] < 14 for kept in told["float_layers"]), "each of them is needed"
        assert verdict.status == "agree"
        assert any(note.startswith("Rescued by keeping") for note in verdict.notes)
        integer = artifact.integer.to_document()
        assert integer["integer_macs_share"] == pytest.approx(1 - told["float_macs_share"], abs=1e-3)


LOST_ALONE = {
    "formats": ("tflite",),
    "tolerances": {"sqnr_db": 0.001, "top1": 0.01},
    "metric": "top1",
    "max_drop": 1.0,
}
"""So wide a gate of agreement that only the user's metric can miss its own."""


@pytest.mark.slow
def test_a_metric_that_falls_too_far_is_rescued(hard: Path, tmp_path: Path) -> None:
    outcome = run_hard(hard, tmp_path / "out", **LOST_ALONE)
    (artifact,), (verdict,) = outcome.manifest.artifacts, outcome.manifest.verdicts
    assert outcome.exit_code == 0
    assert artifact.rescue is not None
    told = artifact.rescue.to_document()
    assert {kept["layer"] for kept in told["float_layers"]} == {"inception1_3x3_reduce", "inception1_3x3"}
    assert told["sqnr_db_before"] > 0.001, "which the gate of agreement takes"
    assert verdict.loss is not None
    assert (verdict.status, verdict.loss.status, verdict.loss.metric) == ("agree", "kept", "top1")
    assert verdict.loss.gate is not None
    assert verdict.loss.gate.measure == "drop"


@pytest.mark.slow
def test_auto_keeps_what_the_metric_lets_pass(hard: Path, tmp_path: Path) -> None:
    outcome = run_hard(hard, tmp_path / "out", **LOST_ALONE | {"precisions": ("auto",), "rescue_budget": 0.0})
    precisions = {row.precision.value for row in outcome.manifest.artifacts}
    assert {"float32", "float16"} <= precisions
    assert "int8" not in precisions
    assert not (tmp_path / "out/hard.int8.tflite").exists()
    dropped = outcome.manifest.recommended["dropped"]
    assert isinstance(dropped, dict)
    assert "top1 drops by" in dropped["hard.int8.tflite"]
    assert all(v.loss and v.loss.status == "kept" and v.loss.metric == "top1" for v in outcome.manifest.verdicts)


@pytest.mark.slow
def test_export_rescues_when_asked(hard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command: judged and mended with `--rescue`, neither without, and neither way timed."""
    words = ["export", str(hard), "-f", "tflite", "-p", "int8", "--calibration", str(CALIBRATION), "--json"]
    assert command([*words, "-o", str(tmp_path / "plain")]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert not plain["verdicts"]
    assert "rescue" not in plain["artifacts"][0]
    code = command([*words, "-o", str(tmp_path / "mended"), "--rescue", "--inputs", str(SCANS)])
    mended = json.loads(capsys.readouterr().out)
    assert (code, mended["verdicts"][0]["status"]) == (0, "agree"), mended["verdicts"][0]["reason"]
    assert mended["artifacts"][0]["rescue"]["reached"]
    assert not mended["timings"]


def test_export_does_not_judge_unless_it_rescues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(EXAMPLES / "digits_se_inception.keras"), "-o", str(tmp_path / "out")]
    assert command([*words, "--rescue-budget", "0.2"]) == 2
    assert "--rescue-budget is for judging" in capsys.readouterr().err
    assert command([*words, "--inputs", str(SCANS)]) == 2, "without --calibration they are for nothing either"


@pytest.mark.slow
def test_a_constant_output_does_not_pass(tmp_path: Path) -> None:
    """Randomly initialised and not warmed up, the network answers every input alike: int8 must not pass for that."""
    options = RunOptions.of(
        formats=("tflite",),
        precisions=("int8",),
        calibration="random",
        calibration_samples=8,
        samples=8,
        rescue_budget=0.0,
        time=False,
        build=BuildChoices(input_shape=(96, 96, 3), settings={"warm": "false"}),
    )
    outcome = run("se_inception_v3", tmp_path / "out", options)
    verdict = outcome.manifest.verdicts[0]
    assert outcome.exit_code == 1
    assert verdict.status in {"disagree", "inconclusive"}
    assert any("(random)" in note for note in verdict.notes)
    calibration = outcome.manifest.artifacts[0].calibration
    assert calibration is not None
    assert "random" in calibration.source


def test_a_quiet_channel_counts_like_a_loud_one() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(64, 4)) * [1000, 1, 1, 1]
    rounded = np.round(values / 8) * 8
    assert noise(values, rounded) == pytest.approx(0.75, abs=0.01), "three of four channels are gone"
    assert 10 * np.log10(values.var() / np.square(values - rounded).mean()) > 40, "which the whole tensor hides"
    assert noise(values, values) == 0
    assert noise(np.zeros((4, 2)), np.ones((4, 2))) == 0


def test_the_decision_lies_before_a_final_map() -> None:
    steps = [
        Step("a", "FULLY_CONNECTED", "a", ("x",), ("logits",), 10),
        Step("b", "SOFTMAX", "b", ("logits",), ("labels",), 0),
        Step("c", "FULLY_CONNECTED", "c", ("x",), ("box",), 10),
    ]
    assert decision(steps, ["labels", "box"]) == {"labels": "logits", "box": "box"}


def test_a_worker_that_cannot_read_its_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"no model")
    np.savez(tmp_path / "golden.npz", **{"input/image": np.zeros((2, 4), np.float32)})  # type: ignore[arg-type]
    request = {
        "artifact": str(tmp_path / "x.tflite"),
        "base": str(tmp_path / "broken.tflite"),
        "format": "tflite",
        "precision": "dynamic_int8",
        "signature": {"inputs": [{"name": "image", "shape": ["batch", 4], "dtype": "float32"}], "outputs": []},
        "io": "float",
        "device": "cpu",
        "method": "minmax",
        "golden": str(tmp_path / "golden.npz"),
        "calibration": None,
        "goal": {"sqnr_db": 10.0, "top1": 0.9, "budget": 0.1},
        "layers": [],
    }
    from converters.errors import RefusedError

    with pytest.raises(RefusedError, match="not a valid TFLite model"):
        run_step("exporter.rescue.search:rescue_in_worker", request, step="rescue")
