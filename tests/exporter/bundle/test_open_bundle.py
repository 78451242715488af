"""Every command that takes a bundle opens it in the same way: what does not verify is exit 8, in the same sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from converters.errors import EdgeportError
from exporter.bundle import open_bundle
from exporter.cli import hook
from exporter.cli.main import run
from exporter.integrations import mlflow_logger as tracking
from exporter.manifest.schema import Manifest

Captured = pytest.CaptureFixture[str]
ONNX = "digits.float32.onnx"


def edited(bundle: Path) -> str:
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace('"disagree"', '"agree"').replace("2026-03", "2027-03"))
    return "manifest.json does not match its own digest: it was edited or damaged"


def cut_short(bundle: Path) -> str:
    (bundle / "manifest.json").write_text("{")
    return "manifest.json is not valid JSON"


def linked(bundle: Path) -> str:
    shutil.move(bundle / "manifest.json", bundle.parent / "elsewhere.json")
    (bundle / "manifest.json").symlink_to(bundle.parent / "elsewhere.json")
    return "manifest.json is not a regular file"


def outside(bundle: Path) -> str:
    """The digests are right: whoever wrote this manifest knows how they are made."""
    shutil.move(bundle / ONNX, bundle.parent / "outside.onnx")
    document = json.loads((bundle / "manifest.json").read_text().replace(ONNX, "../outside.onnx"))
    manifest = Manifest.from_document(document)
    (bundle / "manifest.json").write_bytes(manifest.with_files(manifest.files).to_bytes())
    return "../outside.onnx is not a path inside the bundle"


def damaged(bundle: Path) -> str:
    (bundle / ONNX).write_bytes(bytes((bundle / ONNX).stat().st_size))
    return f"{ONNX} is changed: its SHA-256 is not the listed one"


def lost(bundle: Path) -> str:
    (bundle / ONNX).unlink()
    return f"{ONNX} is missing"


def led_out(bundle: Path) -> str:
    shutil.move(bundle / ONNX, bundle.parent / "outside.onnx")
    (bundle / ONNX).symlink_to(bundle.parent / "outside.onnx")
    return f"{ONNX} is a symbolic link"


IN_THE_FILES = (damaged, lost, led_out)
CHANGES = (edited, cut_short, linked, outside, *IN_THE_FILES)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4])
    gives = helper.make_tensor_value_info("digit", TensorProto.FLOAT, ["batch", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["digit"])], "g", [given], [gives])
    path = tmp_path / "reference.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def by_command(*arguments: str) -> Callable[[Path, Path, Captured], tuple[int, str]]:
    """What a command line answers to a bundle: exit code and message; REF and DIR stand for the paths."""

    def answer(bundle: Path, reference: Path, captured: Captured) -> tuple[int, str]:
        words = [{"REF": str(reference), "DIR": str(bundle)}.get(word, word) for word in arguments]
        code = run([*words, "--json"])
        return code, json.loads(captured.readouterr().out)["error"]["message"]

    return answer


def by_hook(bundle: Path, _reference: Path, captured: Captured) -> tuple[int, str]:
    code = hook.main([str(bundle / "report.md")])
    return 8 * code, captured.readouterr().out.strip().removeprefix("edgeport: ")


def by_tracking(bundle: Path, _reference: Path, _captured: Captured) -> tuple[int, str]:
    try:
        tracking.log_bundle(bundle)
    except EdgeportError as error:
        return error.exit_code, error.message
    return 0, ""


def by_diff_of_itself(bundle: Path, _reference: Path, captured: Captured) -> tuple[int, str]:
    return by_command("diff", str(bundle), str(bundle))(bundle, _reference, captured)


COMMANDS = {
    "validate": by_command("validate", "REF", "DIR"),
    "bench": by_command("bench", "DIR", "--max-seconds", "1"),
    "verify": by_command("verify", "DIR"),
    "verify --execute": by_command("verify", "DIR", "--execute"),
    "diff": by_diff_of_itself,
    "hook": by_hook,
    "log_bundle": by_tracking,
    "sign": by_command("sign", "DIR", "--key", "nowhere.pem"),
}
REPORT = {"report": by_command("report", "DIR")}
"""Writes some of the files again, which it does where others are damaged: `verify` goes on naming those."""


PASSED_OVER = {
    **dict.fromkeys((("report", change) for change in IN_THE_FILES), "it writes the report of what is there"),
    **dict.fromkeys((("hook", change) for change in (cut_short, linked)), "nothing says that it is edgeport's"),
}


@pytest.mark.parametrize(
    ("command", "change"),
    [(c, change) for c in [*COMMANDS, *REPORT] for change in CHANGES if (c, change) not in PASSED_OVER],
)
def test_what_does_not_verify_is_exit_8_in_the_same_sentence(
    command: str, change: Callable[[Path], str], bundle: Path, reference: Path, capsys: Captured
) -> None:
    if command == "sign":
        pytest.importorskip("model_signing", reason="needs the extra `sign`")
    why = change(bundle)
    code, message = {**COMMANDS, **REPORT}[command](bundle, reference, capsys)
    assert (code, message.startswith(f"{bundle} does not verify: {why}")) == (8, True), message
    with pytest.raises(EdgeportError) as caught:
        open_bundle(bundle, whole=command not in REPORT)
    assert message == caught.value.message


@pytest.mark.parametrize("command", [name for name in [*COMMANDS, *REPORT] if name != "hook"])
def test_a_path_that_is_not_there_is_exit_2(command: str, tmp_path: Path, reference: Path, capsys: Captured) -> None:
    code, message = {**COMMANDS, **REPORT}[command](tmp_path / "nowhere", reference, capsys)
    assert (code, "nowhere" in message) == (2, True), message


def test_an_open_bundle_tells_its_artifacts_and_golden_vectors(
    bundle: Path, sample_document: dict[str, Any], fill_bundle: Callable[..., Manifest]
) -> None:
    opened = open_bundle(bundle)
    assert [path.name for path in opened.artifacts] == [row["path"] for row in sample_document["artifacts"]]
    assert opened.golden == bundle / "golden.npz"
    assert opened.notes == ()
