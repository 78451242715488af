"""manifest and evidence -> report.html, report.md, MODEL_CARD.md and terminal tables.

Pure functions of the manifest less `files[]` and `digest` and of the arrays that the bundle holds, so that a report
can be written again and be the same.
"""

from __future__ import annotations

from exporter.manifest.schema import Manifest
from exporter.report.card import render_card
from exporter.report.evidence import Evidence
from exporter.report.html import render_html
from exporter.report.markdown import render_markdown

REPORT_HTML = "report.html"
REPORT_MD = "report.md"
MODEL_CARD = "MODEL_CARD.md"


def render(manifest: Manifest, evidence: Evidence = Evidence()) -> dict[str, str]:
    """The text of the reports, by file name."""
    bare = manifest.model_copy(update={"files": (), "digest": None})
    return {REPORT_HTML: render_html(bare, evidence), REPORT_MD: render_markdown(bare), MODEL_CARD: render_card(bare)}
