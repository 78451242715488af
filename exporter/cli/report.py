"""`edgeport report DIR`: writes report.md and report.html again from the manifest."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.cli.console import Console
from exporter.cli.options import output_options


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@output_options
def command(folder: Path, console: Console) -> None:
    """Write a bundle's report again from its manifest; nothing else in the bundle changes."""
    from exporter.bundle import open_bundle, rewrite_reports
    from exporter.report import REPORT_HTML, REPORT_MD
    from exporter.report.terminal import terminal_tables

    notes = open_bundle(folder, whole=False).notes  # what is written again is no longer of an older version
    manifest = rewrite_reports(folder)
    for note in notes:
        console.note(note)
    for title, columns, rows in terminal_tables(manifest):
        console.table(title, columns, rows)
    console.say(f"Wrote {folder / REPORT_MD} and {folder / REPORT_HTML}.")
    console.document({"reports": [str(folder / REPORT_MD), str(folder / REPORT_HTML)], "digest": manifest.digest})
