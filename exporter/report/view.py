"""The tables of a report as finished text, before any markup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.shapes import shapes_text
from exporter.manifest.rows import ArtifactRow
from exporter.manifest.schema import Manifest
from exporter.report import facts, precisions
from exporter.report import wording as say
from exporter.report.cost import COST, GATE, LOSS, NOTE, cost_words, loss_words, worst_output
from exporter.report.elsewhere import elsewhere, estimated, placed
from exporter.report.gates import gates
from exporter.report.headline import timed_rows
from exporter.report.tables import Column, Table, table
from validate.agreement.rows import JudgedRow
from validate.inputs import Range
from validate.latency.rows import TimingRow
from validate.targets import HOST

PERCENTILES = ("p50", "p90", "p95", "p99")
_GROUPS_SHOWN = 12


def summary(manifest: Manifest) -> Table:
    """One line an artifact: size, agreement of its worst output, latency there; both on the host, see `elsewhere`."""
    columns = (
        Column("Artifact", "name"),
        Column("Size", "number"),
        Column("Verdict", "status"),
        Column(COST, "number"),
        Column(GATE, "number"),
        Column(LOSS),
        Column("SQNR", "number"),
        Column("Accuracy", "number"),
        Column("Device"),
        Column("p50 [95 % CI]", "number"),
        Column("p99", "number"),
    )
    verdicts = {row.artifact: row for row in manifest.first_verdicts}
    timings = {row.artifact: row for row in reversed(timed_rows(manifest)) if row.target == HOST.target}
    rows = [_summary_row(row, verdicts.get(row.path), timings.get(row.path)) for row in manifest.artifacts]
    return table("Artifacts", columns, rows, f"Agreement is that of the artifact's worst output. {NOTE}")


def _summary_row(artifact: ArtifactRow, verdict: JudgedRow | None, timing: TimingRow | None) -> list[str]:
    output = worst_output(verdict) if verdict else None
    loss = loss_words(verdict.loss) if verdict else say.NONE
    agreement = [*cost_words(output), loss, say.NONE, say.NONE]
    if output:
        agreement[3:] = [say.decibels(output.sqnr_db, output.max_abs), say.percent(output.accuracy)]
    latency = [say.NONE] * 3
    if timing:
        latency = [_with_shapes(timing.device, timing), say.interval(timing.p50_ms), say.milliseconds(timing.p99_ms)]
    status = verdict.status if verdict else "not judged"
    return [artifact.path, say.size(artifact.size_bytes), status, *agreement, *latency]


def agreement(manifest: Manifest) -> Table:
    """Every output of every artifact against the checkpoint."""
    columns = (
        Column("Artifact", "name"),
        Column("Output", "name"),
        Column("Basis"),
        Column(COST, "number"),
        Column(GATE, "number"),
        Column(LOSS),
        Column("SQNR", "number"),
        Column("Max abs", "number"),
        Column("RMSE", "number"),
        Column("Top-1", "number"),
        Column("Accuracy", "number"),
        Column("Non-finite", "number"),
    )
    rows = [
        [
            placed(verdict),
            row.name,
            row.basis,
            *cost_words(row),
            loss_words(row.loss),
            say.decibels(row.sqnr_db, row.max_abs),
            say.figure(row.max_abs),
            say.figure(row.rmse),
            say.percent(row.top1_agreement),
            say.percent(row.accuracy),
            str(row.nonfinite),
        ]
        for verdict in manifest.verdicts
        for row in verdict.outputs
    ]
    return table("Agreement", columns, rows, _how_judged(manifest))


def _how_judged(manifest: Manifest) -> str:
    """The inputs of the verdict rows in words, as far as all rows say the same."""
    words = []
    for key, text in (
        ("samples", "{} samples"),
        ("seed", "seed {}"),
        ("input_range", "input range {}"),
        ("shapes", "{}"),
    ):
        values = {_count_or_ranges(getattr(verdict, key)) for verdict in manifest.verdicts}
        if len(values) == 1 and (value := values.pop()):
            words.append(text.format(value))
    judged = f" Judged on {', '.join(words)}." if words else ""
    return f"Max abs and RMSE are in the output's own units, on the named basis.{judged}"


def _count_or_ranges(value: int | Mapping[str, Any] | None) -> str:
    """A count, or by input ranges, `image 0 to 16 (the model's Rescaling layer)`, or shapes; empty where it is none."""
    if isinstance(value, Mapping):
        if value and not isinstance(next(iter(value.values())), Range):
            return shapes_text(value)
        return ", ".join(f"{name} {limits}" for name, limits in value.items())
    return "" if value is None else str(value)


def latency(manifest: Manifest) -> Table:
    """Every timing that worked, each percentile with its interval."""
    columns = (
        Column("Artifact", "name"),
        Column("Setting"),
        *(Column(f"{name} [95 % CI]", "number") for name in PERCENTILES),
        Column("Throughput", "number"),
        Column("Samples", "number"),
        Column("Flags"),
    )
    rows = [
        [
            row.artifact,
            setting(row),
            *(say.interval(row.percentiles.get(name)) for name in PERCENTILES),
            say.NONE if row.throughput is None else f"{say.figure(row.throughput)} /s",
            str(row.samples),
            ", ".join(row.flags) or say.NONE,
        ]
        for row in timed_rows(manifest)
    ]
    boundaries = sorted({row.boundary.replace("_", " ") for row in timed_rows(manifest) if row.boundary})
    measured = f" Measured {say.listed(boundaries)}." if boundaries else ""
    return table("Latency", columns, rows, f"Each artifact in a process of its own, rounds interleaved.{measured}")


def start(manifest: Manifest) -> Table:
    """The phases before the steady state, and the memory that a run takes."""
    columns = (
        Column("Artifact", "name"),
        Column("Setting"),
        Column("Cold start", "number"),
        Column("Load", "number"),
        Column("First run", "number"),
        Column("Peak memory", "number"),
    )
    rows = [
        [
            row.artifact,
            setting(row),
            say.milliseconds(row.cold_ms),
            say.milliseconds(row.load_ms),
            say.milliseconds(row.first_ms),
            say.size(row.peak_rss_bytes),
        ]
        for row in timed_rows(manifest)
    ]
    note = "Cold start: from a fresh process to the first answer, the runtime's import included."
    return table("Start and memory", columns, rows, note)


def setting(row: TimingRow) -> str:
    """`cpu, 2 threads, batch 1`, session settings, and the shapes of inputs whose sizes are open."""
    threads = f", {say.count(row.threads, 'thread')}" if row.threads else ""
    batch = f", batch {row.batch}" if row.batch else ""
    variant = f", {row.variant}" if row.variant else ""
    return _with_shapes(say.clean(f"{row.device}{threads}{batch}{variant}"), row)


def _with_shapes(text: str, row: TimingRow) -> str:
    return f"{text}, {say.clean(shapes_text(row.shapes))}" if row.shapes else text


def comparisons(manifest: Manifest) -> Table:
    """Ratios of p50, said of the candidate."""
    columns = (
        Column("Candidate", "name"),
        Column("Baseline", "name"),
        Column("p50 ratio [95 % CI]", "number"),
        Column("Verdict", "status"),
    )
    rows = [
        [
            _compared(r.candidate, r.device, r.candidate_variant),
            _compared(r.baseline, r.device, r.baseline_variant),
            say.interval(r.ratio, "x"),
            r.verdict,
        ]
        for r in manifest.comparisons
    ]
    return table("Comparisons", columns, rows, "Below 1x the candidate is faster than the baseline.")


def _compared(artifact: str, device: str, variant: str) -> str:
    """The artifact, with where and how it was run where that is not the CPU in its default setting."""
    place = [word for word in (device if device != "cpu" else "", variant) if word]
    return f"{artifact} ({', '.join(place)})" if place else artifact


def quantized(manifest: Manifest) -> Table:
    """The arithmetic that quantized artifacts really compute in."""
    columns = tuple(Column(title, kind) for title, kind in precisions.HEADERS)
    return table("Really integer?", columns, precisions.rows(manifest), precisions.NOTE)


def failures(manifest: Manifest) -> Table:
    """Targets that were asked for and not made."""
    columns = (Column("Format"), Column("Precision"), Column("Status", "status"), Column("Step"), Column("Reason"))
    rows = [[row.format.value, row.precision.value, row.status, row.step, row.reason] for row in manifest.failures]
    return table("Not made", columns, rows)


def not_timed(manifest: Manifest) -> Table:
    """Devices that were asked for and did not work, with what to install."""
    columns = (Column("Device"), Column("Status", "status"), Column("Artifacts"), Column("Reason"))
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in manifest.timings:
        if row.status != "ok" and row.estimate is None:
            why = " ".join(text for text in (row.reason, row.next) if text) or say.NONE
            groups.setdefault((row.device, row.status, why), []).append(row.artifact)
    rows = [[device, status, say.listed(names), reason] for (device, status, reason), names in groups.items()]
    return table("Not timed", columns, rows)


def signature(manifest: Manifest) -> Table:
    """Names, shapes and dtypes, the same in every artifact unless its row says otherwise."""
    columns = (Column("Role"), Column("Name", "name"), Column("Shape"), Column("Dtype"))
    rows = [
        [role, tensor.name, facts.shape(tensor), tensor.dtype]
        for role, tensors in (("input", manifest.signature.inputs), ("output", manifest.signature.outputs))
        for tensor in tensors
    ]
    return table("Signature", columns, rows)


def notes(manifest: Manifest) -> Table:
    """The remarks of the artifacts' makers and judges, and how each was made."""
    columns = (Column("Artifact", "name"), Column("Made by"), Column("Remarks"))
    shared = shared_notes(manifest)
    remarks: dict[str, list[str]] = {
        row.artifact: [text for text in (row.reason, *row.notes) if text and text not in shared]
        for row in manifest.first_verdicts
    }
    rows = [
        [
            row.path,
            (row.road or say.NONE) + (" (reused)" if row.reused else ""),
            " ".join([*row.notes, *remarks.get(row.path, [])]) or say.NONE,
        ]
        for row in manifest.artifacts
    ]
    return table("How they were made", columns, rows, " ".join(shared))


