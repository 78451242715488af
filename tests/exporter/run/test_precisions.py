"""The digits checkpoint over the whole table: format x precision x io, judged on 500 held-out scans."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import UsageError
from converters.formats import Format, Precision
from converters.isolation import run_step
from converters.readers.onnx_file import read_onnx
from converters.routes import Target
from exporter.bundle import Bundle
from exporter.bundle.execute import execute
from exporter.cli.main import run as command
from exporter.manifest.schema import Manifest
from exporter.options import RunOptions
from exporter.run.pipeline import Outcome, run
from exporter.run.plan import targets_of
from tests.manifest_schema import undescribed
from validate.agreement import JudgeJob
from validate.agreement.compare import compare
from validate.latency.host.facts import host_facts

EXAMPLES = Path(__file__).parents[3] / "examples"
CHECKPOINT, SCANS = EXAMPLES / "digits_se_inception.keras", EXAMPLES / "digits.npz"
CALIBRATION = EXAMPLES / "digits_calibration.npz"

TABLE = {
    "tflite": ("float32", "float16", "dynamic_int8", "int8", "int16x8", "dynamic_int4"),
    "onnx": ("float32", "float16", "dynamic_int8", "int8"),
}
CELLS = [(fmt, precision) for fmt, precisions in TABLE.items() for precision in precisions]
PRECISIONS = ("float32", "float16", "dynamic_int8", "int8", "int16x8", "dynamic_int4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("precisions") / "bundle"


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    options = RunOptions.of(
        precisions=PRECISIONS, inputs=SCANS, calibration=str(CALIBRATION), max_seconds=5.0, fully_integer=True
    )
    return run(str(CHECKPOINT), folder, options)


@pytest.fixture(scope="module")
def manifest(outcome: Outcome) -> Manifest:
    return outcome.manifest


def overflows() -> bool:
    """Whether ONNX Runtime's default int8 kernels overflow here: x86-64 without VNNI adds products of 8 bits in 16.

    Source: `session.x64quantprecision` in onnxruntime_session_options_config_keys.h.
    """
    return platform.machine() == "x86_64" and not {"avx512_vnni", "avx_vnni"} & set(host_facts()["cpu_flags"])


def share_kept_without_overflow(path: Path) -> float:
    """The share of scans that keep the checkpoint's class where ONNX Runtime is told to add in 32 bits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    with np.load(path.parent / "golden.npz") as golden:
        (answers,) = session.run(None, {"image": golden["input/image"]})
        return float(np.mean(answers.argmax(1) == golden["output/labels"].argmax(1)))


def row_of(manifest: Manifest, fmt: str, precision: str) -> Any:
    return next(a for a in manifest.artifacts if (a.format.value, a.precision.value) == (fmt, precision))


def test_every_cell_of_the_table_is_made(manifest: Manifest) -> None:
    made = {(a.format.value, a.precision.value) for a in manifest.artifacts}
    assert made == {*CELLS, ("savedmodel", "float32")}
    assert manifest.failures == ()


@pytest.mark.parametrize(("fmt", "precision"), CELLS)
def test_classes_are_the_checkpoints(manifest: Manifest, folder: Path, fmt: str, precision: str) -> None:
    path = row_of(manifest, fmt, precision).path
    verdict = next(v for v in manifest.verdicts if v.artifact == path)
    output = verdict.outputs[0]
    least = {"float32": 1.0, "float16": 0.998, "dynamic_int4": 0.98}.get(precision, 0.99)
    if fmt == "onnx" and "int8" in precision and overflows():
        assert share_kept_without_overflow(folder / path) >= least
        return
    assert verdict.status == "agree", verdict.reason
    assert output.top1_agreement is not None
    assert output.top1_agreement >= least
    assert output.accuracy is not None
    assert verdict.reference_accuracy is not None
    assert abs(output.accuracy - verdict.reference_accuracy) <= 0.01


def test_files_shrink_with_their_bits(manifest: Manifest) -> None:
    sizes = {cell: row_of(manifest, *cell).size_bytes for cell in CELLS}
    for fmt in TABLE:
        assert sizes[fmt, "dynamic_int8"] < sizes[fmt, "float16"] < 0.56 * sizes[fmt, "float32"]
    assert sizes["tflite", "dynamic_int4"] < 0.65 * sizes["tflite", "dynamic_int8"]


def test_integers_are_counted_by_what_runs(manifest: Manifest) -> None:
    tflite = row_of(manifest, "tflite", "int8").integer.to_document()
    assert tflite["integer_macs_share"] == 1.0
    assert tflite["islands"] == []
    onnx = row_of(manifest, "onnx", "int8").integer.to_document()
    assert onnx["basis"] == "ONNX Runtime's optimised graph"
    assert onnx["integer_macs_share"] == 1.0
    assert [(i["layer"], i["operation"]) for i in onnx["islands"]] == [("features", "ReduceMean")]
    assert onnx["macs"] == tflite["macs"] == 3_118_624
    hybrid = row_of(manifest, "tflite", "dynamic_int8").integer.to_document()
    assert (hybrid["integer_macs_share"], hybrid["hybrid_macs_share"]) == (0.0, 1.0)


