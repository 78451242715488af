"""Numbers and names as people read them: every number with its unit, every name free of control characters."""

from __future__ import annotations

from validate.latency.statistics.percentiles import Interval

NONE = "-"
"""Shown where there is no value."""


def clean(text: str) -> str:
    """One line without control characters or bidirectional overrides: names come from files that anyone may write."""
    return "".join(c if c.isprintable() else " " if c in "\n\r\t" else f"\\u{ord(c):04x}" for c in text)


def size(count: int | None) -> str:
    """Bytes in decimal units: `940 B`, `412 kB`, `89.4 MB`."""
    if count is None:
        return NONE
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"


def figure(value: float | None) -> str:
    """Three significant digits; powers of ten where plain digits would mislead."""
    if value is None:
        return NONE
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}" if value else "0"


def milliseconds(value: Interval | float | None) -> str:
    """A duration; of an interval, its value alone."""
    if isinstance(value, Interval):
        value = value.value
    return NONE if value is None else f"{figure(value)} ms"


def interval(value: Interval | None, unit: str = " ms") -> str:
    """`29.4 ms [29.1, 29.8]`: the value with its 95 % confidence interval."""
    if value is None:
        return NONE
    bounds = "" if value.low is None or value.high is None else f" [{figure(value.low)}, {figure(value.high)}]"
    return f"{figure(value.value)}{unit}{bounds}"


def percent(fraction: float | None) -> str:
    """A share of 0..1. 100 % is said only of all: 99.96 % is not rounded up to it."""
    if fraction is None:
        return NONE
    if fraction == 1:
        return "100 %"
    return f"{min(fraction * 100, 99.9):.1f} %" if fraction > 0.9 else f"{fraction * 100:.1f} %"


def decibels(value: float | None, max_abs: float | None) -> str:
    """SQNR; identical outputs have none that is finite, and are called what they are."""
    if value is not None:
        return f"{value:.1f} dB"
    return "identical" if max_abs == 0 else NONE


def count(number: int, noun: str) -> str:
    """`1 artifact`, `3 artifacts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: list[str], limit: int = 4) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 4 more`."""
    shown = names[:limit] if len(names) <= limit else [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + f" and {shown[-1]}" if shown else ""
