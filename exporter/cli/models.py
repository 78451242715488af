"""`edgeport models`."""

from __future__ import annotations

import click

from exporter.cli.console import Console
from exporter.cli.options import output_options
from exporter.models.table import ARCHITECTURES, Architecture


@click.command("models")
@output_options
def command(*, console: Console) -> None:
    """List the architectures that can be built by name.

    With -v, the settings that --set takes.
    """
    rows = list(ARCHITECTURES.values())
    console.document([_document(row) for row in rows])
    columns = ["name", "input", "parameters", "source"]
    cells = [[row.name, "x".join(map(str, row.input_shape)), f"{row.parameters:,}", row.source] for row in rows]
    if console.verbosity > 0:
        columns.append("settings")
        cells = [[*cell, ", ".join(map(str, row.settings))] for cell, row in zip(cells, rows, strict=True)]
    console.table("", columns, cells)


def _document(row: Architecture) -> dict[str, object]:
    return {
        "name": row.name,
        "input_shape": list(row.input_shape),
        "parameters": row.parameters,
        "source": row.source,
        "classes": row.classes,
        "imagenet": row.imagenet,
        "settings": {setting.name: setting.default for setting in row.settings},
    }
