"""The GPU rows of docs/latency.md: run here, kept as docs/gpu-evidence.json, shown as a table. See scripts/gpu_check.

python scripts/gpu_evidence.py BUNDLE [--seconds 30] [--row NAME]...
python scripts/gpu_evidence.py --docs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.formats import Format
from validate.latency import BenchJob
from validate.latency.gpu_rows import ROWS, GpuRow, evidence
from validate.latency.host.facts import host_facts

DOCS = Path(__file__).parent.parent / "docs"
UNAVAILABLE = 4
EVIDENCE, PAGE = "gpu-evidence.json", "latency.md"
BEGIN, END = "<!-- gpu rows: written by scripts/gpu_check -->", "<!-- end of gpu rows -->"


def table(entries: Mapping[str, Any]) -> str:
    """The rows as markdown; `never run` where there is no entry from a real device."""
    columns = ["row", "status", "GPU", "ran there", "p50", "p90", "load and first run (engine build)", "when"]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in ROWS:
        entry = entries.get(row.name)
        cells = [row.name, "never run", *[""] * 6] if entry is None or entry["stand_in"] else _cells(row, entry)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_page(docs: Path) -> None:
    """Replaces the table between the marks of docs/latency.md."""
    stored = docs / EVIDENCE
    entries = json.loads(stored.read_text(encoding="utf-8"))["rows"] if stored.is_file() else {}
    page = docs / PAGE
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page} lacks the marks {BEGIN} and {END}.")
    page.write_text(f"{before}{BEGIN}\n{table(entries)}\n{END}{after}", encoding="utf-8")


def collect(bundle: Path, rows: Sequence[GpuRow], seconds: float, docs: Path) -> dict[str, Any]:
    """Runs the rows and keeps their entries. A device that is not there leaves none: its row stays `never run`."""
    stored = docs / EVIDENCE
    document = json.loads(stored.read_text(encoding="utf-8")) if stored.is_file() else {"rows": {}}
    golden = bundle / "golden.npz"
    options = BenchJob.of(max_seconds=seconds, golden=golden if golden.is_file() else None)
    for row in rows:
        suffix = ".onnx" if row.format is Format.ONNX else ".savedmodel"
        found = sorted(bundle.glob(f"*.float32{suffix}"))
        if not found:
            raise SystemExit(f"{bundle} holds no *.float32{suffix}; make it with edgeport run.")
        entry = evidence(row, found[0], options)
        print(f"{row.name}: {entry['status']} {entry.get('reason', '')} {entry.get('next', '')}", file=sys.stderr)
        if entry["status"] != "unavailable":
            document["rows"][row.name] = {**entry, "host": host_facts()}
    if document["rows"]:
        docs.mkdir(exist_ok=True)
        stored.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


def _cells(row: GpuRow, entry: Mapping[str, Any]) -> list[str]:
    if entry["status"] != "ok":
        return [row.name, f"{entry['status']}: {entry['reason']}".replace("|", "\\|"), *[""] * 5, entry["when"]]
    timing, proof = entry["timing"], entry["proof"]
    share = proof.get("node_time_share")
    ran = ", ".join(proof["output_devices"]) if share is None else f"{share:.1%} of node time"
    start = f"{timing['load_ms']:.0f} + {timing['first_ms']:.0f} ms"
    figures = [_interval(timing["p50_ms"]), _interval(timing["p90_ms"]), start]
    return [row.name, "ok", str(proof["gpu"].get("name")), ran, *figures, entry["when"]]


def _interval(found: Mapping[str, float | None]) -> str:
    if found["low"] is None:
        return f"{found['value']:.3f} ms"
    return f"{found['value']:.3f} ms [{found['low']:.3f}, {found['high']:.3f}]"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--docs", action="store_true", help="only write the table again")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS])
    chosen = parser.parse_args(arguments)
    if chosen.bundle is None and not chosen.docs:
        parser.error("give a bundle, or --docs")
    if chosen.bundle is not None:
        rows = [row for row in ROWS if not chosen.row or row.name in chosen.row]
        found = collect(chosen.bundle, rows, chosen.seconds, DOCS)["rows"]
        if not any(row.name in found for row in rows):
            print("None of these rows could be run here: docs/latency.md goes on to say `never run`.", file=sys.stderr)
            return UNAVAILABLE
    write_page(DOCS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