def shared_notes(manifest: Manifest) -> tuple[str, ...]:
    """What the judges note of every artifact alike: of the checkpoint and the inputs."""
    notes = [row.notes for row in manifest.first_verdicts]
    return tuple(note for note in dict.fromkeys(notes[0]) if all(note in others for others in notes)) if notes else ()


def tables(manifest: Manifest) -> list[Table]:
    """All tables that have rows, the summary first."""
    makers = (
        summary,
        elsewhere,
        gates,
        failures,
        quantized,
        latency,
        start,
        agreement,
        comparisons,
        estimated,
        not_timed,
        notes,
        signature,
        facts.table,
    )
    return [t for t in (*(make(manifest) for make in makers), *profiles(manifest)) if t.rows]


def profiles(manifest: Manifest) -> list[Table]:
    """Where the time goes, by kind and by Keras layer, of every artifact that `--profile-ops` looked into."""
    entries: Any = manifest.environment.get("profiles") or []
    columns = ("us", "Share", "Million multiply-adds", "Operations")
    result = []
    for profile in entries:
        for what, first in (("kinds", "Kind"), ("layers", "Keras layer")):
            rows = [
                [
                    group["name"],
                    say.figure(group["us"]),
                    say.percent(group["share"]),
                    say.figure(group["macs"] / 1e6),
                    str(group["operations"]),
                ]
                for group in profile.get(what, ())[:_GROUPS_SHOWN]
            ]
            share = profile.get("share_of_peak")
            note = "" if share is None else f"At p50: {say.percent(share)} of this machine's measured float32 peak."
            titles = (Column(first, "name"), *(Column(title, "number") for title in columns))
            result.append(table(say.clean(f"Time of {profile['artifact']} by {first.lower()}"), titles, rows, note))
    return result
