"""manifest -> report.md, report.html and terminal tables.

Pure functions of the manifest less `files[]` and `digest`, so that a report can be written again and be the same.
"""

from __future__ import annotations

from exporter.manifest import Manifest
from exporter.report.html import render_html
from exporter.report.markdown import render_markdown

REPORT_HTML = "report.html"
REPORT_MD = "report.md"


def render(manifest: Manifest) -> dict[str, str]:
    """The text of both reports, by file name."""
    bare = manifest.model_copy(update={"files": (), "digest": None})
    return {REPORT_HTML: render_html(bare), REPORT_MD: render_markdown(bare)}
