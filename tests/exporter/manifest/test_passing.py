"""One judgement: exit code, headline, report, model card, tag, hook and recommendation say the same of one manifest."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.bundle import rewrite_reports, staged
from exporter.cli import hook
from exporter.integrations.keras_callback import GateError
from exporter.manifest.passing import exit_code, passing
from exporter.manifest.reader import load
from exporter.manifest.schema import Manifest, document_digest
from exporter.report import MODEL_CARD, REPORT_HTML, REPORT_MD, render, view
from exporter.report.headline import headline
from exporter.run.pipeline import Outcome

RELEASED = Path(__file__).parent / "released"
Change = Callable[[dict[str, Any]], None]

GATE = {"gate": "finite-weights", "passed": False, "reason": "The checkpoint's weights hold NaN or infinity: w."}
SIZE = {
    "subject": "digits.float32.onnx",
    "gate": "max_size_mb",
    "limit": 0.1,
    "value": 0.402,
    "sentence": "No artifact keeps to the limits; digits.float32.onnx: it has 0.402 MB, and 0.1 MB are allowed.",
}


def judged(verdict: dict[str, Any], status: str, reason: str = "these inputs cannot tell") -> None:
    verdict |= {"status": status, "reason": f"digit: {reason}"}
    verdict["outputs"][0] |= {"status": status, "reason": reason}


def disagree(document: dict[str, Any]) -> None:
    judged(document["verdicts"][1], "disagree", "its error is 9 times the noise (limit 4)")
    document["verdicts"][1]["outputs"][0]["gate"]["value"] = 9.0


def overflow(document: dict[str, Any]) -> None:
    judged(document["verdicts"][1], "disagree", "3 values are not finite")
    document["verdicts"][1]["outputs"][0]["nonfinite"] = 3


def crash(document: dict[str, Any]) -> None:
    document["verdicts"][2] |= {"status": "error", "reason": "It crashed.", "outputs": []}


def lose(document: dict[str, Any]) -> None:
    document["verdicts"][1]["loss"] = {
        "status": "lost",
        "reason": "31 of 500 classes change, and 98.0% must keep theirs",
        "gate": {"measure": "classes", "value": 0.938, "limit": 0.98},
    }


def cannot_tell(document: dict[str, Any]) -> None:
    judged(document["verdicts"][2], "inconclusive")


def time_wrongly(document: dict[str, Any]) -> None:
    document["timings"][1] |= {"status": "error", "reason": "Its answers are wrong.", "p50_ms": None}


def unmet(document: dict[str, Any]) -> None:
    document["recommended"] = {"unmet": SIZE["sentence"], "misses": [SIZE], "limits": {"max_size_mb": 0.1}}


MISSED: list[tuple[Change, tuple[str, str, float | None, float | None]]] = [
    (disagree, ("digits.float32.tflite", "noise_ratio", 4.0, 9.0)),
    (overflow, ("digits.float32.tflite", "nonfinite", 0.0, 3.0)),
    (crash, ("digits.float32.onnx", "error", None, None)),
    (lose, ("digits.float32.tflite", "loss", 0.98, 0.938)),
    (cannot_tell, ("digits.float32.onnx", "inconclusive", None, None)),
    (lambda d: d["artifacts"][1].update(gates=[GATE]), ("digits.float32.tflite", "finite-weights", None, None)),
    (time_wrongly, ("digits.float32.tflite", "timing", None, None)),
    (unmet, ("digits.float32.onnx", "max_size_mb", 0.1, 0.402)),
    (
        lambda d: d.update(recommended={"unmet": "No artifact passed.", "limits": {"max_size_mb": 0.1}}),
        ("examples/digits.keras", "limits", None, None),
    ),
]
"""What spoils the sample, and the miss that it is: subject, gate, limit, value."""


@pytest.fixture
def document(sample_document: dict[str, Any]) -> dict[str, Any]:
    """A bundle that passes."""
    return copy.deepcopy(sample_document) | {"failures": []}


def test_a_bundle_that_passes_is_green_everywhere(document: dict[str, Any]) -> None:
    manifest = Manifest.from_document(document)
    assert (exit_code(manifest), passing(manifest).ok, passing(manifest).misses) == (0, True, ())
    assert (headline(manifest).tone, headline(manifest).word) == ("good", "agree")
    assert {row[5] for row in view.gates(manifest).rows} == {"passed"}


@pytest.mark.parametrize(("change", "miss"), MISSED)
def test_whoever_says_passed_says_the_same(
    document: dict[str, Any],
    change: Change,
    miss: tuple[str, str, float | None, float | None],
    fill_bundle: Callable[..., Manifest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(document)
    monkeypatch.chdir(tmp_path)
    with staged(Path("bundle")) as staging:
        manifest = fill_bundle(staging, document)
    (found,) = passing(manifest).misses
    assert (found.subject, found.gate, found.limit, found.value) == miss
    assert exit_code(manifest) == 1
    head = headline(manifest)
    assert head.tone != "good"
    assert head.word not in {"agree", "partial"}, "MLflow's tag"
    assert head.sentence in str(GateError(Path("bundle"), Outcome(manifest, 1)))
    assert "All 3 artifacts agree with digits.keras." not in head.sentence
    assert hook.main(["bundle/manifest.json"]) == 1
    texts = render(manifest)
    reason = found.sentence.split(": ")[-1].rstrip(".")
    for name in (REPORT_HTML, REPORT_MD, MODEL_CARD):
        assert reason.replace("'", "&#39;") in texts[name] or reason in texts[name].replace("\\", ""), name
    results = [row for table in view.tables(manifest) if table.title == "Gates" for row in table.rows]
    assert any(cell in {"missed", "disagree", "inconclusive", "error", "lost"} for row in results for cell in row)
    limits = [row for row in results if any("size" in cell for cell in row)]
    assert not any("passed" in row for row in limits), "a limit that is not kept is not called passed"


def test_a_target_that_was_not_made_is_no_gate(sample_document: dict[str, Any]) -> None:
    manifest = Manifest.from_document(sample_document)
    assert (exit_code(manifest), passing(manifest).ok) == (10, True)
    disagree(sample_document)
    failed = Manifest.from_document(sample_document)
    assert (exit_code(failed), passing(failed).ok) == (10, False)


def test_a_report_written_again_knows_what_was_allowed(
    document: dict[str, Any], fill_bundle: Callable[..., Manifest], tmp_path: Path
) -> None:
    cannot_tell(document)
    described = Manifest.from_document(document)
    allowed = passing(described, allow_inconclusive=True)
    assert (allowed.ok, passing(described).ok) == (True, False)
    with staged(tmp_path / "out") as staging:
        fill_bundle(staging, document | {"passing": allowed.to_document()})
    before = (tmp_path / "out" / REPORT_HTML).read_text()
    again = rewrite_reports(tmp_path / "out")
    assert (tmp_path / "out" / REPORT_HTML).read_text() == before
    assert exit_code(load(tmp_path / "out" / "manifest.json")) == exit_code(again) == 0
    assert hook.complaints([tmp_path / "out" / "manifest.json"], tmp_path) == []
    assert headline(again).word == "inconclusive", "allowed is not the same as agreeing"


def test_an_older_manifest_tells_by_its_command_line(tmp_path: Path) -> None:
    document = json.loads((RELEASED / "manifest-1" / "manifest.json").read_text()) | {"failures": []}
    document["verdicts"][2]["status"] = "inconclusive"
    path = tmp_path / "manifest.json"
    for option, code in (([], 1), (["--allow-inconclusive"], 0)):
        document["tool"]["command"] += option
        path.write_text(json.dumps(document | {"digest": document_digest(document)}))
        assert exit_code(load(path)) == code


@pytest.mark.parametrize(
    ("gate", "shown"),
    [
        ({"measure": "noise_ratio", "value": 0.8, "limit": 3.0}, ("noise ratio", "0.800", "<= 3")),
        ({"measure": "rounding_ratio", "value": 1.1, "limit": 2.5}, ("rounding ratio", "1.10", "<= 2.5")),
        ({"measure": "sqnr_db", "value": 41.5, "limit": 40.0}, ("SQNR", "41.5 dB", ">= 40 dB")),
    ],
)
def test_every_precision_s_gate_stands_in_the_report(
    document: dict[str, Any], gate: dict[str, Any], shown: tuple[str, ...]
) -> None:
    for verdict in document["verdicts"]:
        verdict["outputs"][0]["gate"] = gate
    manifest = Manifest.from_document(document)
    assert {row[2:5] for row in view.gates(manifest).rows} == {shown}
    beside = {"noise ratio": "<= 3 x", "rounding ratio": "<= 2.5 x", "SQNR": "<= 1 x (40 dB)"}
    assert view.agreement(manifest).rows[1][4] == beside[shown[0]]
    assert shown[0] in render(manifest)[REPORT_HTML]
