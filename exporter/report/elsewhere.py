"""The verdicts and latencies of other places than the host, and of other settings than the default; and estimates."""

from __future__ import annotations

from exporter.manifest.schema import Manifest
from exporter.report import wording as say
from exporter.report.cost import COST, GATE, LOSS, cost_words, loss_words, worst_output
from exporter.report.headline import timed_rows
from exporter.report.tables import Column, Table, table
from validate.agreement.rows import VerdictRow
from validate.targets import HOST

_NOTE = (
    "Each file was judged where it was timed, in the very setting. Computed in: what the numbers were computed in "
    "there, which may be less than what the file holds; that is what it is held to."
)
_ARENA = " Arena: the least in which TensorFlow Lite for Microcontrollers starts, measured with pointers of 64 bits."
_EMULATED = (
    " Emulated: the kernels are that processor's, their instructions are emulated on this machine and never timed."
)
_ESTIMATED = "The files were judged before they were compiled; after it their inputs and outputs were the same."


def placed(verdict: VerdictRow) -> str:
    """The artifact, and where it was run where that is not the host in its default setting."""
    if (verdict.target, verdict.setting) == (HOST.target, HOST.setting):
        return verdict.artifact
    return f"{verdict.artifact} ({verdict.where}, {verdict.setting})"


def elsewhere(manifest: Manifest) -> Table:
    """One line for an artifact at a place that is not the host's own."""
    columns = (
        Column("Artifact", "name"),
        Column("Target"),
        Column("Setting"),
        Column("Computed in"),
        Column("Verdict", "status"),
        Column(COST, "number"),
        Column(GATE, "number"),
        Column(LOSS),
        Column("Arena", "number"),
        Column("p50 [95 % CI]", "number"),
    )
    timings = {(row.artifact, row.target, row.setting): row for row in reversed(timed_rows(manifest))}
    rows = []
    for verdict in manifest.verdicts:
        if (verdict.target, verdict.setting) == (HOST.target, HOST.setting):
            continue
        timing = timings.get((verdict.artifact, verdict.target, verdict.setting))
        same = f", bit for bit as {verdict.same_as}" if verdict.same_as else ""
        rows.append(
            [
                verdict.artifact,
                " ".join(filter(None, (verdict.where, verdict.runtime_version))),
                verdict.setting,
                verdict.precision_computed or say.NONE,
                f"{verdict.status}{same}",
                *cost_words(worst_output(verdict)),
                loss_words(verdict.loss),
                f"{verdict.arena.least} bytes" if verdict.arena else say.NONE,
                say.interval(timing.p50_ms) if timing else say.NONE,
            ]
        )
    note = _NOTE + (_ARENA if any(verdict.arena for verdict in manifest.verdicts) else "")
    note += _EMULATED if any(verdict.emulated for verdict in manifest.verdicts) else ""
    return table("Other targets and settings", columns, rows, note)


def estimated(manifest: Manifest) -> Table:
    """What a compiler says of a file on a device that was not there; apart from all that was measured."""
    columns = (
        Column("Artifact", "name"),
        Column("Target"),
        Column("Estimated, not measured", "number"),
        Column("On the NPU", "number"),
        Column("Memory"),
        Column("On the CPU, whose time is not in it"),
    )
    rows = [
        [
            row.artifact,
            f"{found.accelerator}, {found.clock_mhz:.0f} MHz, {found.system}, {found.memory}, by {found.compiler}",
            f"{say.milliseconds(found.ms)}{', loops once' if found.loops else ''}",
            f"{found.npu} of {found.operators}",
            found.memory_words,
            found.left or say.NONE,
        ]
        for row in manifest.timings
        if (found := row.estimate)
    ]
    return table("Estimated on NPUs", columns, rows, _ESTIMATED)