def test_a_float_island_fails_a_fully_integer_run(outcome: Outcome, manifest: Manifest) -> None:
    gates = {a.path: a.gates[0] for a in manifest.artifacts if a.gates}
    assert {path for path, gate in gates.items() if not gate.passed} == {"digits_se_inception.int8.onnx"}
    assert "features (ReduceMean)" in gates["digits_se_inception.int8.onnx"].reason
    assert outcome.exit_code == 1


def test_the_published_schema_describes_every_field_of_it(manifest: Manifest) -> None:
    assert undescribed(manifest.to_document()) == []


def test_calibration_is_told(manifest: Manifest) -> None:
    told = row_of(manifest, "onnx", "int8").calibration.to_document()
    assert told == {"source": "128 samples of digits_calibration.npz", "samples": 128, "findings": []}
    assert row_of(manifest, "onnx", "dynamic_int8").calibration is None


def test_the_recommendation_names_artifacts_that_pass(manifest: Manifest) -> None:
    recommended = manifest.recommended
    agreed = {v.artifact for v in manifest.verdicts if v.status == "agree"}
    assert recommended["smallest"] == "digits_se_inception.dynamic_int4.tflite"
    assert isinstance(recommended["choice"], dict)
    assert isinstance(recommended["pareto"], list)
    assert {recommended["smallest"], recommended["most_accurate"], recommended["choice"]["cpu"]} <= agreed
    assert recommended["smallest"] in recommended["pareto"]
    assert "digits_se_inception.float32.savedmodel" not in recommended["pareto"]


def test_the_bundle_runs_again_and_its_report_tells(manifest: Manifest, folder: Path) -> None:
    assert execute(Bundle(folder, manifest)) == []
    for text in ((folder / name).read_text() for name in ("report.html", "report.md")):
        assert "Really integer?" in text
        assert "features" in text


def test_integer_inputs_and_outputs(folder: Path, manifest: Manifest, tmp_path: Path) -> None:
    """int8 and uint8 ends cost nothing beside float ones, and int8 codes of both say the same."""
    base = row_of(manifest, "tflite", "float32")
    data = tmp_path / "calibration.npz"
    np.savez(data, image=np.load(CALIBRATION)["image"].astype(np.float32))
    paths = []
    for io in ("int8", "uint8"):
        place = tmp_path / io
        place.mkdir()
        path = place / "digits.int8.tflite"
        signature = base.signature.model_dump(mode="json")
        run_step(
            "converters.workers.reduced:derive_in_worker",
            {
                "bases": {"tflite": {"path": str(folder / base.path), "signature": signature}},
                "targets": [{"item": "", "format": "tflite", "precision": "int8", "path": str(path), "keep": []}],
                "calibration": str(data),
                "io": io,
                "device": "cpu",
                "method": "minmax",
                "scratch": str(place),
                "check": True,
                "ranges": {},
            },
            step="convert",
        )
        paths.append(path)
    found = compare(CHECKPOINT, paths, JudgeJob.of(inputs=SCANS))
    for io, verdict in zip(("int8", "uint8"), found.verdicts, strict=True):
        assert verdict.status == "agree", verdict.reason
        assert any(note.startswith(f"image is {io} (scale") for note in verdict.notes)
        assert verdict.outputs[0].top1_agreement >= 0.99
    assert found.verdicts[0].outputs[0].rmse == pytest.approx(found.verdicts[1].outputs[0].rmse)


def test_float16_holds_where_every_operation_is_computed_in_half(folder: Path, manifest: Manifest) -> None:
    """CPU runtimes widen float16 to float32. The reference evaluator computes each operation in the file's own type."""
    path = folder / row_of(manifest, "onnx", "float16").path
    code = (
        "import sys, numpy as np, onnx; from onnx.reference import ReferenceEvaluator; "
        "scans = np.load(sys.argv[2])['image'][:48]; "
        "np.save(sys.argv[3], ReferenceEvaluator(onnx.load(sys.argv[1])).run(None, {'image': scans})[0])"
    )
    result = folder.parent / "half.npy"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(SCANS), str(result)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "golden.npz") as golden:
        wanted = golden["output/labels"]
    halves = np.load(result)
    assert np.array_equal(halves[: len(wanted)].argmax(axis=1), wanted.argmax(axis=1))
    assert np.abs(halves[: len(wanted)] - wanted).max() < 0.01
    labels = np.load(SCANS)["labels"][:48]
    assert (halves.argmax(axis=1) == labels).mean() > 0.97


