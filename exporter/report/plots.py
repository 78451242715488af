"""Inline SVG that keeps its text size at any width: positions are percentages, heights are pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from exporter.manifest import Interval, Manifest, TimingRow
from exporter.report import view
from exporter.report import wording as say
from exporter.report.headline import timed_rows

_LEFT, _RIGHT = 1.0, 97.0
_LOG_SPAN = 25.0


@dataclass(frozen=True)
class Axis:
    """Maps values to 0..100 %, from zero; logarithmic where the values span more than a factor of 25."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[float]) -> Axis:
        positive = [value for value in values if value > 0] or [1.0]
        low, high = min(positive), max(positive)
        if high / low > _LOG_SPAN:
            return cls(low / 1.3, high * 1.3, True)
        return cls(0.0, high * 1.06, False)

    def at(self, value: float) -> float:
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return _LEFT + (_RIGHT - _LEFT) * min(max(share, 0.0), 1.0)

    def ticks(self, count: int = 4) -> list[float]:
        """Round values inside the axis."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            marks = [m * 10.0**d for d in decades for m in ((1, 3) if len(decades) < 5 else (1,))]
            return [mark for mark in marks if self.low <= mark <= self.high]
        raw = self.high / count
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
        return [step * k for k in range(int(self.high / step) + 1)]


@dataclass(frozen=True)
class Bar:
    """One line of the latency plot: its label and value are text beside the drawing."""

    name: str
    where: str
    value: str
    svg: Markup


@dataclass(frozen=True)
class Latency:
    bars: tuple[Bar, ...]
    axis: Markup


@dataclass(frozen=True)
class Scatter:
    svg: Markup
    legend: tuple[str, ...]


def latency_plot(manifest: Manifest) -> Latency | None:
    """Per timing: a dot at p50 with its 95 % interval, a line from the least sample to p99, a tick at p90."""
    rows = timed_rows(manifest)
    if not rows:
        return None
    axis = Axis.over([value for row in rows for value in _marks(row).values()])
    return Latency(tuple(_bar(row, axis) for row in rows), _axis(axis))


def scatter_plot(manifest: Manifest) -> Scatter | None:
    """Size against p50 for the artifacts timed on the first device; None where one point would stand alone.

    Filled points are on the Pareto front of size, latency and error; hollow ones are beaten in all three.
    """
    timed = timed_rows(manifest)
    sizes = {artifact.path: artifact.size_bytes for artifact in manifest.artifacts}
    first = (timed[0].device, timed[0].threads, timed[0].batch) if timed else None
    rows = [row for row in timed if (row.device, row.threads, row.batch) == first and row.artifact in sizes]
    if len(rows) < 2:
        return None
    points = [(row, row.p50_ms.value if row.p50_ms else 0.0, float(sizes[row.artifact])) for row in rows]
    x, y = Axis.over([p[1] for p in points]), Axis.over([p[2] for p in points])
    front, lost = _front(manifest), _errors(manifest)
    legend = tuple(
        say.clean(
            f"{row.artifact}: {say.size(int(size))}, {say.milliseconds(p50)}{lost.get(row.artifact, '')}"
            f"{', on the Pareto front' if row.artifact in front else ''}"
        )
        for row, p50, size in points
    )
    label = f"Size against median latency on {say.clean(rows[0].device)}. " + "; ".join(legend)
    marks = [
        _point(number, x.at(p50), _height(y, size), beaten=bool(front) and row.artifact not in front)
        for number, (row, p50, size) in enumerate(points, 1)
    ]
    svg = Markup('<svg class="scatter" height="250" role="img" aria-label="{}">{}{}{}</svg>').format(
        label, _grid_y(y), _grid_x(x), Markup("").join(marks)
    )
    return Scatter(svg, legend)


def _front(manifest: Manifest) -> set[str]:
    """Artifacts that no other one beats in size, latency and error at once; empty where no run has told."""
    listed = manifest.recommended.get("pareto")
    return {str(path) for path in listed} if isinstance(listed, list) else set()


def _errors(manifest: Manifest) -> dict[str, str]:
    """By artifact, its accuracy where there are labels, else how far its error lies below the signal."""
    told = {}
    for verdict in manifest.verdicts:
        output = view.worst_output(verdict)
        if output is not None and output.accuracy is not None:
            told[verdict.artifact] = f", accuracy {say.percent(output.accuracy)}"
        elif output is not None:
            told[verdict.artifact] = f", error {say.decibels(output.sqnr_db, output.max_abs)} down"
    return told


def _marks(row: TimingRow) -> dict[str, float]:
    p50 = row.p50_ms
    known = {
        "min": row.min_ms, "p50": p50.value if p50 else None, "low": p50.low if p50 else None,
        "high": p50.high if p50 else None, "p90": row.p90_ms, "p99": row.p99_ms,
    }  # fmt: skip
    plain = {name: value.value if isinstance(value, Interval) else value for name, value in known.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _bar(row: TimingRow, axis: Axis) -> Bar:
    marks = _marks(row)
    at = {name: f"{axis.at(value):.2f}%" for name, value in marks.items()}
    middle = at["p50"]
    parts = [_line("rule", at.get("min", middle), at.get("p99", middle), 10, 10)]
    parts += [_line("tick", at["p90"], at["p90"], 5, 15)] if "p90" in at else []
    parts += [_line("interval", at["low"], at["high"], 10, 10)] if {"low", "high"} <= at.keys() else []
    parts.append(Markup('<circle class="dot" cx="{}" cy="10" r="4.5"/>').format(middle))
    spoken = ", ".join(f"{name} {say.milliseconds(marks[name])}" for name in ("min", "p50", "p90", "p99") if name in at)
    svg = Markup('<svg class="bar" height="20" role="img" aria-label="{}">{}</svg>').format(
        say.clean(f"{row.artifact} on {row.device}: {spoken}"), Markup("").join(parts)
    )
    return Bar(say.clean(row.artifact), view.setting(row), say.interval(row.p50_ms), svg)


def _axis(axis: Axis) -> Markup:
    parts = []
    for tick in axis.ticks():
        x = axis.at(tick)
        anchor = "start" if x < 4 else "end" if x > 94 else "middle"
        text = f"{tick:g}" + (" ms" if tick == axis.ticks()[-1] else "")
        parts.append(_line("grid", f"{x:.2f}%", f"{x:.2f}%", 0, 5))
        parts.append(Markup('<text x="{:.2f}%" y="18" text-anchor="{}">{}</text>').format(x, anchor, text))
    return Markup('<svg class="axis" height="22" aria-hidden="true">{}</svg>').format(Markup("").join(parts))


def _height(axis: Axis, value: float) -> float:
    return 215 - (axis.at(value) - _LEFT) / (_RIGHT - _LEFT) * 200


def _grid_y(axis: Axis) -> Markup:
    parts = []
    for tick in axis.ticks():
        y = _height(axis, tick)
        parts.append(_line("grid", "0%", "100%", y, y))
        parts.append(Markup('<text x="0" y="{:.1f}">{}</text>').format(y - 4, say.size(int(tick)) if tick else "0"))
    return Markup("").join(parts)


def _grid_x(axis: Axis) -> Markup:
    parts = []
    for tick in axis.ticks():
        x = axis.at(tick)
        anchor = "start" if x < 4 else "end" if x > 94 else "middle"
        text = f"{tick:g}" + (" ms" if tick == axis.ticks()[-1] else "")
        parts.append(Markup('<text x="{:.2f}%" y="236" text-anchor="{}">{}</text>').format(x, anchor, text))
    return Markup("").join(parts)


def _point(number: int, x: float, y: float, *, beaten: bool) -> Markup:
    dx, anchor = ("-9", "end") if x > 90 else ("9", "start")
    return Markup(
        '<circle class="dot{5}" cx="{0:.2f}%" cy="{1:.1f}" r="5"/>'
        '<text class="mark" x="{0:.2f}%" y="{1:.1f}" dx="{2}" dy="-5" text-anchor="{3}">{4}</text>'
    ).format(x, y, dx, anchor, number, " beaten" if beaten else "")


def _line(kind: str, x1: str, x2: str, y1: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
        escape(kind), escape(x1), escape(x2), y1, y2
    )
