"""A table of a report as finished text, before any markup."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from exporter.report import wording as say

Kind = Literal["text", "name", "number", "status"]


@dataclass(frozen=True)
class Column:
    title: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Table:
    """Finished text in rows. `note` explains the columns in one or two sentences."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def table(title: str, columns: tuple[Column, ...], rows: Iterable[Iterable[str]], note: str = "") -> Table:
    """Cells cleaned, columns without any value left out."""
    cells = [[say.clean(cell) for cell in row] for row in rows]
    indexes = [i for i in range(len(columns)) if any(row[i] != say.NONE for row in cells)]
    body = tuple(tuple(row[i] for i in indexes) for row in cells)
    return Table(title, tuple(columns[i] for i in indexes), body, say.clean(note))
