"""The output of `edgeport bench`: tables for the terminal, markdown for a pull request, JUnit for a build server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converters.shapes import shapes_text
from exporter.cli.console import Console, printable
from exporter.cli.junit import Case, Outcome, junit, verdict_properties

if TYPE_CHECKING:
    from validate.agreement.rows import VerdictRow
    from validate.latency import Interval, Latency, Timing
    from validate.latency.statistics.earlier import Change
    from validate.targets import PlacedFile

Table = tuple[str, list[str], list[list[str]]]
_LAYERS_SHOWN = 12


def document(latency: Latency, changes: Sequence[Change]) -> dict[str, Any]:
    """The document of `--json`."""
    more: dict[str, Any] = {"changes": [change.to_json() for change in changes]} if changes else {}
    return latency.to_json() | more


def show(console: Console, latency: Latency, changes: Sequence[Change]) -> None:
    """The rows as tables, and what they say of each other."""
    for title, columns, rows in tables(latency, changes):
        if rows:
            console.table(title, columns, rows)
    for line in (*remarks(latency), *latency.notes):
        console.say(line)
    for line in tuned_lines(latency.tuned):
        console.say(line)


def tuned_lines(tuned: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The result of `--tune`: a sentence, and the code that sets it, for each artifact."""
    for entry in tuned:
        sure = f"{entry['gain']:.2f} times the default's speed" if entry["sure"] else "nothing is surely faster"
        yield f"{entry['artifact']}: {entry['threads']} threads, {entry['label'] or 'default settings'} ({sure})."
        yield str(entry["code"])


def tables(latency: Latency, changes: Sequence[Change]) -> list[Table]:
    """(title, columns, rows): latency, comparisons, changes, profiles."""
    columns = [
        "artifact",
        "device",
        "threads",
        "batch",
        "settings",
        "p50 ms",
        "+-",
        "p90 ms",
        "p95 ms",
        "p99 ms",
        "runs",
        "remarks",
    ]
    sections: list[Table] = [("Latency", columns, [_cells(timing) for timing in latency.timings])]
    header = ["artifact", "setting", "cold ms", "import ms", "load ms", "first ms", "peak MiB", "CPU ms a run", "MB"]
    phases = [cells for timing in latency.timings if (cells := _phase_cells(timing))]
    sections.append(("Before the steady state, and what it costs", header, phases))
    comparisons = [
        [
            c.candidate.artifact.name,
            _setting(c.candidate),
            c.verdict.value,
            _ratio(c.ratio),
            f"{c.baseline.artifact.name} {c.baseline.variant.label}".strip(),
            "n/a" if c.noise_floor is None else f"{c.noise_floor:.1%}",
        ]
        for c in latency.comparisons
    ]
    sections.append(("Compared", ["candidate", "setting", "is", "ratio of p50", "against", "noise floor"], comparisons))
    sections.append(_sustained_table(latency))
    change_rows = [[c.row, c.verdict + (", over the gate" if c.fails else ""), _ratio(c.ratio)] for c in changes]
    sections.append(("Since the earlier result", ["row", "now", "now / then"], change_rows))
    return [*sections, *(table for profile in latency.profiles for table in _profile_tables(profile))]


def _sustained_table(latency: Latency) -> Table:
    """A line for each row under lasting load: p50 at some minutes, and from when on it is slower."""
    count = max((len(row["minutes"]) for row in latency.sustained), default=0)
    shown = sorted({1, 2, 5, 10, 20, 30, 60, count} & set(range(1, count + 1)))
    columns = ["artifact", "setting", *(f"p50 ms, minute {k}" for k in shown), "slower from", "by", "joules a run"]
    rows = []
    for row in latency.sustained:
        by_minute = {entry["minute"]: entry["p50_ms"]["value"] for entry in row["minutes"]}
        slow = row["slowdown"]
        threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        setting = f"{row['target']}, {row['setting']}, {threads}"
        rows.append(
            [
                row["artifact"],
                setting,
                *(f"{by_minute[k]:.4g}" if k in by_minute else "n/a" for k in shown),
                f"{slow['begins_s']:.0f} s" if slow else "stays",
                f"{slow['ratio']:.2f}x" if slow else "",
                "n/a" if row["joules"] is None else f"{row['joules']:.3g}",
            ]
        )
    return "Under lasting load", columns, rows


def remarks(latency: Latency) -> list[str]:
    """The controls, the noise and the rooflines, in sentences."""
    lines = [
        f"A/A control {c.row.artifact.name} ({_setting(c.row)}): ratio {_ratio(c.ratio)}; "
        + (
            "too few rounds for a noise floor."
            if c.noise_floor is None
            else f"differences under {c.noise_floor:.1%} are not claimed."
        )
        for c in latency.controls
    ]
    lines += _checks(latency)
    noise = latency.noise
    if noise.get("tainted_rounds"):
        reasons = ", ".join(f"{name} {count}" for name, count in noise["reasons"].items())
        lines.append(f"{noise['tainted_rounds']} of {noise['rounds']} rounds were disturbed ({reasons}).")
    for row in latency.sustained:
        if slow := row["slowdown"]:
            lines.append(
                f"{row['artifact']} takes {slow['ratio']:.2f} times as long from {slow['begins_s']:.0f} s on (known to "
                f"{slow['within_s']:.0f} s): {slow['cause']}."
            )
    lines += [str(latency.energy["reason"])] if latency.energy.get("reason") else []
    for profile in latency.profiles:
        if profile["error"]:
            lines.append(profile["error"])
        elif profile["share_of_peak"] is not None:
            lines.append(
                f"{profile['artifact']}: {profile['macs'] / 1e6:.4g} million multiply-adds a run, "
                f"{profile['macs_per_s'] / 1e9:.4g} G/s: {profile['share_of_peak']:.0%} of this machine's measured "
                f"float32 peak (roof for this file: {profile['roof_macs_per_s'] / 1e9:.4g} G/s)."
            )
    return lines


