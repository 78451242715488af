"""Size, latency and error of the artifacts against each other: two panels with one latency axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from exporter.manifest.schema import Manifest
from exporter.report import svg, view
from exporter.report import wording as say
from exporter.report.axis import Axis
from exporter.report.choice import choices
from exporter.report.cost import worst_output
from exporter.report.headline import timed_rows
from exporter.report.naming import short_names
from validate.agreement.rows import JudgedRow
from validate.latency.rows import TimingRow

_WIDTH, _HEIGHT = 420.0, 290.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 408.0, 14.0, 244.0
_LETTER = 7.0
"""Mean width of a letter of a label, in units of the drawing."""


@dataclass(frozen=True)
class Point:
    """One artifact. `error_db` is its error against the moving signal, or how far the user's metric drops: lower is
    better; None without any error. `bounds` are the ends of the drop's 95 % interval."""

    artifact: str
    name: str
    format: str
    p50_ms: float
    size_bytes: int
    error_db: float | None
    judged: bool
    beaten: bool
    chosen: bool
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Pareto:
    """`panels` are (title, drawing); `setting` says where was timed, `formats` which marks occur.

    `told`: the marks tell the front from the rest. `by_accuracy`: labels were given, and error means accuracy there.
    """

    panels: tuple[tuple[str, Markup], ...]
    setting: str
    formats: tuple[str, ...]
    told: bool
    by_accuracy: bool


def pareto(manifest: Manifest) -> Pareto | None:
    """The artifacts timed like the first one; None where one point would stand alone.

    Filled marks are on the Pareto front of size, latency and error, as the manifest's `recommended.pareto` says.
    """
    rows, points = _points(manifest)
    if len(points) < 2:
        return None
    panels = [("Latency and size", _panel(points, "size", lambda p: float(p.size_bytes), _size_axis(points)))]
    if any(point.error_db is not None for point in points):
        judged = [point for point in points if point.judged]
        metric = _metric_of(manifest)
        panel = _drop_panel(judged, metric) if metric else ("Latency and error", _error_panel(judged))
        panels.append(panel)
    formats = tuple(dict.fromkeys(point.format for point in points))
    labelled = any(output.accuracy is not None for verdict in manifest.first_verdicts for output in verdict.outputs)
    return Pareto(tuple(panels), view.setting(rows[0]), formats, any(point.beaten for point in points), labelled)


def _points(manifest: Manifest) -> tuple[list[TimingRow], list[Point]]:
    timed = timed_rows(manifest)
    first = (timed[0].device, timed[0].threads, timed[0].batch) if timed else None
    artifacts = {artifact.path: artifact for artifact in manifest.artifacts}
    rows = [r for r in timed if (r.device, r.threads, r.batch) == first and r.artifact in artifacts]
    rows = list({row.artifact: row for row in reversed(rows)}.values())[::-1]
    listed = manifest.recommended.get("pareto")
    front = set(map(str, listed)) if isinstance(listed, list) else set()
    chosen, names = set(choices(manifest).values()), short_names(manifest)
    verdicts = {verdict.artifact: verdict for verdict in manifest.first_verdicts}
    points = [
        Point(
            row.artifact,
            names[row.artifact],
            artifacts[row.artifact].format.value,
            row.p50_ms.value if row.p50_ms else 0.0,
            artifacts[row.artifact].size_bytes,
            *_error(verdicts.get(row.artifact)),
            beaten=bool(front) and row.artifact not in front,
            chosen=row.artifact in chosen,
            bounds=_bounds(verdicts.get(row.artifact)),
        )
        for row in rows
    ]
    return rows, points


def _error(verdict: JudgedRow | None) -> tuple[float | None, bool]:
    if verdict is not None and verdict.loss is not None and verdict.loss.drop is not None:
        return verdict.loss.drop.value, True
    output = worst_output(verdict) if verdict else None
    if output is None:
        return None, False
    return (None if output.sqnr_db is None else -output.sqnr_db), output.sqnr_db is not None or output.max_abs == 0


def _bounds(verdict: JudgedRow | None) -> tuple[float, float] | None:
    drop = verdict.loss.drop if verdict and verdict.loss else None
    return None if drop is None or drop.low is None or drop.high is None else (drop.low, drop.high)


def _metric_of(manifest: Manifest) -> str:
    """The user's metric, where every verdict that could have it does."""
    losses = [verdict.loss for verdict in manifest.first_verdicts if verdict.loss is not None]
    told = all(loss.metric and loss.drop is not None for loss in losses)
    return str(losses[0].metric) if losses and told else ""


def _drop_panel(points: Sequence[Point], metric: str) -> tuple[str, Markup]:
    """How far the user's metric drops, instead of an error that nobody asked for.

    The axis spans the intervals: of drops alone it would blow up differences that the samples do not show.
    """
    ends = [end for point in points for end in point.bounds or ()]
    axis = Axis.between([0.0, *ends, *(point.error_db or 0.0 for point in points)])
    return say.clean(f"Latency and drop of {metric}"), _panel(points, "drop", lambda p: p.error_db or 0.0, axis)


def _size_axis(points: Sequence[Point]) -> Axis:
    return Axis.over([float(point.size_bytes) for point in points])


