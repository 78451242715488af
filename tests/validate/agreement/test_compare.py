"""The judge on real files: honest ones agree, mutants do not, and it says when it cannot tell."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import RefusedError, UsageError
from validate.agreement import Agreement, JudgeJob, Verdict
from validate.agreement.compare import compare
from validate.agreement.worker.ensemble import ALL, FIRST, MOVED

HONEST = ("small.onnx", "small.tflite", "small.savedmodel", "small.keras")
MUTANTS = ("epsilon", "relu6", "sigmoid", "bias", "channel", "constant", "kernel")


def judged(agreement: Agreement) -> dict[str, Verdict]:
    return {verdict.artifact.name: verdict for verdict in agreement.verdicts}


@pytest.fixture(scope="session")
def small(zoo: Path) -> Agreement:
    names = [
        *HONEST,
        *(f"mutant-{name}.onnx" for name in MUTANTS),
        "mutant-epsilon.tflite",
        "mutant-epsilon.savedmodel",
        "renamed.onnx",
        "truncated.onnx",
        "crasher.tflite",
        "half.tflite",
        "silent.int8.onnx",
    ]
    return compare(zoo / "small.keras", [zoo / name for name in names])


@pytest.fixture(scope="session")
def pair(zoo: Path) -> Agreement:
    names = ("pair.onnx", "pair.savedmodel", "pair-exchanged.onnx", "pair-reordered.onnx", "pair-short.onnx")
    return compare(zoo / "pair.keras", [zoo / name for name in names])


@pytest.mark.parametrize("name", HONEST)
def test_honest_files_agree_on_their_logits(small: Agreement, name: str) -> None:
    verdict = judged(small)[name]
    assert verdict.status == "agree", verdict.reason
    (row,) = verdict.outputs
    assert row.basis == "logits"
    assert row.noise_ratio is not None
    assert 0 < row.noise_ratio < 2
    assert row.noise_ratios.keys() == {"inputs", "structured", "saturating"}
    assert max(row.noise_ratios.values()) < 30
    assert row.nonfinite == 0
    assert row.top1_agreement == 1.0


@pytest.mark.parametrize(
    "name",
    [
        *(f"mutant-{name}.onnx" for name in MUTANTS),
        "mutant-epsilon.tflite",
        "mutant-epsilon.savedmodel",
        "silent.int8.onnx",
    ],
)
def test_mutants_disagree(small: Agreement, name: str) -> None:
    assert judged(small)[name].status == "disagree"


def test_special_values_are_told_and_not_gated(small: Agreement) -> None:
    for name in HONEST:
        document = judged(small)[name].to_json()
        assert document["status"] == "agree"
        assert document["special_values"].keys() == {"nan", "inf", "-inf", "denormal"}
        assert document["special_values"]["denormal"] == ["finite", "finite"]
        assert document["special_values"]["nan"][0] == "nan"


def test_a_softmax_swapped_for_a_sigmoid_is_found_though_the_logits_agree(small: Agreement) -> None:
    (row,) = judged(small)["mutant-sigmoid.onnx"].outputs
    assert row.noise_ratio is not None
    assert row.noise_ratio < 3
    assert "from the softmax of its logits" in row.reason


def test_the_epsilon_fault_would_pass_another_tools_tolerance(small: Agreement) -> None:
    (row,) = judged(small)["mutant-epsilon.onnx"].outputs
    assert row.probability_max_abs is not None
    assert row.probability_max_abs < 5e-3  # what onnx2tf's mean and rmse checks let pass
    assert row.noise_ratio is not None
    assert row.noise_ratio > 1000


def test_the_tensors_choose_the_gate_and_not_the_name(small: Agreement) -> None:
    """Half precision that the types tell is float16's; in float32 tensors it is a silent loss, under any name."""
    verdicts = judged(small)
    assert verdicts["half.tflite"].to_json()["precision"] == "float16"
    assert verdicts["silent.int8.onnx"].to_json()["precision"] == "float32"
    assert verdicts["half.tflite"].status == "agree"
    assert verdicts["half.tflite"].outputs[0].gate.measure == "rounding_ratio"
    assert 0.3 < (verdicts["half.tflite"].outputs[0].rounding_ratio or 0) < 2
    assert verdicts["silent.int8.onnx"].outputs[0].gate.measure == "noise_ratio"


