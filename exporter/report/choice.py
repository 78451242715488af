"""The artifacts to ship: the recommended one of each device, and others that are best at something."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.manifest.passing import passing
from exporter.manifest.schema import Manifest
from exporter.report import view
from exporter.report import wording as say
from exporter.report.headline import timed_rows
from exporter.report.naming import short_names

_OBJECTIVES = {"latency": "lowest p50", "size": "smallest file", "accuracy": "least error"}


@dataclass(frozen=True)
class Pick:
    """One recommendation: `facts` are (what, figure)."""

    title: str
    name: str
    path: str
    format: str
    why: str
    facts: tuple[tuple[str, str], ...]


def choices(manifest: Manifest) -> dict[str, str]:
    """By device, the artifact that the run chose; empty where it did not choose."""
    listed = manifest.recommended.get("choice")
    paths = {row.path for row in manifest.artifacts}
    return {str(k): str(v) for k, v in listed.items() if v in paths} if isinstance(listed, dict) else {}


def picks(manifest: Manifest) -> list[Pick]:
    """The choice of each device, then the smallest and the most accurate where they are others."""
    objective = _OBJECTIVES.get(str(manifest.recommended.get("objective")), "")
    chosen = choices(manifest)
    subjects = {miss.subject for miss in passing(manifest).misses}
    passed = sum(verdict.artifact not in subjects for verdict in manifest.verdicts)
    among = f" among {say.count(passed, 'artifact')} that pass{'' if passed != 1 else 'es'}"
    why = f"{objective}{among}".capitalize()
    result = [
        _pick(manifest, f"Ship on {device}" if device != "any" else "Ship", path, why, device)
        for device, path in chosen.items()
    ]
    shown = set(chosen.values())
    for key, title in (("smallest", "Smallest"), ("most_accurate", "Most accurate")):
        path = manifest.recommended.get(key)
        exists = any(row.path == path for row in manifest.artifacts)
        if isinstance(path, str) and exists and path not in shown:
            result.append(_pick(manifest, title, path, "", next(iter(chosen), "")))
            shown.add(path)
    return result


def unmet(manifest: Manifest) -> str:
    """Why nothing keeps to the limits that were given; empty where something does."""
    return say.clean(str(manifest.recommended.get("unmet") or ""))


def _pick(manifest: Manifest, title: str, path: str, why: str, device: str) -> Pick:
    artifact = next(row for row in manifest.artifacts if row.path == path)
    timing = next((r for r in timed_rows(manifest) if r.artifact == path and r.device in (device, "")), None)
    verdict = next((row for row in manifest.verdicts if row.artifact == path), None)
    output = view.worst_output(verdict) if verdict else None
    facts = [("Size", say.size(artifact.size_bytes))]
    if timing is not None:
        facts.insert(0, ("p50", say.milliseconds(timing.p50_ms)))
        facts.append(("p99", say.milliseconds(timing.p99_ms)))
    if output is not None and output.accuracy is not None:
        facts.append(("Accuracy", say.percent(output.accuracy)))
    elif output is not None:
        facts.append(("SQNR", say.decibels(output.sqnr_db, output.max_abs)))
    shown = tuple((what, figure) for what, figure in facts if figure != say.NONE)
    name = short_names(manifest)[path]
    return Pick(say.clean(title), name, say.clean(path), artifact.format.value, say.clean(why), shown)
