"""The artifacts to ship: the recommended one of each device, and others that are best at something."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.manifest.passing import passing
from exporter.manifest.schema import Manifest
from exporter.report import wording as say
from exporter.report.cost import loss_words, worst_output
from exporter.report.headline import timed_rows
from exporter.report.naming import short_names
from validate.targets import HOST

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
    excluded = {miss.subject for miss in passing(manifest).misses} | set(manifest.recommended.get("unproven") or ())
    passed = sum(verdict.artifact not in excluded for verdict in manifest.first_verdicts)
    passes = f"pass{'' if passed != 1 else 'es'}" + (" and are proven" if manifest.recommended.get("unproven") else "")
    among = f" among {say.count(passed, 'artifact')} that {passes}"
    why = f"{objective}{among}".capitalize()
    result = [_pick(manifest, _title(manifest, device), path, why, device) for device, path in chosen.items()]
    shown = set(chosen.values())
    proven = " that is proven" if manifest.recommended.get("unproven") else ""
    for key, title in (("smallest", f"Smallest{proven}"), ("most_accurate", f"Most accurate{proven}")):
        path = manifest.recommended.get(key)
        exists = any(row.path == path for row in manifest.artifacts)
        if isinstance(path, str) and exists and path not in shown:
            note = str(manifest.recommended.get("smallest_note") or "") if key == "smallest" else ""
            result.append(_pick(manifest, title, path, _named(note, manifest), next(iter(chosen), "")))
            shown.add(path)
    return result


def _title(manifest: Manifest, device: str) -> str:
    """The device, with the session settings in which the choice is that fast where they are not the default."""
    if device == "any":
        return "Ship"
    setting = manifest.recommended.get("setting", {}).get(device)
    return f"Ship on {device}, {setting}" if setting else f"Ship on {device}"


def unproven(manifest: Manifest) -> str:
    """What passes and is not proven, what it would give over the choice, and the command that would prove it."""
    names, listed = short_names(manifest), manifest.recommended.get("unproven") or []
    paths = [path for path in listed if path in names and path not in choices(manifest).values()]
    if not paths:
        return ""
    verb = "is" if len(paths) == 1 else "are"
    command = say.clean(str(manifest.recommended.get("next") or ""))
    prove = f" To prove it: {command}" if command else ""
    listed_names = say.listed([names[path] for path in paths])
    return f"{listed_names} {verb} not proven to keep what the task needs{_gain(manifest, paths)}.{prove}"


def _gain(manifest: Manifest, paths: list[str]) -> str:
    """By how much the fastest unproven one would be faster than the choice."""
    p50 = {row.artifact: row.p50_ms.value for row in reversed(timed_rows(manifest)) if row.p50_ms}
    chosen = [p50[path] for path in choices(manifest).values() if path in p50]
    unsure = [p50[path] for path in paths if path in p50]
    if not chosen or not unsure or min(unsure) >= min(chosen):
        return ""
    return f" (p50 {say.milliseconds(min(unsure))} against {say.milliseconds(min(chosen))})"


def unmet(manifest: Manifest) -> str:
    """Why nothing keeps to the limits that were given; empty where something does."""
    return say.clean(str(manifest.recommended.get("unmet") or ""))


def _named(note: str, manifest: Manifest) -> str:
    """The note with artifacts by their short names, which the page goes by."""
    for path, name in short_names(manifest).items():
        note = note.replace(path, name)
    return note[:1].upper() + note[1:]


def _pick(manifest: Manifest, title: str, path: str, why: str, device: str) -> Pick:
    artifact = next(row for row in manifest.artifacts if row.path == path)
    setting = manifest.recommended.get("setting", {}).get(device, HOST.setting)
    timed = [r for r in timed_rows(manifest) if r.artifact == path and r.device in (device, "")]
    timing = next((r for r in timed if r.setting == setting), timed[0] if timed else None)
    verdict = next((row for row in manifest.first_verdicts if row.artifact == path), None)
    output = worst_output(verdict) if verdict else None
    facts = [("Size", say.size(artifact.size_bytes))]
    if timing is not None:
        facts.insert(0, ("p50", say.milliseconds(timing.p50_ms)))
        facts.append(("p99", say.milliseconds(timing.p99_ms)))
    if output is not None and output.accuracy is not None:
        facts.append(("Accuracy", say.percent(output.accuracy)))
    elif output is not None:
        facts.append(("Loss", loss_words(verdict.loss if verdict else None)))
        facts.append(("SQNR", say.decibels(output.sqnr_db, output.max_abs)))
    shown = tuple((what, figure) for what, figure in facts if figure != say.NONE)
    name = short_names(manifest)[path]
    return Pick(say.clean(title), name, say.clean(path), artifact.format.value, say.clean(why), shown)