def test_a_renamed_output_disagrees_by_name(small: Agreement) -> None:
    reason = judged(small)["renamed.onnx"].reason
    assert "labels is missing" in reason
    assert "classes" in reason


def test_a_renamed_output_is_found_where_names_may_differ(zoo: Path) -> None:
    (verdict,) = compare(zoo / "small.keras", [zoo / "renamed.onnx"], JudgeJob.of(mapping={})).verdicts
    assert verdict.status == "agree", verdict.reason
    assert verdict.to_json()["mapping"] == {"classes": "labels"}
    assert any("classes is labels (by shape)" in note for note in verdict.notes)
    assert verdict.outputs[0].basis == "logits"


def test_a_damaged_file_is_an_error_and_the_others_go_on(small: Agreement) -> None:
    verdict = judged(small)["truncated.onnx"]
    assert verdict.status == "error"
    assert "truncated.onnx is not a valid ONNX model" in verdict.reason


def test_a_runtime_that_dies_on_a_file_is_an_error_and_the_others_go_on(small: Agreement) -> None:
    verdicts = judged(small)
    assert verdicts["crasher.tflite"].status == "error"
    assert "SIGSEGV" in verdicts["crasher.tflite"].reason
    assert verdicts["crasher.tflite"].to_json()["error"]["code"] == 5
    assert verdicts["silent.int8.onnx"].status == "disagree"  # it came after


def test_several_inputs_and_outputs(pair: Agreement) -> None:
    verdicts = judged(pair)
    assert verdicts["pair.onnx"].status == "agree", verdicts["pair.onnx"].reason
    assert verdicts["pair.savedmodel"].status == "agree", verdicts["pair.savedmodel"].reason
    assert [row.name for row in verdicts["pair.onnx"].outputs] == ["first", "second"]
    assert pair.ranges["word"].high == 19


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("pair-exchanged.onnx", "noise"),
        ("pair-reordered.onnx", "in the order second, first"),
        ("pair-short.onnx", "second is missing"),
    ],
)
def test_outputs_exchanged_reordered_or_missing_disagree(pair: Agreement, name: str, cause: str) -> None:
    verdict = judged(pair)[name]
    assert verdict.status == "disagree"
    assert cause in verdict.reason


def test_a_dead_model_is_inconclusive_and_says_what_to_give(zoo: Path) -> None:
    verdict = judged(compare(zoo / "dead.keras", [zoo / "dead.onnx"]))["dead.onnx"]
    assert verdict.status == "inconclusive"
    assert verdict.outputs[0].gate.dead_passes is True
    assert "--inputs" in verdict.reason


def test_a_single_sample_is_told_apart_by_the_edge_cases_beside_it(zoo: Path) -> None:
    """No constant lies within the noise of all of them; without an oracle one sample cannot tell."""
    agreement = compare(zoo / "small.keras", [zoo / "small.onnx"], JudgeJob.of(samples=1))
    assert agreement.verdicts[0].status == "agree"
    without_oracle = compare(zoo / "small.onnx", [zoo / "small.tflite"], JudgeJob.of(samples=1, input_range=(0, 255)))
    assert without_oracle.verdicts[0].status == "inconclusive"


def test_a_fixed_batch_of_one_is_allowed_with_a_note(zoo: Path) -> None:
    verdict = judged(compare(zoo / "series.keras", [zoo / "series.tflite"]))["series.tflite"]
    assert verdict.status == "agree", verdict.reason
    assert "the batch is fixed at 1" in verdict.notes


