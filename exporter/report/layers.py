"""Where error arises and where time goes: by layer and by kind of operation, where the manifest tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from exporter.manifest.facts import GroupFacts, LayerFacts
from exporter.manifest.schema import Manifest
from exporter.report import svg
from exporter.report import wording as say
from exporter.report.depth import depth_plot
from exporter.report.naming import short_names

_BARS = 12
_NEEDED = {"name", "noise_ratio", "limit", "diverges", "observed"}


@dataclass(frozen=True)
class Depth:
    """Error along the layers of one artifact. `first` is the first layer to part; `local`: what layers add is drawn."""

    name: str
    svg: Markup
    first: str
    local: bool


@dataclass(frozen=True)
class Group:
    """One bar of a profile: `width` is its share of the largest one, as a percentage."""

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
    """One drawing for each artifact that the manifest has layers of, as `edgeport localize --json` gives them."""
    names = short_names(manifest)
    drawings = []
    for artifact, rows in localized(manifest):
        first = next((str(row["name"]) for row in rows if row["diverges"]), "")
        drawing = depth_plot(rows, first or None)
        if drawing is not None:
            local = any(row.get("local_ratio") is not None for row in rows)
            drawings.append(Depth(names.get(artifact, say.clean(artifact)), drawing, say.clean(first), local))
    return drawings


def localized(manifest: Manifest) -> Iterable[tuple[str, Sequence[LayerFacts]]]:
    """(artifact, layers in the order of execution), of the environment's `localized`."""
    for entry in manifest.environment.get("localized", ()):
        if rows := [row for row in entry.get("layers", ()) if row.keys() >= _NEEDED]:
            yield entry.get("artifact", ""), rows


def profiles(manifest: Manifest) -> list[Profile]:
    """Of every artifact that was profiled (`edgeport bench --profile-ops`)."""
    names = short_names(manifest)
    result = []
    for profile in manifest.environment.get("profiles", ()):
        if not profile.get("kinds"):
            continue
        artifact = profile.get("artifact", "")
        name = names.get(artifact, say.clean(artifact))
        share = profile.get("share_of_peak")
        peak = f"At p50: {say.percent(share)} of this machine's measured float32 peak." if share is not None else ""
        device = say.clean(str(profile.get("device") or ""))
        result.append(Profile(name, device, _groups(profile["kinds"]), _groups(profile.get("layers", ())), peak))
    return result


def _groups(rows: Sequence[GroupFacts]) -> tuple[Group, ...]:
    shown = [row for row in rows if "us" in row][:_BARS]
    top = max((row["us"] for row in shown), default=0.0) or 1.0
    return tuple(
        Group(
            say.clean(row.get("name", "")),
            f"{say.figure(row['us'])} \N{MICRO SIGN}s, {say.percent(row.get('share'))}",
            svg.percent(row["us"] / top),
        )
        for row in shown
    )