def _error_panel(points: Sequence[Point]) -> Markup:
    """In decibels against the signal; artifacts without any error stand at the bottom, labelled so."""
    errors = [point.error_db for point in points if point.error_db is not None]
    span = max(errors) - min(errors)
    floor = min(errors) - max(span * 0.12, 6.0)
    perfect = any(point.error_db is None for point in points)
    axis = Axis.between([*errors, floor] if perfect else errors)
    return _panel(points, "error", lambda p: floor if p.error_db is None else p.error_db, axis)


def _panel(points: Sequence[Point], what: str, value: Callable[[Point], float], y: Axis) -> Markup:
    x = Axis.over([point.p50_ms for point in points])
    decibels = " dB" if what == "error" else ""
    unit = (lambda tick: say.size(int(tick)) if tick else "0") if what == "size" else (lambda t: f"{t:g}{decibels}")
    places = [(_across(x, point.p50_ms), _upward(y, value(point))) for point in points]
    parts = [*_grid(x, y, unit), *_axis_titles(what)]
    if what == "drop":
        ends = [
            (place[0], *(_upward(y, end) for end in p.bounds or ())) for p, place in zip(points, places, strict=True)
        ]
        parts += [svg.line("whisker", at, span[0], at, span[1]) for at, *span in ends if span]
    parts += [
        svg.mark(f"mark {p.format}{' beaten' if p.beaten else ''}{' chosen' if p.chosen else ''}", p.format, *place)
        for p, place in zip(points, places, strict=True)
    ]
    tags = [f"{p.name} (identical)" if what == "error" and p.error_db is None else p.name for p in points]
    for point, tag, (left, baseline, anchor) in zip(points, tags, _label_places(tags, places), strict=True):
        parts.append(svg.text("tag chosen" if point.chosen else "tag", left, baseline, tag, anchor))
    return svg.drawing("panel", f"0 0 {_WIDTH:g} {_HEIGHT:g}", _spoken(points, what), parts)


def _spoken(points: Sequence[Point], what: str) -> str:
    descriptions = [
        f"{p.name}: {say.milliseconds(p.p50_ms)}, "
        + (say.size(p.size_bytes) if what == "size" else "no error" if p.error_db is None else _level(p, what))
        + (", on the Pareto front" if not p.beaten else "")
        for p in points
    ]
    return say.clean(f"Median latency against {what}. " + "; ".join(descriptions) + ".")


def _level(point: Point, what: str) -> str:
    if what == "error":
        return f"{point.error_db:.1f} dB"
    within = f" [{say.figure(point.bounds[0])}, {say.figure(point.bounds[1])}]" if point.bounds else ""
    return f"drop of {say.figure(point.error_db)}{within}"


def _grid(x: Axis, y: Axis, unit: Callable[[float], str]) -> list[Markup]:
    parts = []
    for tick in y.ticks():
        at = _upward(y, tick)
        parts += [svg.line("grid", _LEFT, at, _RIGHT, at), svg.text("tick", _LEFT - 6, at + 4, unit(tick), "end")]
    ticks = x.ticks()
    for tick in ticks:
        at = _across(x, tick)
        parts += [svg.line("grid", at, _TOP, at, _BOTTOM), svg.text("tick", at, _BOTTOM + 16, f"{tick:g}", "middle")]
    return parts


def _axis_titles(what: str) -> list[Markup]:
    upward = {"size": "size", "drop": "drop, 95 % intervals"}.get(what, "error against the signal")
    return [
        svg.text("title", _RIGHT, _BOTTOM + 36, "median latency, ms \N{RIGHTWARDS ARROW}", "end"),
        svg.text("title", _LEFT, _BOTTOM + 36, f"\N{UPWARDS ARROW} {upward}", "start"),
    ]


def _across(axis: Axis, value: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * axis.share(value)


def _upward(axis: Axis, value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * axis.share(value)


def _label_places(names: Sequence[str], places: Sequence[tuple[float, float]]) -> list[tuple[float, float, str]]:
    """(x, baseline, anchor) of each label: the first of ten positions round its point with the minimum overlap."""
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in places]
    result = []
    for name, (x, y) in zip(names, places, strict=True):
        width = len(name) * _LETTER
        best: tuple[float, tuple[float, float, float, float], tuple[float, float, str]] | None = None
        for dx, dy, anchor in (
            (11, 4, "start"),
            (-11, 4, "end"),
            (0, -12, "middle"),
            (0, 20, "middle"),
            (9, -9, "start"),
            (9, 17, "start"),
            (-9, -9, "end"),
            (-9, 17, "end"),
            (9, -25, "start"),
            (9, 33, "start"),
        ):
            left = x + dx - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (left, y + dy - 11, left + width, y + dy + 3)
            outside = max(0.0, _LEFT - box[0]) + max(0.0, box[2] - _WIDTH) + max(0.0, -box[1])
            cost = sum(_overlap(box, other) for other in taken) + 40 * outside
            if best is None or cost < best[0]:
                best = (cost, box, (x + dx, y + dy, anchor))
        assert best is not None
        taken.append(best[1])
        result.append(best[2])
    return result


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0
