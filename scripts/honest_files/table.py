"""The table of what was measured: `PYTHONPATH=scripts:. python -m honest_files.table ROWS.jsonl...`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from .files import NAMES
from .judging import BROKEN

KINDS = ("inputs", "structured", "saturating")


def table(paths: list[Path]) -> str:
    """Markdown: by model how many files were judged and their greatest ratios; the zoo's models are one row."""
    by_model: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        for row in map(json.loads, path.read_text().splitlines()):
            by_model.setdefault(row["model"], []).append(row)
    groups: dict[str, list[dict[str, Any]]] = {}
    for model, rows in by_model.items():
        name = model.rpartition("-")[0] + "-*" if model.startswith("zoo/") else Path(model).stem
        groups.setdefault(name, []).extend(rows)
    lines = ["| model | files | " + " | ".join(NAMES) + " | alarms |", "|---" * (len(NAMES) + 3) + "|"]
    lines += [_line(name, rows) for name, rows in groups.items()]
    rows = [row for rows in groups.values() for row in rows]
    verdicts = [(row["model"], name, file) for row in rows for name, file in row.get("files", {}).items()]
    files = [(model, name) for model, name, file in verdicts if not _broken(file)]
    by_name = Counter(name for _, name in set(files))
    accused = sorted({(m, n, f["reason"]) for m, n, f in verdicts if f["alarm"] and not _broken(f)})
    total = f"{len(set(files))} files, {len(files)} verdicts; " + ", ".join(f"{by_name[n]} {n}" for n in NAMES)
    return "\n".join([*lines, "", total, *(f"- {model} {name}: {reason}" for model, name, reason in accused)])


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    judged = [row for row in rows if "files" in row]
    cells, count, alarms = [], set(), 0
    for file in NAMES:
        found = [(row["model"], row["files"][file]) for row in judged if file in row["files"]]
        honest = [(model, verdict) for model, verdict in found if not _broken(verdict)]
        count |= {(model, file) for model, _ in honest}
        alarms += sum(verdict["alarm"] for _, verdict in honest)
        calm = [verdict["ratios"] for _, verdict in honest if not verdict["alarm"]]
        worst = (max((ratios.get(kind, 0.0) for ratios in calm), default=0.0) for kind in KINDS)
        cells.append(" / ".join(f"{value:.2f}" for value in worst) if calm else "-")
    models = len({row["model"] for row in judged})
    title = f"{models} models {name}" if models > 1 else name
    return f"| {title} | {len(count)} | " + " | ".join(cells) + f" | {alarms} |"


def _broken(file: dict[str, Any]) -> bool:
    return any(words in file["reason"] for words in BROKEN)


if __name__ == "__main__":
    print(table([Path(path) for path in sys.argv[1:]]))
