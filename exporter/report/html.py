"""`report.html`: one file, no script, nothing fetched; light and dark, phone and paper."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from exporter.manifest.passing import passing
from exporter.manifest.schema import Manifest
from exporter.report import choice, facts, view
from exporter.report.commands import commands
from exporter.report.distributions import distributions
from exporter.report.evidence import Evidence
from exporter.report.headline import disturbance, headline
from exporter.report.layers import depths, profiles
from exporter.report.naming import short_names
from exporter.report.pareto import pareto
from exporter.report.samples import samples
from exporter.report.tables import Table
from exporter.report.wording import clean

_TONES = {
    "agree": "good", "disagree": "bad", "inconclusive": "warn", "error": "bad", "not judged": "warn",
    "unsupported": "warn", "failed": "bad", "crashed": "bad", "timeout": "bad", "oom": "bad", "unavailable": "warn",
    "untimed": "plain",
    "passed": "good", "missed": "bad", "FASTER": "good", "SLOWER": "bad", "SAME": "plain", "AMBIGUOUS": "warn",
}  # fmt: skip
_APART = {"Artifacts", "Not made", "Source and environment"}
"""Tables that have a section of their own; the others are folded away under Details."""

_AGAIN = {
    "Gates": "agreement",
    "Agreement": "agreement",
    "Latency": "latency",
    "Start and memory": "latency",
    "Comparisons": "latency",
}


def render_html(manifest: Manifest, evidence: Evidence) -> str:
    """The page as text. Everything that came from a file is escaped by the template engine."""
    return _template().render(
        title=clean(manifest.source.path.rstrip("/").rsplit("/", 1)[-1]),
        head=headline(manifest),
        misses=[clean(miss.sentence) for miss in passing(manifest).misses],
        key_facts=facts.key_facts(manifest),
        picks=choice.picks(manifest),
        unmet=choice.unmet(manifest),
        unproven=choice.unproven(manifest),
        summary=_short(view.summary(manifest)),
        failures=view.failures(manifest),
        facts=facts.groups(manifest),
        pareto=pareto(manifest),
        latency=distributions(manifest, evidence),
        disturbed=disturbance(manifest),
        samples=samples(manifest, evidence),
        depths=depths(manifest),
        profiles=profiles(manifest),
        tables=[table for table in view.tables(manifest) if table.title not in _APART],
        names={clean(path): name for path, name in short_names(manifest).items()},
        again=commands(manifest),
        again_of=_AGAIN,
        tones=_TONES,
        made=clean(f"{manifest.tool.name} {manifest.tool.version}, {manifest.created}"),
    )


def _short(summary: Table) -> Table:
    """The columns that fit on a page: the noise ratio stands under Agreement, and one device alone needs no column."""
    one_device = len({row[k] for row in summary.rows for k, c in enumerate(summary.columns) if c.title == "Device"}) < 2
    left_out = {"Noise ratio", *({"Device"} if one_device else ())}
    indexes = [k for k, column in enumerate(summary.columns) if column.title not in left_out]
    rows = tuple(tuple(row[k] for k in indexes) for row in summary.rows)
    return Table(summary.title, tuple(summary.columns[k] for k in indexes), rows, "Of each artifact's worst output.")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2")
