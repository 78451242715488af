from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.artifact import digest, size_of
from converters.errors import UsageError
from exporter.bundle import Bundle, Problem, finish, open_bundle, rewrite_reports, staged, verify, write_golden
from exporter.bundle.execute import compare, execute, tolerance
from exporter.cli.report import command as report_command
from exporter.cli.verify import command as verify_command
from exporter.manifest.reader import load
from exporter.manifest.rows import FileRow
from exporter.manifest.schema import Manifest

EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def named(problems: list[Problem]) -> dict[str, str]:
    return {problem.path: problem.problem for problem in problems}


def listed(bundle: Path) -> list[str]:
    return [row.path for row in load(bundle / "manifest.json").files]


def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the manifest as an attacker would who knows how the digests are made."""
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    manifest = Manifest.from_document(document)
    path.write_bytes(manifest.with_files(manifest.files).to_bytes())


@EXAMPLES
@given(data=st.data())
def test_one_changed_byte_in_any_listed_file_is_found_and_named(bundle: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(listed(bundle)))
    path = bundle / name
    original = path.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(original)
    changed[place] ^= 1 << bit
    path.write_bytes(bytes(changed))
    try:
        assert named(verify(bundle)) == {name: "is changed: its SHA-256 is not the listed one"}
    finally:
        path.write_bytes(original)
    assert verify(bundle) == []


@EXAMPLES
@given(data=st.data())
def test_any_changed_byte_of_the_manifest_that_changes_its_meaning_is_found(bundle: Path, data: st.DataObject) -> None:
    path = bundle / "manifest.json"
    original = path.read_bytes()
    changed = bytearray(original)
    changed[data.draw(st.integers(0, len(original) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        same = json.loads(bytes(changed)) == json.loads(original)
    except ValueError:
        same = False
    path.write_bytes(bytes(changed))
    try:
        assert (verify(bundle) == []) == same
    finally:
        path.write_bytes(original)


def test_missing_extra_and_resized_files_are_all_named(bundle: Path) -> None:
    (bundle / "edgeport.log").unlink()
    (bundle / "latency" / "planted.so").write_bytes(b"x")
    with (bundle / "digits.float32.onnx").open("ab") as stream:
        stream.write(b"x")
    assert named(verify(bundle)) == {
        "edgeport.log": "is missing",
        "latency/planted.so": "is extra: the manifest does not list it",
        "digits.float32.onnx": "is changed: 401 bytes instead of 400",
    }


def test_a_signature_file_is_no_extra(bundle: Path) -> None:
    (bundle / "model.sig").write_text("signed")
    assert verify(bundle) == []


def test_a_link_is_named_even_where_its_target_has_the_right_bytes(bundle: Path, tmp_path: Path) -> None:
    path = bundle / "digits.float32.onnx"
    (tmp_path / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert named(verify(bundle)) == {"digits.float32.onnx": "is a symbolic link"}


def test_a_linked_folder_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "latency").rename(tmp_path / "elsewhere")
    (bundle / "latency").symlink_to(tmp_path / "elsewhere")
    problems = named(verify(bundle))
    assert problems["latency"] in {"is a symbolic link", "is extra: the manifest does not list it"}
    assert problems["latency/digits.float32.onnx.cpu.npy"] == "is missing"


def test_a_hard_link_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "other name").hardlink_to(bundle / "golden.npz")
    assert named(verify(bundle)) == {"golden.npz": "is a hard link: another name can change it"}


def test_a_pipe_is_named_and_does_not_block(bundle: Path) -> None:
    (bundle / "edgeport.log").unlink()
    os.mkfifo(bundle / "edgeport.log")
    assert named(verify(bundle)) == {"edgeport.log": "is not a regular file"}


def test_a_name_that_is_no_text_is_named(bundle: Path) -> None:
    Path(os.fsdecode(bytes(bundle) + b"/\xff\xfe")).write_bytes(b"")
    (problem,) = verify(bundle)
    assert problem.problem.startswith("is extra")
    problem.path.encode()


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../b", "./a", "a//b", "a\\b", "", "."])
def test_paths_that_leave_the_bundle_are_named(bundle: Path, path: str) -> None:
    edit(bundle, lambda d: d["files"].append({"path": path, "size_bytes": 0, "sha256": "0" * 64}))
    assert named(verify(bundle)) == {path: "is not a path inside the bundle"}


def test_a_row_that_stands_twice_is_named(bundle: Path) -> None:
    edit(bundle, lambda d: d["files"].append(next(row for row in d["files"] if row["path"] == "golden.npz")))
    assert named(verify(bundle)) == {"golden.npz": "is listed twice"}


def test_names_that_differ_only_in_case_are_named(bundle: Path) -> None:
    (bundle / "Golden.npz").write_bytes((bundle / "golden.npz").read_bytes())

    def twin(document: dict[str, Any]) -> None:
        row = next(row for row in document["files"] if row["path"] == "golden.npz")
        document["files"].append(row | {"path": "Golden.npz"})

    edit(bundle, twin)
    assert "only in case" in named(verify(bundle))["golden.npz"]


def test_the_manifest_may_not_be_listed(bundle: Path) -> None:
    row = {"path": "manifest.json", "size_bytes": 1, "sha256": "0" * 64}
    edit(bundle, lambda d: d["files"].append(row))
    assert "may not be listed" in {problem.problem for problem in verify(bundle)}


def test_an_artifact_row_must_match_its_files(bundle: Path) -> None:
    edit(bundle, lambda d: d["artifacts"][0].update(sha256="0" * 64))
    assert named(verify(bundle)) == {"digits.float32.savedmodel": "its artifact row does not match its files"}


def test_an_artifact_without_a_file_is_named(bundle: Path) -> None:
    edit(bundle, lambda d: d["artifacts"][0].update(path="ghost.onnx"))
    assert named(verify(bundle)) == {"ghost.onnx": "is an artifact without a file"}


def test_an_edited_manifest_is_named_and_the_files_are_still_checked(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace('"kind": "keras"', '"kind": "other"'))
    (bundle / "edgeport.log").unlink()
    problems = verify(bundle)
    assert {p.path for p in problems} == {"manifest.json", "edgeport.log"}
    assert {p.problem for p in problems} == {
        "does not match its own digest: it was edited or damaged",
        "its content digest does not match what it lists",
        "is missing",
    }


def test_a_missing_manifest_is_a_problem_and_a_missing_folder_a_mistake(bundle: Path, tmp_path: Path) -> None:
    (bundle / "manifest.json").unlink()
    assert named(verify(bundle)) == {"manifest.json": "is not a regular file"}
    with pytest.raises(UsageError):
        verify(tmp_path / "nowhere")


def test_the_command_prints_one_document_and_exits_8(bundle: Path) -> None:
    good = CliRunner().invoke(verify_command, [str(bundle), "--json"], standalone_mode=False)
    assert (good.return_value, json.loads(good.stdout)) == (0, {"ok": True, "problems": []})
    (bundle / "edgeport.log").unlink()
    bad = CliRunner().invoke(verify_command, [str(bundle), "--json"], standalone_mode=False)
    document = json.loads(bad.stdout)
    assert bad.return_value == 8
    assert document["ok"] is False
    assert document["problems"] == [{"path": "edgeport.log", "problem": "is missing"}]
    assert document["error"]["code"] == 8
    text = CliRunner().invoke(verify_command, [str(bundle)], standalone_mode=False)
    assert text.return_value == 8
    assert "edgeport.log" in text.stdout
    assert "next:" in text.stderr


def test_the_report_command_changes_only_its_own_rows(bundle: Path) -> None:
    before = json.loads((bundle / "manifest.json").read_text())
    report = (bundle / "report.md").read_bytes()
    (bundle / "report.md").write_text("scribbled over")
    (bundle / "report.html").unlink()
    assert {p.path for p in verify(bundle)} == {"report.md", "report.html"}
    result = CliRunner().invoke(report_command, [str(bundle)], standalone_mode=False)
    assert result.exception is None
    assert verify(bundle) == []
    assert (bundle / "report.md").read_bytes() == report
    assert json.loads((bundle / "manifest.json").read_text()) == before


def test_the_report_command_does_not_bless_other_changes(bundle: Path) -> None:
    with (bundle / "golden.npz").open("ab") as stream:
        stream.write(b"x")
    rewrite_reports(bundle)
    assert set(named(verify(bundle))) == {"golden.npz"}


def test_the_report_command_refuses_an_edited_manifest(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace('"agree"', '"error"'))
    result = CliRunner().invoke(report_command, [str(bundle)], standalone_mode=False)
    assert getattr(result.exception, "exit_code", None) == 8


def test_the_report_command_writes_through_no_link(bundle: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (".report.md.part", ".manifest.json.part"):
        (bundle / name).symlink_to(victim)
    (bundle / "report.html").unlink()
    (bundle / "report.html").symlink_to(victim)
    rewrite_reports(bundle)
    assert victim.read_text() == "precious"
    assert verify(bundle) == []


def test_tolerance_is_four_times_the_worst_error_of_an_agreeing_sibling(sample_document: dict[str, Any]) -> None:
    sample_manifest = Manifest.from_document(sample_document)
    exact, *_ = sample_manifest.artifacts
    assert tolerance(sample_manifest, exact, "digit", largest=1.0) == pytest.approx(4 * 3.4e-7)
    assert tolerance(sample_manifest, exact, "other", largest=5.0) == pytest.approx(5e-6)
    sample_document["verdicts"][2]["outputs"][0]["probability_max_abs"] = None
    on_logits = Manifest.from_document(sample_document)
    assert tolerance(on_logits, exact, "digit", largest=1.0) == pytest.approx(4 * 3.4e-6)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a + 1e-6, None),
        (lambda a: a + 1e-5, "differs"),
        (lambda a: np.zeros_like(a), "differs"),
        (lambda a: a[:, :5], "shape"),
        (lambda a: np.where(a > 0.5, np.nan, a), "finite"),
        (lambda a: np.where(a > 0.5, np.inf, a), "finite"),
    ],
)
def test_compare(sample_manifest: Manifest, change: Callable[[Any], Any], word: str | None) -> None:
    golden = np.linspace(0, 1, 20, dtype=np.float32).reshape(2, 10)
    problems = compare(sample_manifest, sample_manifest.artifacts[1], {"digit": golden}, {"digit": change(golden)})
    assert [word in p.problem for p in problems] == ([] if word is None else [True])


def test_compare_names_outputs_that_are_not_there(sample_manifest: Manifest) -> None:
    golden = np.ones((1, 10))
    (problem,) = compare(sample_manifest, sample_manifest.artifacts[1], {"digit": golden}, {"Identity:0": golden})
    assert "Identity:0, digit" in problem.problem


def test_values_that_are_infinite_on_both_sides_agree(sample_manifest: Manifest) -> None:
    golden = np.array([[np.inf, 1.0, np.nan]])
    assert compare(sample_manifest, sample_manifest.artifacts[1], {"digit": golden}, {"digit": golden.copy()}) == []


_MAKE_ONNX = """
import sys
import onnx
from onnx import TensorProto, helper
gain = helper.make_tensor("gain", TensorProto.FLOAT, [], [float(sys.argv[2])])
ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in ("x", "y")]
graph = helper.make_graph([helper.make_node("Mul", ["x", "gain"], ["y"])], "g", ends[:1], ends[1:], [gain])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(model, sys.argv[1])
"""


@pytest.fixture
def runnable(tmp_path: Path, sample_document: dict[str, Any]) -> Callable[[float], Path]:
    """A bundle with one real ONNX file, y = gain * x; the golden outputs are those of gain 2."""

    def make(gain: float) -> Path:
        tensors = [{"name": name, "shape": ["batch", 3], "dtype": "float32"} for name in ("x", "y")]
        signature = {"inputs": tensors[:1], "outputs": tensors[1:]}
        row = {"path": "m.float32.onnx", "format": "onnx", "precision": "float32", "signature": signature}
        x = np.arange(12, dtype=np.float32).reshape(4, 3)
        with staged(tmp_path / "runnable") as folder:
            path = folder / "m.float32.onnx"
            subprocess.run([sys.executable, "-c", _MAKE_ONNX, str(path), str(gain)], check=True)
            write_golden(folder / "golden.npz", {"x": x}, {"y": 2 * x})
            artifact = row | {"size_bytes": size_of(path), "sha256": digest(path)}
            document = sample_document | {
                "artifacts": [artifact],
                "signature": signature,
                "verdicts": [],
                "timings": [],
                "comparisons": [],
            }
            finish(folder, Manifest.from_document(document))
        return tmp_path / "runnable"

    return make


def test_execute_runs_the_golden_inputs_again(runnable: Callable[[float], Path]) -> None:
    bundle = runnable(2.0)
    result = CliRunner().invoke(verify_command, [str(bundle), "--execute", "--json"], standalone_mode=False)
    assert json.loads(result.stdout) == {"ok": True, "problems": []}
    assert verify(bundle) == []


def test_execute_finds_an_artifact_that_computes_something_else(runnable: Callable[[float], Path]) -> None:
    bundle = runnable(2.001)
    (problem,) = execute(open_bundle(bundle))
    assert problem.path == "m.float32.onnx"
    assert "differs from the golden output by 0.011" in problem.problem


def test_execute_names_an_artifact_that_does_not_run(bundle: Path) -> None:
    manifest = load(bundle / "manifest.json")
    onnx = manifest.model_copy(update={"artifacts": manifest.artifacts[2:]})
    (problem,) = execute(Bundle(bundle, onnx))
    assert problem.path == "digits.float32.onnx"
    assert "could not be run" in problem.problem


def test_execute_needs_golden_vectors(bundle: Path, sample_manifest: Manifest) -> None:
    bare = sample_manifest.with_files((FileRow(path="edgeport.log", size_bytes=1, sha256="a" * 64),))
    with pytest.raises(UsageError, match=r"golden\.npz"):
        execute(Bundle(bundle, bare))