def test_an_artifact_may_be_the_reference(zoo: Path) -> None:
    agreement = compare(
        zoo / "small.onnx", [zoo / "small.tflite", zoo / "mutant-epsilon.onnx"], JudgeJob.of(input_range=(0, 255))
    )
    verdicts = judged(agreement)
    assert verdicts["small.tflite"].status == "agree", verdicts["small.tflite"].reason
    assert verdicts["small.tflite"].outputs[0].gate.measure == "sqnr_db"
    assert verdicts["mutant-epsilon.onnx"].status == "disagree"
    assert agreement.oracle_samples == 0
    assert any("no float64 oracle" in note for note in agreement.notes)
    for verdict in verdicts.values():  # the rows are what tables, page, card and manifest tell
        assert set(agreement.notes) <= set(verdict.notes)


def test_given_inputs_labels_and_golden(zoo: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 255, (40, 16, 16, 3)).astype(np.float32)
    np.savez(tmp_path / "given.npz", image=images, labels=np.zeros(40, int), spare=np.ones(2))
    seen: list[tuple[str, float]] = []
    agreement = compare(
        zoo / "small.keras",
        [zoo / "small.onnx"],
        JudgeJob.of(inputs=tmp_path / "given.npz"),
        lambda stage, share: seen.append((stage, share)),
    )
    assert agreement.samples == 40
    assert agreement.verdicts[0].status == "agree"
    assert agreement.reference_accuracy == agreement.verdicts[0].outputs[0].accuracy
    assert any("spare" in note for note in agreement.notes)
    np.testing.assert_array_equal(agreement.golden.inputs["image"], images[:16])
    want = (agreement.golden.outputs["labels"].argmax(1) == 0).mean()
    assert agreement.golden.outputs["labels"].shape == (16, 5)
    assert agreement.reference_accuracy is not None
    assert abs(agreement.reference_accuracy - want) < 0.5
    assert {stage for stage, _ in seen} == {"reference", "onnxruntime"}
    assert all(0 <= share <= 1 for _, share in seen)
    assert seen[-1] == ("onnxruntime", 1.0)


