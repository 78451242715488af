"""The work of `export` and `run` once their options are parsed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from converters.checks.values import number_in
from converters.common import Common
from converters.errors import UsageError
from converters.isolation import Limits
from exporter.cli.bench_output import tuned_lines
from exporter.cli.console import Console
from exporter.cli.latency_options import taken_variants
from exporter.cli.opening import opening_of
from exporter.manifest.passing import passing
from exporter.manifest.schema import Manifest
from exporter.models.settings import split_assignments
from exporter.options import RunOptions
from exporter.report.choice import unproven
from exporter.report.headline import disturbance
from exporter.report.terminal import terminal_tables
from exporter.report.view import shared_notes
from exporter.run.localize import sentence_of
from exporter.run.pipeline import Outcome, run
from validate.targets import Device, Kind, Places, target_of

_FIELDS = {
    "max_latency": "max_latency_ms",
    "max_size": "max_size_mb",
    "tuning": "tune",
    "profiling": "profile",
}
"""Fields of the options that have another name on the command line."""
_OPEN = ("formats", "precisions", "threads")
"""Options that are None where nobody sets them."""


def run_and_show(source: str, output: Path, chosen: dict[str, Any], console: Console) -> int:
    """Runs the pipeline and shows the manifest; returns the exit code."""
    options = run_options(chosen)
    with console.progress() as progress:
        outcome = run(source, output, options, progress)
    show(outcome, output, console)
    return outcome.exit_code


def run_options(chosen: dict[str, Any]) -> RunOptions:
    """The command line's words as RunOptions. Raises UsageError."""
    words = dict(chosen)
    assignments = words.pop("assignments")
    renamed = {_FIELDS[name]: words.pop(name) for name in _FIELDS if name in words}
    if "litert" in words:  # `export` has no session settings
        words["variants"] = taken_variants(words)
        words["threads"] = tuple(chain(*words["threads"]))
    for name in _OPEN:
        words[name] = words.get(name) or None
    return RunOptions.of(
        opening=opening_of(words),
        settings=split_assignments(assignments),
        limits=limits(words.pop("timeout"), words.pop("memory_limit")),
        tolerances=tolerances(words.pop("tolerances", ())),
        shapes=shapes_of(words.pop("shapes")),
        **places_of(words),
        command=("edgeport", *sys.argv[1:]),
        **renamed,
        **words,
    )


def places_of(words: dict[str, Any]) -> dict[str, Any]:
    """Takes `--device`, `--on` and how boards are reached out of the words, as fields of Places."""
    boards = [Device(f"{kind}:{name}") for kind in ("ssh", "adb") if (name := words.pop(kind, None))]
    devices = dict.fromkeys([*words.pop("devices", ()), *words.pop("targets", ()), *boards])
    python, options = words.pop("ssh_python", "python3"), shlex.split(words.pop("ssh_options", ""))
    return {"devices": tuple(devices) or (Device.CPU,), "ssh_python": python, "ssh_options": options}


def judging_places(words: dict[str, Any]) -> Places:
    """The same where files are judged alone. Raises UsageError: a target shows no answers."""
    places = Places(**places_of(words))
    for device in places.devices:
        if target_of(device).numbers is Kind.NEVER:
            raise UsageError(
                f"{device} shows no answers: no file is judged there.",
                next_step=f"Leave it out here: edgeport bench --on {device} times them, or has an estimate.",
            )
    return places


def common_of(chosen: dict[str, Any]) -> Common:
    """Takes what all steps share out of the words of `validate` and `localize`. Raises UsageError."""
    limited = limits(chosen.pop("timeout"), chosen.pop("memory_limit"))
    shared = {name: chosen.pop(name) for name in ("seed", "inputs", "samples", "input_range")}
    return Common(limits=limited, opening=opening_of(chosen), shapes=shapes_of(chosen.pop("shapes")), **shared)


def shapes_of(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every `--shape` together. Raises UsageError: an input has two."""
    names = [name for shapes in given for name in shapes]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--shape is given twice for {name}.", next_step="Give one shape for each input.")
    return {name: sizes for shapes in given for name, sizes in shapes.items()}


def limits(timeout_s: float | None, memory_gb: float | None) -> Limits:
    """`--timeout` and `--memory-limit` as Limits."""
    return Limits(timeout_s, None if memory_gb is None else int(memory_gb * 1e9))


def tolerances(assignments: tuple[str, ...]) -> dict[str, float]:
    """`--tolerance KEY=VALUE` as a mapping. Raises UsageError."""
    result: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(
                f"--tolerance {text} is not KEY=VALUE.", next_step="Give a number, for example noise_ratio=8."
            )
        result[key.strip()] = number_in(value)
    return result


def show(outcome: Outcome, output: Path, console: Console) -> None:
    """The result tables, the verdict in one sentence, and where the report lies."""
    manifest = outcome.manifest
    console.document(manifest.to_document())
    for title, columns, rows in terminal_tables(manifest):
        console.table(title, columns, rows)
    for miss in passing(manifest, allow_inconclusive=False).misses:  # what was allowed to pass is told all the same
        console.say(miss.sentence)
    for row in manifest.environment.get("localized", ()):
        if blame := sentence_of(row):
            console.say(f"{row.get('artifact')}: {blame}")
    for line in (*shared_notes(manifest), unproven(manifest)):
        if line:
            console.say(line)
    for line in (*_shipped(manifest), *tuned_lines(manifest.recommended.get("settings", {}).values())):
        console.say(line)
    calibrations = [artifact.calibration.notes for artifact in manifest.artifacts if artifact.calibration]
    for line in dict.fromkeys(chain(*calibrations)):
        console.say(line)
    shares = [(verdict.artifact, row.accuracy) for verdict in manifest.first_verdicts for row in verdict.outputs]
    accuracies = [f"{artifact} {share:.1%}" for artifact, share in shares if share is not None]
    if accuracies:
        reference = manifest.first_verdicts[0].reference_accuracy
        first = "" if reference is None else f"checkpoint {reference:.1%}, "
        console.say(f"Accuracy: {first}{', '.join(accuracies)}.")
    if busy := disturbance(manifest):
        console.say(f"{busy.capitalize()}: time them again with `edgeport bench {output}` when it is quiet.")
    console.say(f"The bundle is {output}; read {output / 'report.html'}.")


def _shipped(manifest: Manifest) -> list[str]:
    """The contents of the profiles' folders, and the operations that delegates do not take."""
    rows: Any = manifest.shipping or {}
    packed = {"server": [*chain(*rows.get("server", {}).values())], "microcontroller": rows.get("microcontroller")}
    lines = [
        f"Packed for {name}: {name}/." if packed[name] else f"Nothing was packed for {name}: no file for it passed."
        for name in packed
        if name in rows
    ]
    lines += [_arena(board["artifact"], board["arena"]) for board in rows.get("microcontroller", ())]
    for row in rows.get("mobile", {}).get("usability", ()):
        if row["verdict"] != "yes":
            lines.append(f"{row['artifact']}: {row['delegate']}: {row['verdict']}: {row['reason']}")
    return lines


def _arena(artifact: str, arena: Mapping[str, Any]) -> str:
    """The tensor arena of a board's file, and where its size is from."""
    if arena["basis"] == "measured":
        from_where = f"TensorFlow Lite for Microcontrollers was seen to start it in {arena['least_bytes']}"
    else:
        from_where = f"an estimate, which `{target_of(Device.TFLM).install}` lets edgeport measure"
    return f"{artifact}: a tensor arena of {arena['bytes']} bytes ({from_where})."