def test_int8_without_data_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onnx int8 cannot be made without calibration data") as caught:
        run(str(CHECKPOINT), tmp_path / "out", RunOptions.of(formats=("onnx",), precisions=("int8",)))
    assert "--calibration random" in caught.value.next_step
    assert not (tmp_path / "out").exists()


def targets(**given: Any) -> set[tuple[str, str]]:
    return {(t.format.value, t.precision.value) for t in targets_of(RunOptions.of(**given))}


def test_open_formats_take_what_can_be() -> None:
    assert targets(precisions=("int16x8",), calibration="random") == {("tflite", "int16x8")}
    assert targets(precisions=("float32", "float16")) == {
        ("savedmodel", "float32"),
        ("tflite", "float32"),
        ("onnx", "float32"),
        ("tflite", "float16"),
        ("onnx", "float16"),
    }
    with pytest.raises(UsageError, match="onnx int16x8"):
        targets(formats=("onnx",), precisions=("int16x8",), calibration="random")


def test_auto_takes_what_the_calibration_allows() -> None:
    assert targets(formats=("onnx",), precisions=("auto",)) == {
        ("onnx", "float32"),
        ("onnx", "float16"),
        ("onnx", "dynamic_int8"),
    }
    assert ("onnx", "int8") in targets(formats=("onnx",), precisions=("auto",), calibration="random")
    assert Target(Format.TFLITE, Precision.INT8) in targets_of(
        RunOptions.of(precisions=("auto",), calibration="random")
    )


_DENSE = """
import sys, keras
keras.utils.set_random_seed(0)
inputs = keras.Input((64,), name="x")
hidden = keras.layers.Dense(96, activation="relu", name="wide")(inputs)
keras.Model(inputs, keras.layers.Dense(10, name="labels")(hidden)).save(sys.argv[1])
"""


@pytest.mark.slow
def test_blocks_of_four_bit_weights_run_where_a_layer_divides(tmp_path: Path) -> None:
    source = tmp_path / "dense.keras"
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", _DENSE, str(source)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    options = RunOptions.of(formats=("tflite",), precisions=("dynamic_int4_b32",), time=False)
    outcome = run(str(source), tmp_path / "out", options)
    assert outcome.exit_code == 0
    assert [a.path for a in outcome.manifest.artifacts] == ["dense.dynamic_int4_b32.tflite"], "float32 stays behind"
    assert {p.name for p in (tmp_path / "out").iterdir() if p.name.startswith(("dense", ".float32"))} == {
        "dense.dynamic_int4_b32.tflite"
    }
    integer = outcome.manifest.artifacts[0].integer
    assert integer is not None
    assert integer.hybrid_macs_share == 1.0


@pytest.mark.parametrize(
    ("device", "method", "activations"),
    [("cpu", "entropy", "uint8"), ("tensorrt", "percentile", "int8"), ("tensorrt", "minmax", "int8")],
)
def test_onnx_files_are_sized_for_their_device(
    folder: Path, manifest: Manifest, tmp_path: Path, device: str, method: str, activations: str
) -> None:
    base = row_of(manifest, "onnx", "float32")
    data = tmp_path / "calibration.npz"
    np.savez(data, image=np.load(CALIBRATION)["image"].astype(np.float32))
    path = tmp_path / "digits.int8.onnx"
    run_step(
        "converters.workers.reduced:derive_in_worker",
        {
            "bases": {"onnx": {"path": str(folder / base.path), "signature": base.signature.model_dump(mode="json")}},
            "targets": [{"item": "", "format": "onnx", "precision": "int8", "path": str(path), "keep": []}],
            "calibration": str(data),
            "io": "float",
            "device": device,
            "method": method,
            "scratch": str(tmp_path),
            "check": True,
            "ranges": {},
        },
        step="convert",
    )
    facts = read_onnx(path)
    stored = {initializer.dtype for initializer in facts.initializers}
    assert facts.zero_point_dtypes - {"int32"} <= ({activations} if device == "cpu" else {"int8"})
    assert activations in facts.zero_point_dtypes
    assert ("int32" in stored) is (device == "cpu"), "TensorRT wants float biases"
    assert list(facts.opsets) == [""]


def test_export_says_on_the_terminal_what_is_doubtful_about_the_calibration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain export has no verdicts that could carry it."""
    with np.load(CALIBRATION) as stored:
        np.savez(tmp_path / "few.npz", image=stored["image"][:5])
    words = ["export", str(CHECKPOINT), "-o", str(tmp_path / "out"), "-f", "tflite"]
    assert command([*words, "-p", "int8", "--calibration", str(tmp_path / "few.npz")]) == 0
    assert "Calibration data (few): 5 samples are few" in capsys.readouterr().out
