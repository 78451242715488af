"""Where error arises and where time goes: by layer and by kind of operation, where the manifest tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from exporter.manifest import Manifest
from exporter.report import svg
from exporter.report import wording as say
from exporter.report.axis import Axis
from exporter.report.naming import short_names

_WIDTH, _HEIGHT = 860.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 850.0, 12.0, 214.0
_BARS = 12


@dataclass(frozen=True)
class Depth:
    """Error along the layers of one artifact. `worst` are layers in words, the first to part above all."""

    name: str
    svg: Markup
    first: str
    layers: int
    local: bool


@dataclass(frozen=True)
class Group:
    """One bar of a profile: `width` is its share of the greatest one, as a percentage."""

    name: str
    figure: str
    width: str


@dataclass(frozen=True)
class Profile:
    name: str
    where: str
    kinds: tuple[Group, ...]
    layers: tuple[Group, ...]
    note: str


def depths(manifest: Manifest) -> list[Depth]:
    """One drawing for each artifact that the manifest has layers of."""
    names = short_names(manifest)
    found = []
    for artifact, rows in _localized(manifest):
        marks = [row for row in rows if isinstance(row.get("sqnr_db"), int | float)]
        if len(marks) > 1:
            first = next((str(row["name"]) for row in rows if row.get("diverges")), "")
            local = any(isinstance(row.get("local_sqnr_db"), int | float) for row in marks)
            name = names.get(artifact, say.clean(artifact))
            found.append(Depth(name, _line(marks, name, first), say.clean(first), len(rows), local))
    return found


def _localized(manifest: Manifest) -> Iterable[tuple[str, list[Mapping[str, Any]]]]:
    """(artifact, layers in the order of execution): of verdicts' `layers`, or of the environment's `localized`."""
    for verdict in manifest.verdicts:
        if rows := _layer_rows(verdict.more().get("layers")):
            yield verdict.artifact, rows
    listed: Any = manifest.environment.get("localized")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and (rows := _layer_rows(entry.get("layers"))):
            yield str(entry.get("artifact") or entry.get("candidate") or ""), rows


def _layer_rows(value: Any) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, dict) and "name" in row] if isinstance(value, list) else []


def _line(rows: list[Mapping[str, Any]], name: str, first: str) -> Markup:
    """Error against the layer's signal, upwards, along the layers; the error that a layer adds itself is dotted."""
    local = [-float(r["local_sqnr_db"]) for r in rows if isinstance(r.get("local_sqnr_db"), int | float)]
    axis = Axis.between([*(-float(row["sqnr_db"]) for row in rows), *local])
    step = (_RIGHT - _LEFT) / max(1, len(rows) - 1)
    parts = []
    for tick in axis.ticks():
        y = _upward(axis, tick)
        parts += [svg.line("grid", _LEFT, y, _RIGHT, y), svg.text("tick", _LEFT - 6, y + 4, f"{tick:g} dB", "end")]
    for kind, key in (("local", "local_sqnr_db"), ("error", "sqnr_db")):
        points = [
            f"{_LEFT + k * step:.1f},{_upward(axis, -float(row[key])):.1f}"
            for k, row in enumerate(rows) if isinstance(row.get(key), int | float)
        ]  # fmt: skip
        if len(points) > 1:
            parts.append(Markup('<polyline class="{}" points="{}"/>').format(kind, " ".join(points)))
    for k, row in enumerate(rows):
        if row["name"] == first:
            x, y = _LEFT + k * step, _upward(axis, -float(row["sqnr_db"]))
            parts += [svg.line("parts", x, _TOP, x, _BOTTOM), svg.mark("mark parts", "tflite", x, y)]
    along = "layers, in the order of execution \N{RIGHTWARDS ARROW}"
    parts.append(svg.text("title", _RIGHT, _BOTTOM + 26, along, "end"))
    worst = max(rows, key=lambda row: -float(row["sqnr_db"]))
    label = f"Error by layer of {name}: greatest in {worst['name']}, {-float(worst['sqnr_db']):.1f} dB."
    return svg.drawing("depth", f"0 0 {_WIDTH:g} {_HEIGHT:g}", say.clean(label), parts)


def _upward(axis: Axis, value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * axis.share(value)


def profiles(manifest: Manifest) -> list[Profile]:
    """Of every artifact that was profiled (`edgeport bench --profile`)."""
    names = short_names(manifest)
    listed: Any = manifest.environment.get("profiles")
    found = []
    for profile in listed if isinstance(listed, list) else []:
        if not isinstance(profile, dict) or not profile.get("kinds"):
            continue
        artifact = str(profile.get("artifact", ""))
        name = names.get(artifact, say.clean(artifact))
        share = profile.get("share_of_peak")
        peak = f"At p50: {say.percent(share)} of this machine's measured float32 peak." if share is not None else ""
        device = say.clean(str(profile.get("device") or ""))
        found.append(Profile(name, device, _groups(profile["kinds"]), _groups(profile.get("layers")), peak))
    return found


def _groups(rows: Any) -> tuple[Group, ...]:
    kept = [row for row in rows or () if isinstance(row, dict) and isinstance(row.get("us"), int | float)][:_BARS]
    top = max((float(row["us"]) for row in kept), default=0.0) or 1.0
    return tuple(
        Group(
            say.clean(str(row.get("name", ""))), f"{say.figure(float(row['us']))} \N{MICRO SIGN}s, "
            f"{say.percent(row.get('share'))}", svg.percent(float(row["us"]) / top),
        )
        for row in kept
    )  # fmt: skip
