"""JUnit XML for build servers: a test case a row, its figures as properties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree as Xml

from converters.errors import ResourceError
from exporter.cli.console import printable

if TYPE_CHECKING:
    from exporter.manifest.rows import Miss
    from validate.agreement.losses import Loss
    from validate.agreement.rows import VerdictRow

Outcome = Literal["", "error", "failure", "skipped"]
_COUNTS: dict[Outcome, str] = {"error": "errors", "failure": "failures", "skipped": "skipped"}


@dataclass(frozen=True)
class Case:
    """One test case.

    Attributes:
        outcome: empty where it passed; else `message` says why not.
    """

    name: str
    seconds: float = 0.0
    outcome: Outcome = ""
    message: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


def junit(suite: str, classname: str, cases: Iterable[Case]) -> str:
    """The document of one test suite."""
    root = Xml.Element("testsuite", name=suite)
    listed = list(cases)
    for case in listed:
        about = {"classname": classname, "name": printable(case.name), "time": f"{case.seconds:.9f}"}
        element = Xml.SubElement(root, "testcase", about)
        if case.properties:
            properties = Xml.SubElement(element, "properties")
            for name, value in case.properties.items():
                Xml.SubElement(properties, "property", name=printable(name), value=printable(value))
        if case.outcome:
            Xml.SubElement(element, case.outcome, message=printable(case.message))
    root.set("tests", str(len(listed)))
    for outcome, key in _COUNTS.items():
        root.set(key, str(sum(case.outcome == outcome for case in listed)))
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def verdict_case(row: VerdictRow, misses: Iterable[Miss]) -> Case:
    """A verdict: `error` where the file could not be judged, `failure` where it misses a gate."""
    words = [miss.sentence for miss in misses if miss.subject == row.artifact]
    outcome: Outcome = "error" if row.status == "error" else "failure" if words else ""
    return Case(row.artifact, 0.0, outcome, " ".join(words) or row.reason, verdict_properties(row))


def verdict_properties(row: VerdictRow) -> dict[str, str]:
    """`verdict`, `loss` (`kept`, `lost` or `unproven`) and what they rest on."""
    found = {"verdict": str(row.status), "verdict_reason": row.reason}
    return {name: value for name, value in {**found, **_of_loss(row.loss)}.items() if value}


def _of_loss(loss: Loss | None) -> dict[str, str]:
    if loss is None:
        return {}
    changed, drop = loss.changed, loss.drop
    return {
        "loss": str(loss.status),
        "loss_reason": loss.reason,
        "changed": f"{changed.count} of {changed.of} {changed.what}" if changed else "",
        "sqnr_db": "" if loss.sqnr_db is None else f"{loss.sqnr_db:.2f}",
        "metric": loss.metric or "",
        "drop": "" if drop is None or drop.value is None else f"{drop.value:.6g}",
        "drop_high": "" if drop is None or drop.high is None else f"{drop.high:.6g}",
    }


def write_text(path: Path, text: str) -> None:
    """Writes a file that was asked for. Raises ResourceError where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as cause:
        raise ResourceError(
            f"{path} cannot be written: {cause.strerror}.", next_step="Give another place.", file=path
        ) from cause
