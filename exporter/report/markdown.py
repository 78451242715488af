"""`report.md`: for a pull request. Text from files is escaped: no mention, link, image or HTML can come out of it."""

from __future__ import annotations

import re

from exporter.manifest.passing import passing
from exporter.manifest.schema import Manifest
from exporter.report import facts, view
from exporter.report.choice import unproven
from exporter.report.headline import headline
from exporter.report.tables import Column, Table
from exporter.report.wording import clean

_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_MARKS = {"good": "\N{WHITE HEAVY CHECK MARK}", "warn": "\N{WARNING SIGN}", "bad": "\N{CROSS MARK}"}
_FOLDED = {
    "Gates", "Signature", "Source and environment", "How they were made", "Agreement", "Comparisons",
    "Start and memory",
}  # fmt: skip


def render_markdown(manifest: Manifest) -> str:
    """The verdict in one sentence, then the tables; long ones are folded."""
    head = headline(manifest)
    parts = [f"{_MARKS[head.tone]} **{head.word}**: {text(head.sentence)}"]
    parts += ["\n".join(f"- {text(clean(miss.sentence))}" for miss in passing(manifest).misses)]
    parts += [text(unproven(manifest))]
    for table in view.tables(manifest):
        body = f"{grid(table)}\n\n{text(table.note)}".strip()
        if table.title in _FOLDED:
            parts.append(f"<details><summary>{table.title}</summary>\n\n{body}\n\n</details>")
        else:
            parts.append(f"### {table.title}\n\n{body}")
    if command := facts.command(manifest):
        parts.append(f"### Make it again\n\n{fenced(command)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def text(raw: str) -> str:
    """Prose that Markdown shows as it is."""
    plain = raw.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    plain = _SPECIAL.sub(r"\\\1", plain)
    return plain.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def code(raw: str) -> str:
    """A name in a code span, also inside a table."""
    return "`" + raw.replace("`", "'").replace("|", "\\|") + "`"


def grid(table: Table) -> str:
    """The table; names stand in code spans."""
    header = "| " + " | ".join(text(column.title) for column in table.columns) + " |"
    rule = "|" + "|".join("---:" if column.kind == "number" else "---" for column in table.columns) + "|"
    lines = [header, rule]
    for row in table.rows:
        cells = (_cell(value, column) for value, column in zip(row, table.columns, strict=True))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: str, column: Column) -> str:
    return code(value) if column.kind == "name" and value else text(value)


def fenced(command: str) -> str:
    """A block of shell that nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{command}\n{fence}"
