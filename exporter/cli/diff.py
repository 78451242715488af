"""`edgeport diff BUNDLE_A BUNDLE_B`: what a new checkpoint or a new version changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter.cli.console import Console
from exporter.cli.options import output_options

if TYPE_CHECKING:
    from exporter.difference import ArtifactChange, Difference
    from exporter.difference.values import MetricChange

_SHOWN = 12


class ShareType(click.ParamType[float]):
    """`5%` or `0.05`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from validate.latency.statistics.earlier import parse_share

        return parse_share(str(value), param.opts[0] if param else "a limit")


@click.command("diff")
@click.argument("before", metavar="BUNDLE_A", type=click.Path(path_type=Path))
@click.argument("after", metavar="BUNDLE_B", type=click.Path(path_type=Path))
@click.option("--max-slowdown", "slowdown", type=ShareType(), metavar="P%", help="Of p50; needs two hosts of one kind.")
@click.option("--max-growth", "growth", type=ShareType(), metavar="P%", help="Of an artifact's size.")
@click.option(
    "--max-error-growth", "error_growth", type=ShareType(), metavar="P%", help="Of the error; needs one set of inputs."
)
@click.option(
    "--max-accuracy-drop", "accuracy_drop", type=ShareType(), metavar="P%", help="In points: 0.5% is half a point."
)
@click.option(
    "--max-drop",
    "max_drop",
    type=float,
    metavar="N",
    help="Of the --metric that both were made with: points for shares.",
)
@output_options
def command(*, before: Path, after: Path, console: Console, **limits: float | None) -> int:
    """What BUNDLE_B changes against BUNDLE_A: sizes, agreement, latency, operations, signature.

    Both bundles are verified first. Artifacts are matched by format and precision. Exit code 1 when an artifact no
    longer agrees with its checkpoint, or when something is worse than a --max-* allows; with any of these, an artifact
    that is gone and a signature that changed are regressions too.
    """
    from exporter.difference import Allowed, diff

    difference = diff(before, after, Allowed(**limits))
    console.document(difference.to_json())
    if not console.json:
        _show(difference, console)
    return int(not difference.passing.ok)


def _show(difference: Difference, console: Console) -> None:
    console.say(f"The checkpoint is the {'same' if difference.source == 'same' else 'other: its digest changed'}.")
    for line in difference.signature:
        console.say(f"Signature: {line}.")
    columns = ["Artifact", "", "Size", "Growth", "Verdict", "Error", "Growth", "Accuracy"]
    console.table("Artifacts", columns, [_row(change) for change in difference.artifacts])
    _latency(difference, console)
    _operations(difference, console)
    for name, (old, new) in difference.environment.items():
        console.say(f"{name}: {old} -> {new}")
    for device, (old, new) in difference.recommended.items():
        console.say(f"Recommended on {device}: {old} -> {new}")
    for change in difference.artifacts:
        if change.metric is not None:
            console.say(f"{change.name}: {_fall(change.metric)}.")
    for note in difference.notes:
        console.note(note)
    for regression in difference.regressions:
        console.say(f"Regression: {regression}.")
    if not difference.regressions:
        console.say("No regression.")


def _fall(metric: MetricChange) -> str:
    """`top1 falls by 0.4 [0.1, 0.9]: kept`; what is not proven says why."""
    from exporter.report.cost import drop_words

    status = f": {metric.status}" if metric.status else ""
    return f"{metric.name} {drop_words(metric.drop)}{status}" + (f", {metric.reason}" if metric.reason else "")


def _row(change: ArtifactChange) -> list[str]:
    from exporter.report import wording as say

    sides = [side for side in (change.before, change.after) if side is not None]
    return [
        change.name,
        change.status,
        _arrow([say.size(side.size_bytes) for side in sides]),
        _signed(change.growth("size_bytes")),
        _arrow([side.verdict for side in sides]),
        _arrow([_error(side.measure, side.error) for side in sides]),
        _signed(change.growth("error")),
        _arrow([say.percent(side.accuracy) for side in sides]),
    ]


def _error(measure: str, error: float | None) -> str:
    from exporter.report import wording as say

    if error is None:
        return say.NONE
    return f"{say.figure(error)}x noise" if measure == "noise_ratio" else say.percent(error)


def _arrow(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else " -> ".join(values)


def _signed(growth: float | None) -> str:
    return "-" if growth is None else "0" if growth == 0 else f"{growth:+.1%}"


def _latency(difference: Difference, console: Console) -> None:
    from exporter.report import wording as say

    rows = []
    for change in difference.latency:
        ratio, bounds = change.ratio, ""
        if ratio is not None and ratio.low is not None and ratio.high is not None:
            bounds = f" [{say.figure(ratio.low)}, {say.figure(ratio.high)}]"
        shown = "-" if ratio is None else f"{say.figure(ratio.value)}x{bounds}"
        rows.append(
            [change.row, shown, change.verdict.upper() if change.verdict in {"slower", "faster"} else change.verdict]
        )
    if rows:
        console.table("Latency", ["Row", "p50 after / before [95 % CI]", ""], rows)


def _operations(difference: Difference, console: Console) -> None:
    for change in difference.artifacts:
        rows = [[op, str(old), str(new)] for op, (old, new) in (change.operations or {}).items()]
        if rows:
            more = len(rows) - _SHOWN
            shown = (
                rows
                if more <= 1 or console.verbosity > 0
                else [*rows[:_SHOWN], [f"{more} more (-v shows them)", "", ""]]
            )
            console.table(f"Operations of {change.name}", ["Operation", "Before", "After"], shown)
