"""`report.html`: one file, no script, nothing fetched; light and dark, phone and paper."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from exporter.manifest import Manifest
from exporter.report import view
from exporter.report.headline import headline
from exporter.report.plots import latency_plot, scatter_plot
from exporter.report.wording import clean

_TONES = {
    "agree": "good", "disagree": "bad", "inconclusive": "warn", "error": "bad", "not judged": "warn",
    "unsupported": "warn", "failed": "bad", "crashed": "bad", "timeout": "bad", "oom": "bad", "unavailable": "warn",
    "FASTER": "good", "SLOWER": "bad", "SAME": "plain", "AMBIGUOUS": "warn",
}  # fmt: skip


def render_html(manifest: Manifest) -> str:
    """The page as text. Everything that came from a file is escaped by the template engine."""
    return _template().render(
        title=clean(manifest.source.path.rstrip("/").rsplit("/", 1)[-1]),
        head=headline(manifest),
        summary=view.summary(manifest),
        failures=view.failures(manifest),
        latency=latency_plot(manifest),
        scatter=scatter_plot(manifest),
        tables=[table for table in view.tables(manifest) if table.title not in {"Artifacts", "Not made"}],
        command=view.command(manifest),
        made=clean(f"{manifest.tool.name} {manifest.tool.version}, {manifest.created}"),
        tones=_TONES,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2")
