"""JUnit XML: verdicts with what they cost, for build servers."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any
from xml.etree import ElementTree as Xml

from exporter.cli.junit import junit, verdict_case
from exporter.manifest.passing import verdict_misses
from validate.agreement.losses import KEPT, LOST, UNPROVEN, Changed, Estimate, Loss
from validate.agreement.rows import AGREE, ERROR, OutputRow, VerdictRow


def row(name: str, loss: Loss | None, status: Any = AGREE) -> VerdictRow:
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(OutputRow) if field.default is MISSING)
    output = OutputRow(**nothing | {"name": "y", "status": status, "reason": "", "loss": loss})
    return VerdictRow(name, status, "it is told", outputs=(output,), loss=loss)


def test_each_verdict_is_a_case_with_its_loss() -> None:
    changed = Changed("classes", 3, 16, Estimate(0.2, 0.1, 0.4), (1, 2, 3))
    rows = [
        row("a.tflite", Loss(KEPT, "0 of 16 classes change", "y", None, 41.25)),
        row("b.tflite", Loss(UNPROVEN, "3 of 16 classes change", "y", changed)),
        row("c.tflite", Loss(LOST, "too <much>", "y", metric="top1", drop=Estimate(1.5, 0.5, 2.5))),
        row("d.tflite", None, ERROR),
    ]
    misses = list(verdict_misses(rows, allow_inconclusive=False))
    suite = Xml.fromstring(junit("edgeport validate", "edgeport.validate", [verdict_case(r, misses) for r in rows]))
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "0",
    }  # fmt: skip
    told = [{p.get("name"): p.get("value") for p in case.iter("property")} for case in suite]
    assert [properties.get("loss") for properties in told] == ["kept", "unproven", "lost", None]
    assert (told[0]["sqnr_db"], told[1]["changed"]) == ("41.25", "3 of 16 classes")
    assert (told[2]["metric"], told[2]["drop"], told[2]["drop_high"]) == ("top1", "1.5", "2.5")
    failure = suite[2].find("failure")
    assert failure is not None
    assert "too <much>" in str(failure.get("message"))
    assert suite[1].find("failure") is None, "what is not proven is no gate missed"
    assert suite[3].find("error") is not None
