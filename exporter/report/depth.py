"""The error of a candidate layer by layer, as inline SVG: where it appears, and how it grows with depth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from exporter.report import wording as say

_TOP, _BOTTOM = 12.0, 176.0
_LEFT, _RIGHT = 6.0, 98.0


def depth_plot(layers: Sequence[Mapping[str, Any]], first: str | None = None) -> Markup | None:
    """Noise ratio by layer in the order of execution, on a logarithmic scale; None where fewer than two are seen.

    Filled dots part from the checkpoint, hollow ones keep to their limit (the dashed line); a small dot is what the
    layer adds itself. Positions are percentages and heights pixels.

    Args:
        layers: the rows of `edgeport localize --json`.
        first: the layer to name in the drawing.
    """
    points = [(k, row) for k, row in enumerate(layers) if row.get("observed")]
    if len(points) < 2:
        return None
    figures = [float(v) for _, row in points for v in (row["noise_ratio"], row["limit"]) if v is not None and v > 0]
    low, high = min(1.0, *figures) / 1.5, max(10.0, *figures) * 1.5

    def y(value: float | None) -> float:
        bounded = high if value is None else min(max(value, low), high)  # JSON has null for infinity
        return _BOTTOM - (_BOTTOM - _TOP) * math.log(bounded / low) / math.log(high / low)

    def x(k: int) -> float:
        return _LEFT + (_RIGHT - _LEFT) * k / max(1, len(layers) - 1)

    parts = [_decade(10.0**d, y(10.0**d)) for d in _decades(low, high)]
    parts += [_step(x(k), x(k2), y(row["limit"])) for (k, row), (k2, _) in pairwise(points)]
    for k, row in points:
        parts.append(_dot(x(k), y(row["noise_ratio"]), row))
        if row.get("local_ratio") is not None:
            parts.append(_local(x(k), y(row["local_ratio"])))
        if row["name"] == first:
            parts.append(_name(x(k), row["name"]))
    label = f"Noise ratio of {len(points)} layers in the order of execution"
    label += f"; {first} is the first to part" if first else ""
    return Markup('<svg class="depth" height="200" role="img" aria-label="{}">{}</svg>').format(
        say.clean(label), Markup("").join(parts)
    )


def _decades(low: float, high: float) -> list[int]:
    every = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    return list(every)[:: max(1, len(every) // 5)]


def _decade(value: float, y: float) -> Markup:
    return Markup(
        '<line class="grid" x1="{0}%" x2="{1}%" y1="{2:.1f}" y2="{2:.1f}"/><text x="0" y="{3:.1f}">{4:g}</text>'
    ).format(_LEFT, _RIGHT, y, y + 4, value)


def _step(x1: float, x2: float, y: float) -> Markup:
    return Markup(
        '<line class="rule" stroke-dasharray="3 3" x1="{0:.2f}%" x2="{1:.2f}%" y1="{2:.1f}" y2="{2:.1f}"/>'
    ).format(x1, x2, y)


def _dot(x: float, y: float, row: Mapping[str, Any]) -> Markup:
    ratio = row["noise_ratio"]
    title = f"{row['name']}: {'not finite' if ratio is None else format(ratio, '.3g')}"
    return Markup('<circle class="dot{}" cx="{:.2f}%" cy="{:.1f}" r="3"><title>{}</title></circle>').format(
        "" if row["diverges"] else " beaten", x, y, say.clean(title)
    )


def _local(x: float, y: float) -> Markup:
    return Markup('<circle class="local" cx="{:.2f}%" cy="{:.1f}" r="1.5"/>').format(x, y)


def _name(x: float, name: str) -> Markup:
    anchor = "start" if x < 30 else "end" if x > 70 else "middle"
    text = Markup('<text class="mark" x="{:.2f}%" y="192" text-anchor="{}">{}</text>')
    return text.format(x, anchor, say.clean(name))