def test_inputs_that_do_not_fit_are_the_callers_error(zoo: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", image=np.ones((2, 16, 15, 3), np.float32))
    np.savez(tmp_path / "nan.npz", image=np.full((2, 16, 16, 3), np.nan, np.float32))
    for name, error in (("wrong.npz", UsageError), ("nan.npz", RefusedError)):
        with pytest.raises(error, match=name):
            compare(zoo / "small.keras", [], JudgeJob.of(inputs=tmp_path / name))


def test_unknown_sizes_get_one_that_the_model_accepts(zoo: Path) -> None:
    agreement = compare(zoo / "wide.keras", [zoo / "wide.onnx"])
    assert agreement.verdicts[0].status == "agree", agreement.verdicts[0].reason
    assert agreement.golden.inputs["image"].shape == (16, 64, 64, 1)


def test_overridden_tolerances_stand_in_the_verdict(zoo: Path) -> None:
    verdict = compare(
        zoo / "small.keras", [zoo / "mutant-bias.onnx"], JudgeJob.of(tolerances={"noise_ratio": 1e9})
    ).verdicts[0]
    assert verdict.status == "inconclusive"  # so wide a gate lets a constant through
    assert any("noise_ratio=1e+09" in note for note in verdict.notes)


def test_the_document_is_json_with_the_agreed_fields(small: Agreement) -> None:
    document = json.loads(json.dumps(small.to_json(), allow_nan=False))
    assert {"reference", "seed", "samples", "input_range", "verdicts"} <= document.keys()
    assert {"artifact", "status", "reason", "outputs"} <= document["verdicts"][0].keys()
    row = document["verdicts"][0]["outputs"][0]
    assert {
        "name",
        "basis",
        "max_abs",
        "rmse",
        "sqnr_db",
        "noise_ratio",
        "top1_agreement",
        "accuracy",
        "nonfinite",
    } <= row.keys()
    assert document["input_range"]["image"]["high"] == 255
    assert math.isfinite(row["max_abs"])


def test_paths_that_are_not_there_and_unknown_kinds(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        compare(tmp_path / "none.keras", [zoo / "small.onnx"])
    with pytest.raises(UsageError):
        compare(zoo / "small.keras", [tmp_path / "none.onnx"])
    strange = tmp_path / "notes.txt"
    strange.write_text("hello")
    with pytest.raises(RefusedError):
        compare(strange, [zoo / "small.onnx"])


def test_no_framework_in_the_parent() -> None:
    code = "import sys, validate.agreement.compare; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "validate.agreement.compare" in done.stdout.split()
    assert not {"tensorflow", "keras", "onnx", "onnxruntime", "ai_edge_litert", "scipy"} & set(done.stdout.split())


def test_the_oracle_is_kept_by_checkpoint_and_inputs(zoo: Path, tmp_path: Path) -> None:
    options = JudgeJob.of(samples=4, cache=tmp_path)
    first = compare(zoo / "small.keras", [zoo / "small.onnx"], options)
    (entry,) = tmp_path.iterdir()
    kept = np.load(entry / "logits.0.npy")
    np.save(entry / "logits.0.npy", kept + 1.0)  # what is found there is what is used
    second = compare(zoo / "small.keras", [zoo / "small.onnx"], options)
    assert first.verdicts[0].status == "agree"
    assert first.verdicts[0].outputs[0].noise_ratio != second.verdicts[0].outputs[0].noise_ratio
    assert [p.name for p in tmp_path.iterdir()] == [entry.name]


def test_more_runs_are_made_for_what_the_first_do_not_settle_and_kept(zoo: Path, tmp_path: Path) -> None:
    """What is said of a file depends on no file beside it, and on no cache."""
    options = JudgeJob.of(samples=4, cache=tmp_path)
    files = [zoo / name for name in ("small.onnx", "mutant-epsilon.onnx", "mutant-epsilon.savedmodel")]
    alone = compare(zoo / "small.keras", files[:1], options).verdicts
    kinds = [p.name.rsplit("-", 1)[1] for p in tmp_path.iterdir()]
    both = compare(zoo / "small.keras", files, options).verdicts
    again = compare(zoo / "small.keras", files, options).verdicts
    assert [verdict.status for verdict in both] == ["agree", "disagree", "disagree"]
    assert [verdict.outputs[0].moved_runs for verdict in both] == [FIRST, MOVED, MOVED]
    assert alone[0].row == both[0].row
    assert [verdict.row for verdict in both] == [verdict.row for verdict in again]
    assert kinds == ["oracle"]
    assert sorted(p.name.rsplit("-", 1)[1] for p in tmp_path.iterdir()) == [ALL, "oracle"]


@pytest.mark.slow
def test_the_matrix_makes_every_file_the_reference(zoo: Path, edgeport: Any) -> None:
    files = [zoo / name for name in ("small.keras", "small.onnx", "mutant-epsilon.onnx")]
    ran = edgeport("validate", *files, "--matrix", "--json")
    assert ran.code == 1
    found = {
        (Path(row["reference"]).name, Path(verdict["artifact"]).name): verdict["status"]
        for row in ran.document["matrix"]
        for verdict in row["verdicts"]
    }
    assert len(found) == 6
    assert found["small.onnx", "small.keras"] == found["small.keras", "small.onnx"] == "agree"
    assert found["small.onnx", "mutant-epsilon.onnx"] == found["mutant-epsilon.onnx", "small.onnx"] == "disagree"
    misses = {Path(miss["subject"]).name for miss in ran.document["passing"]["misses"]}
    assert (ran.document["passing"]["ok"], misses) == (False, {p.name for p in files})


@pytest.mark.slow
def test_no_false_alarm_in_200_seeds(zoo: Path) -> None:
    script = Path(__file__).with_name("repeat_seeds.py")
    files = [str(zoo / name) for name in ("small.onnx", "small.tflite", "small.savedmodel")]
    done = subprocess.run(
        [sys.executable, str(script), str(zoo / "small.keras"), "200", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.split("RESULT")[1])
    assert [row["alarms"] for row in found.values()] == [0, 0, 0]
    assert all(0 < row["inputs"] < 3 for row in found.values())
    assert all(max(row["structured"], row["saturating"]) < 3 for row in found.values())
