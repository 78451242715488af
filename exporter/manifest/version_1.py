"""Documents of the first version, as the second says it. What the first did not record is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from exporter.manifest.passing import passing
from exporter.manifest.schema import Manifest
from validate.agreement.rows import OutputRow
from validate.latency.rows import sample_names

SCHEMA_1 = "edgeport.manifest/1"

_PERCENTILES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
_OUTPUT_FIELDS = tuple(field.name for field in fields(OutputRow))


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with rows as they are now; its `schema` still says what it was written as."""
    names = [tensor["name"] for tensor in document["signature"]["inputs"]]
    return {
        **document,
        "verdicts": [_verdict(row, names) for row in document.get("verdicts", ())],
        "timings": [_timing(row) for row in document.get("timings", ())],
    }


def completed(manifest: Manifest) -> Manifest:
    """The manifest with `passing`, which the first version did not keep, and where its raw samples lie.

    Whether inconclusive verdicts were allowed is told by its command line alone.
    """
    allowed = "--allow-inconclusive" in manifest.tool.command
    listed = {row.path for row in manifest.files}
    timed = [row for row in manifest.timings if row.status == "ok"]
    paths = {id(row): f"latency/{name}" for row, name in zip(timed, sample_names(timed), strict=True)}
    timings = tuple(
        replace(row, samples_file=paths[id(row)]) if paths.get(id(row)) in listed else row for row in manifest.timings
    )
    judged = passing(manifest, allow_inconclusive=allowed)
    return manifest.model_copy(update={"timings": timings, "passing": judged})


def _verdict(row: Mapping[str, Any], inputs: list[str]) -> dict[str, Any]:
    span = row.get("input_range") or {}
    if isinstance(span, list):
        span = {name: {"low": span[0], "high": span[1], "source": ""} for name in inputs}
    outputs = [_output(output, row) for output in row.get("outputs", ())]
    return {**row, "reason": row.get("reason") or "", "outputs": outputs, "input_range": span}


def _output(output: Mapping[str, Any], verdict: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {
        "nonfinite": 0,
        "gate": {},
        "status": verdict["status"],
        "reason": "",
        "samples": verdict.get("samples") or 0,
        "noise_ratios": {},
        "decides": "",
    }
    values = {key: value for key, value in output.items() if value is not None}
    return dict.fromkeys(_OUTPUT_FIELDS) | defaults | values


def _timing(row: Mapping[str, Any]) -> dict[str, Any]:
    """A number stands for an interval whose ends are not known."""
    plain = {"reason": "", "next": "", "boundary": "", "variant": "", "samples": 0}
    numbers = {key: {"value": row[key]} for key in _PERCENTILES if isinstance(row.get(key), int | float)}
    return {**row, **{key: row.get(key) or nothing for key, nothing in plain.items()}, **numbers}
