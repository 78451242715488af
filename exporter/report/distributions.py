"""The spread of latency: per timing a histogram of every run, and p50, p90, p95 and p99 with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from exporter.manifest.schema import Manifest
from exporter.report import svg, view
from exporter.report import wording as say
from exporter.report.axis import Axis
from exporter.report.evidence import Evidence
from exporter.report.naming import short_names
from validate.latency.rows import TimingRow
from validate.latency.statistics.percentiles import Interval

_BINS = 140
_HIGH, _BASE = 34.0, 38.0


@dataclass(frozen=True)
class Row:
    """One timing: its name and figures are text next to the drawing."""

    name: str
    setting: str
    value: str
    format: str
    svg: Markup


@dataclass(frozen=True)
class Distributions:
    """`measured` is whether raw samples were there to draw, `beyond` how many runs lie right of the axis."""

    rows: tuple[Row, ...]
    axis: Markup
    measured: bool
    beyond: int


def distributions(manifest: Manifest, evidence: Evidence) -> Distributions | None:
    """All timings that worked on one axis, which ends at the maximum p99; None where nothing was timed."""
    timed = [(k, row) for k, row in enumerate(manifest.timings) if row.status == "ok" and row.p50_ms is not None]
    if not timed:
        return None
    samples = {k: evidence.samples[k] for k, _ in timed if k in evidence.samples}
    axis = Axis.over([value for _, row in timed for value in _marks(row).values()])
    names = short_names(manifest)
    rows = tuple(
        Row(
            names.get(row.artifact, say.clean(row.artifact)),
            view.setting(row),
            say.interval(row.p50_ms),
            row.format,
            _strip(row, names.get(row.artifact, row.artifact), samples.get(k), axis),
        )
        for k, row in timed
    )
    beyond = sum(int((values > axis.high).sum()) for values in samples.values())
    return Distributions(rows, _scale(axis), bool(samples), beyond)


def _marks(row: TimingRow) -> dict[str, float]:
    """The values that must lie on the axis: the minimum, the percentiles and the ends of p50's interval."""
    marks: dict[str, float | None] = {"min": row.min_ms}
    marks |= {name: percentile.value for name, percentile in row.percentiles.items()}
    if row.p50_ms:
        marks |= {"low": row.p50_ms.low, "high": row.p50_ms.high}
    return {name: value for name, value in marks.items() if value is not None}


def _strip(row: TimingRow, name: str, samples: npt.NDArray[np.float64] | None, axis: Axis) -> Markup:
    parts = _histogram(samples, axis) if samples is not None else []
    parts.append(svg.line("base", "0%", _BASE, "100%", _BASE))
    spoken = []
    for percentile, interval in row.percentiles.items():
        at = svg.percent(axis.share(interval.value))
        parts += _whisker(percentile, interval, axis)
        if percentile == "p50":
            parts.append(Markup('<circle class="dot" cx="{}" cy="{:.1f}" r="5"/>').format(at, _BASE))
        else:
            parts.append(svg.line("cut", at, _BASE - 6, at, _BASE + 6))
        spoken.append(f"{percentile} {say.interval(interval)}")
    label = say.clean(f"{name} on {view.setting(row)}: {', '.join(spoken)}")
    return svg.drawing(f"strip {row.format}", "48", label, parts)


def _whisker(percentile: str, interval: Interval, axis: Axis) -> list[Markup]:
    if interval.low is None or interval.high is None:
        return []
    ends = (svg.percent(axis.share(interval.low)), svg.percent(axis.share(interval.high)))
    return [svg.line("interval" if percentile == "p50" else "whisker", ends[0], _BASE, ends[1], _BASE)]


def _histogram(samples: npt.NDArray[np.float64], axis: Axis) -> list[Markup]:
    """Bars over equal steps of the axis, the fullest one as high as the strip."""
    inside = samples[samples <= axis.high]
    shares = np.asarray([axis.share(float(value)) for value in inside])
    counts, _ = np.histogram(shares, bins=_BINS, range=(0.0, 1.0))
    top = max(1, int(np.max(counts, initial=0)))
    return [
        svg.rect(
            "bar", svg.percent(k / _BINS), _BASE - _HIGH * count / top, svg.percent(0.86 / _BINS), _HIGH * count / top
        )
        for k, count in enumerate(counts)
        if count
    ]


def _scale(axis: Axis) -> Markup:
    parts = []
    for tick in axis.ticks(5):
        share = axis.share(tick)
        anchor = "start" if share < 0.03 else "end" if share > 0.97 else "middle"
        parts.append(svg.line("grid", svg.percent(share), 0, svg.percent(share), 5))
        parts.append(svg.text("tick", svg.percent(share), 18, f"{tick:g}", anchor))
    return svg.drawing("scale", "22", "", parts)