def _checks(latency: Latency) -> Iterator[str]:
    """What the answers were held to, where no verdict decided it."""
    held: dict[str, dict[str, None]] = {}
    for timing in latency.timings:
        if (limit := str(timing.facts.get("held_to", ""))) and "no verdict" in limit:
            held.setdefault(limit, {})[timing.row.artifact.name] = None
    for limit, names in held.items():
        yield f"{', '.join(names)}: the answers were held to {limit} (edgeport validate gives one)."


def to_markdown(latency: Latency, changes: Sequence[Change]) -> str:
    """Tables for a pull request."""
    parts = []
    for title, columns, rows in tables(latency, changes):
        if rows:
            lines = [columns, ["---"] * len(columns), *rows]
            body = "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)
            parts.append(f"### {_escaped(title)}\n\n{body}\n")
    notes = "\n".join(f"- {_escaped(line)}" for line in (*remarks(latency), *latency.notes))
    return "\n".join([*parts, notes, ""])


def to_junit(latency: Latency, changes: Sequence[Change], verdicts: Mapping[PlacedFile, VerdictRow]) -> str:
    """One test case a row: `error` where it could not be timed, `failure` where it is over the gate; what the verdicts
    of its bundle say of it are its properties."""
    from validate.latency.statistics.earlier import row_name

    failing = {change.row: change for change in changes if change.fails}
    cases = []
    for timing in latency.timings:
        name = row_name(timing.to_json())
        seconds = timing.p50_ms.value / 1e3 if timing.p50_ms else 0.0
        outcome, message = _outcome(timing, failing.get(name))
        verdict = verdicts.get(timing.row.place.of(timing.row.given))
        cases.append(Case(name, seconds, outcome, message, verdict_properties(verdict) if verdict else {}))
    return junit("edgeport bench", "edgeport.bench", cases)


def _outcome(timing: Timing, over: Change | None) -> tuple[Outcome, str]:
    if timing.status.value != "ok":
        return ("error" if timing.status.value == "error" else "skipped"), timing.reason
    return ("failure", f"{_ratio(over.ratio)} times the earlier p50") if over else ("", "")


def _profile_tables(profile: dict[str, Any]) -> list[Table]:
    if profile["error"]:
        return []
    sections = []
    for what in ("kinds", "layers"):
        rows = [
            [g["name"], f"{g['us']:.4g}", f"{g['share']:.1%}", f"{g['macs'] / 1e6:.4g}", str(g["operations"])]
            for g in profile[what][:_LAYERS_SHOWN]
        ]
        title = f"Where the time of {profile['artifact']} goes, by {'kind' if what == 'kinds' else 'Keras layer'}"
        sections.append((title, [what[:-1], "us", "share", "million multiply-adds", "operations"], rows))
    return sections


def _cells(timing: Timing) -> list[str]:
    row = timing.row
    settings = ", ".join(filter(None, (row.variant.label, shapes_text(timing.shapes))))
    start = [row.artifact.name, row.device, str(row.threads), str(row.batch), settings]
    if timing.p50_ms is None:
        return [*start, *[""] * 6, f"{timing.status.value}: {timing.reason}"]
    percentiles = [_figure(interval) for interval in (timing.p90_ms, timing.p95_ms, timing.p99_ms)]
    spread = [_value(timing.p50_ms), _spread(timing.p50_ms)]
    return [*start, *spread, *percentiles, str(len(timing.samples)), ", ".join(timing.flags)]


def _phase_cells(timing: Timing) -> list[str]:
    phases = timing.phases
    if phases is None:
        return []
    milliseconds = (phases.cold_ms, phases.import_ms, phases.load_ms, phases.first_ms)
    return [
        timing.row.artifact.name,
        _setting(timing.row),
        *(f"{value:.4g}" for value in milliseconds),
        f"{phases.peak_rss_bytes / 2**20:.0f}",
        f"{phases.cpu_seconds * 1e3:.4g}",
        f"{timing.size_bytes / 1e6:.3g}",
    ]


def _setting(row: Any) -> str:
    variant = f", {row.variant.label}" if row.variant.label else ""
    return f"{row.device}, {row.threads} thread{'s' if row.threads > 1 else ''}, batch {row.batch}{variant}"


def _value(interval: Interval) -> str:
    return f"{interval.value:.4g}"


def _figure(interval: Interval | None) -> str:
    """The value; `n/a` where the samples are too few to know it."""
    return f"{interval.value:.4g}" if interval is not None and interval.low is not None else "n/a"


def _spread(interval: Interval) -> str:
    return "n/a" if interval.low is None else f"{interval.half_width:.1%}"


def _ratio(interval: Interval | None) -> str:
    if interval is None:
        return "n/a"
    within = "" if interval.low is None else f" [{interval.low:.3f}, {interval.high:.3f}]"
    return f"{interval.value:.3f}{within}"


def _escaped(text: str) -> str:
    return printable(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
