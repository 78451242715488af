"""The table of programs (language, template, formats they serve), filled in and written into a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from converters.formats import Format
from exporter.bundle.disk import translated
from exporter.manifest.schema import Manifest
from exporter.report.markdown import code, text
from exporter.report.wording import clean
from exporter.selfcheck import literals
from exporter.selfcheck.checks import Check, Plan, plan

FOLDER = "selfcheck"
SCHEMA = "edgeport.selfcheck/1"

_LITERT = frozenset({Format.TFLITE})
_ONNX = frozenset({Format.ONNX, Format.ORT})


@dataclass(frozen=True)
class Program:
    """One file of `selfcheck/`: its template is `<name>.j2`.

    Attributes:
        formats: what it can run; it is written where the bundle has one of them.
    """

    language: str
    name: str
    formats: frozenset[Format]


PROGRAMS = (
    Program("Python", "check.py", _LITERT | _ONNX),
    Program("JavaScript", "selfcheck.mjs", _ONNX),
    Program("JavaScript", "check.mjs", _ONNX),
    Program("HTML", "check.html", _ONNX),
    Program("C++", "selfcheck.h", _LITERT | _ONNX),
    Program("C++", "check_litert.cc", _LITERT),
    Program("C++", "check_onnxruntime.cc", _ONNX),
    Program("CMake", "CMakeLists.txt", _LITERT | _ONNX),
    Program("Kotlin", "SelfCheck.kt", _LITERT | _ONNX),
    Program("Kotlin", "CheckLiteRt.kt", _LITERT),
    Program("Kotlin", "CheckOnnxRuntime.kt", _ONNX),
    Program("Swift", "SelfCheck.swift", _LITERT | _ONNX),
    Program("Swift", "CheckLiteRt.swift", _LITERT),
    Program("Swift", "CheckOnnxRuntime.swift", _ONNX),
    Program("Markdown", "README.md", _LITERT | _ONNX),
)


def write_selfcheck(staging: Path, manifest: Manifest, tolerances: Mapping[str, float]) -> None:
    """Writes `selfcheck/` into a bundle in the making; nothing where there is nothing that it could check.

    Args:
        manifest: the bundle's, with verdicts; `files[]` need not be there yet.
        tolerances: what the gates were overridden with.

    Raises:
        IntegrityError: the golden vectors cannot be read.
        ResourceError: the disk is full.
        UsageError: a name that not every language can hold.
    """
    planned = plan(staging, manifest, tolerances)
    if not planned.checks:
        return
    folder = staging / FOLDER
    try:
        (folder / "data").mkdir(parents=True)
        for name, content in planned.files.items():
            (folder / name).write_bytes(content)
        for name, text_ in render(planned, manifest).items():
            (folder / name).write_text(text_, encoding="utf-8", newline="\n")
    except OSError as cause:
        raise translated(cause, folder) from cause


def render(planned: Plan, manifest: Manifest) -> dict[str, str]:
    """File name -> text, of every program that has something to run, and the same facts as JSON for any other."""
    present = {Format(check.format) for check in planned.checks}
    values = _values(planned, manifest)
    files = {
        program.name: _environment().get_template(f"{program.name}.j2").render(values)
        for program in PROGRAMS
        if program.formats & present
    }
    document = {"schema": SCHEMA, **values["facts"], "checks": [check.to_json() for check in planned.checks]}
    return files | {"selfcheck.json": json.dumps(document, indent=2, allow_nan=False) + "\n"}


def _values(planned: Plan, manifest: Manifest) -> dict[str, Any]:
    """The values of the templates. Names of files are clean; names of tensors go through literals alone."""
    document = manifest.to_document()
    return {
        "checks": planned.checks,
        "plain": [check.to_json() for check in planned.checks],
        "plain_onnx": [check.to_json() for check in _of(planned, _ONNX)],
        "litert": _of(planned, _LITERT),
        "onnx": _of(planned, _ONNX),
        "left_out": planned.left_out,
        "fed": fed(document),
        "given": given(document),
        "facts": {
            "made_by": f"{manifest.tool.name} {manifest.tool.version}",
            "signature": document["signature"],
            "input_ranges": document["preprocessing"],
            "contract": document.get("contract"),
        },
    }


def _of(planned: Plan, formats: frozenset[Format]) -> list[Check]:
    return [check for check in planned.checks if Format(check.format) in formats]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "python": literals.python_literal,
        "json": literals.json_literal,
        "c": literals.c_string,
        "c_double": literals.c_double,
        "kotlin": literals.kotlin_string,
        "kotlin_double": literals.kotlin_double,
        "swift": literals.swift_string,
        "swift_double": literals.swift_double,
        "md": text,
        "md_code": code,
        "plain": clean,
    }
    return environment


_ASKED = (("layout", "{}"), ("colour_order", "{}"), ("resize", "resized: {}"))
_SCALING = ("scale", "mean", "std")


def fed(document: Mapping[str, Any]) -> dict[str, str]:
    """By input name, the values that it expects."""
    contract = {row["name"]: row for row in (document.get("contract") or {}).get("inputs", ())}
    ranges = document.get("preprocessing") or {}
    return {
        row["name"]: _of_input(contract.get(row["name"], {}), ranges.get(row["name"]) or {})
        for row in document["signature"]["inputs"]
    }


def given(document: Mapping[str, Any]) -> dict[str, str]:
    """By output name, what its values mean."""
    contract = {row["name"]: row for row in (document.get("contract") or {}).get("outputs", ())}
    return {row["name"]: _of_output(contract.get(row["name"], {})) for row in document["signature"]["outputs"]}


def _of_input(row: Mapping[str, Any], judged: Mapping[str, Any]) -> str:
    parts = [text.format(row[key]) for key, text in _ASKED if row.get(key)]
    told = row.get("range")
    limits = told or ((judged["low"], judged["high"]) if {"low", "high"} <= set(judged) else None)
    if limits:
        assumed = " (assumed: nobody told the range)" if not told and judged.get("origin") == "assumed" else ""
        parts.insert(0, f"{limits[0]:g} to {limits[1]:g}{assumed}")
    if row.get("in_model"):
        return ", ".join([*parts, "raw values: the model scales them itself"])
    scaling = {key: row[key] for key in _SCALING if row.get(key) is not None}
    if scaling:
        numbers = ", ".join(f"{key} {_numbers(value)}" for key, value in scaling.items())
        parts.append(f"(x * scale - mean) / std of raw values x, with {numbers}")
    return ", ".join(parts) or "-"


def _of_output(row: Mapping[str, Any]) -> str:
    parts = [str(row["activation"])] if row.get("activation") else []
    labels = row.get("labels") or ()
    if labels:
        shown = ", ".join(str(label) for label in labels[:3])
        parts.append(f"labels: {shown}{', ...' if len(labels) > 3 else ''} ({len(labels)})")
    if row.get("threshold") is not None:
        parts.append(f"on from {row['threshold']:g}")
    return ", ".join(parts) or "-"


def _numbers(value: float | list[float]) -> str:
    return " ".join(f"{number:g}" for number in (value if isinstance(value, list) else [value]))
