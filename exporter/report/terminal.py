"""The tables that a terminal shows: columns and rows of plain text for `Console.table`."""

from __future__ import annotations

from exporter.manifest.schema import Manifest
from exporter.report import view
from exporter.report.elsewhere import elsewhere, estimated

TerminalTable = tuple[str, list[str], list[list[str]]]


def terminal_tables(manifest: Manifest) -> list[TerminalTable]:
    """(title, columns, rows) of what a person looks for first: artifacts, what was not made, devices not timed,
    and where the time goes, if that was asked for."""
    chosen = (
        view.summary(manifest),
        elsewhere(manifest),
        view.failures(manifest),
        estimated(manifest),
        view.not_timed(manifest),
        *view.profiles(manifest),
    )
    return [(t.title, [c.title for c in t.columns], [list(row) for row in t.rows]) for t in chosen if t.rows]
