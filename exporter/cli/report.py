"""`edgeport report DIR`: writes report.md and report.html again from the manifest."""

from __future__ import annotations

from pathlib import Path

import click

from converters.errors import UsageError
from exporter.cli.console import Console
from exporter.cli.options import output_options


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@output_options
def command(folder: Path, console: Console) -> None:
    """Write a bundle's report again from its manifest; nothing else in the bundle changes."""
    from exporter.bundle import rewrite_reports
    from exporter.report import REPORT_HTML, REPORT_MD
    from exporter.report.terminal import terminal_tables

    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder.", next_step="Name the folder that `edgeport run -o` wrote.", file=folder
        )
    manifest = rewrite_reports(folder)
    for title, columns, rows in terminal_tables(manifest):
        console.table(title, columns, rows)
    console.say(f"Wrote {folder / REPORT_MD} and {folder / REPORT_HTML}.")
    console.document({"reports": [str(folder / REPORT_MD), str(folder / REPORT_HTML)], "digest": manifest.digest})
