"""Output for people: text and tables on stdout, progress and errors on stderr, one JSON document under `--json`."""

from __future__ import annotations

import contextlib
import json as jsonlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from converters.errors import EdgeportError
from converters.progress import Progress

ProgressCallback = Progress
"""Called with what is being done and the fraction of the whole that is finished, 0..1."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """The text with control characters escaped: names come from files, and a file may hold terminal codes."""
    return _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}", text)


@dataclass(frozen=True)
class Console:
    """Where a command's words go.

    Attributes:
        json: stdout carries exactly one JSON document and nothing else.
        verbosity: -1 with `-q`, 0, 1 with `-v`.
        debug: tracebacks and the frameworks' own words are shown.
    """

    json: bool = False
    verbosity: int = 0
    debug: bool = False

    def say(self, text: str) -> None:
        """A line for people; silent under `--json` and `-q`."""
        if not self.json and self.verbosity >= 0:
            print(printable(text), flush=True)

    def note(self, text: str) -> None:
        """A remark on stderr; silent under `-q`."""
        if self.verbosity >= 0:
            print(printable(text), file=sys.stderr, flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on stdout; columns that hold figures are aligned right. Silent under `--json`."""
        if self.json:
            return
        from rich import box
        from rich.console import Console as Rich
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(columns):
            cells = [row[index] for row in rows]
            figures = bool(cells) and all(re.match(r"^[-+<>~]?[\d.]|^-?$|^n/a$", cell) for cell in cells)
            table.add_column(column, justify="right" if figures else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        wide = None if sys.stdout.isatty() else 160
        Rich(width=wide, highlight=False).print(table)

    def document(self, content: Any) -> None:
        """The one JSON document of `--json`; nothing otherwise."""
        if self.json:
            print(jsonlib.dumps(content, indent=2, allow_nan=False), flush=True)

    def error(self, error: EdgeportError) -> None:
        """One sentence with the cause, one with the next step."""
        if self.json:
            print(jsonlib.dumps({"error": error.to_json()}, indent=2), flush=True)
        text = f"edgeport: {printable(error.message)}\n  next: {printable(error.next_step)}"
        print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def progress(self) -> Iterator[ProgressCallback]:
        """Yields a callback that shows what goes on and the time left: a bar on a terminal, lines elsewhere."""
        if self.verbosity < 0:
            yield lambda _label, _fraction: None
        elif sys.stderr.isatty():
            with _bar() as callback:
                yield callback
        else:
            yield _Lines()


@contextlib.contextmanager
def _bar() -> Iterator[ProgressCallback]:
    from rich.console import Console as Rich
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Rich(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=1.0)
        yield lambda label, fraction: progress.update(task, description=printable(label), completed=fraction)


_AGAIN_S = 5.0
"""A line that was told is told again after so long at the soonest."""


class _Lines:
    """Progress for logs: one line for each new label, with the time left once there is a rate to tell it by.

    Where steps take turns, as in a search, the same line is told again every few seconds only.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._label = ""
        self._told: dict[str, float] = {}

    def __call__(self, label: str, fraction: float) -> None:
        now = time.monotonic()
        if label == self._label or now - self._told.get(label, -_AGAIN_S) < _AGAIN_S:
            return
        self._label, self._told[label] = label, now
        spent = now - self._started
        remaining = f", about {spent * (1 - fraction) / fraction:.0f} s left" if fraction > 0.05 and spent > 1 else ""
        print(f"[{fraction:4.0%}] {printable(label)}{remaining}", file=sys.stderr, flush=True)
