"""Pieces of inline SVG. Every text that comes from a file goes through `Markup.format`, which escapes it."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup


def line(kind: str, x1: str | float, y1: float, x2: str | float, y2: float) -> Markup:
    """A line of a class of the style sheet; horizontal positions may be percentages."""
    return Markup('<line class="{}" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>').format(kind, _at(x1), y1, _at(x2), y2)


def text(kind: str, x: str | float, y: float, words: str, anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, _at(x), y, anchor, words
    )


def rect(kind: str, x: str | float, y: float, width: str | float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
        kind, _at(x), y, _at(width), height
    )


def mark(kind: str, shape: str, x: float, y: float) -> Markup:
    """A point: `savedmodel` is a diamond, `onnx` and `ort` a square, all else a circle."""
    if shape == "savedmodel":
        path = f"M{x:.1f} {y - 7:.1f}l7 7-7 7-7-7z"
    elif shape in {"onnx", "ort"}:
        path = f"M{x - 5.5:.1f} {y - 5.5:.1f}h11v11h-11z"
    else:
        path = f"M{x - 6:.1f} {y:.1f}a6 6 0 1 0 12 0a6 6 0 1 0-12 0z"
    return Markup('<path class="{}" d="{}"/>').format(kind, path)


def drawing(kind: str, size: str, label: str, parts: Iterable[Markup]) -> Markup:
    """The `svg` element: `size` is its viewBox, or a height in pixels; without a label it is decoration."""
    fits = Markup('viewBox="{}"').format(size) if " " in size else Markup('height="{}"').format(size)
    spoken = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="{}" {} {}>{}</svg>').format(kind, fits, spoken, Markup("").join(parts))


def percent(share: float) -> str:
    return f"{share * 100:.2f}%"


def _at(place: str | float) -> str:
    return place if isinstance(place, str) else f"{place:.1f}"
