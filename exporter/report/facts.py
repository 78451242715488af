"""The source, the tool and the machine of a run as pairs, and the few of them that come first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from exporter.manifest.rows import Tensor
from exporter.manifest.schema import Manifest
from exporter.report import wording as say
from exporter.report.tables import Column, Table
from exporter.report.tables import table as as_table
from validate.inputs import Range

_DRAWN = {"profiles", "peaks", "controls", "localized"}
"""The facts that have a drawing or a table of their own."""


def groups(manifest: Manifest) -> list[tuple[str, list[tuple[str, str]]]]:
    """(title, pairs) of source, recommendations, preprocessing, host, packages and whatever else a run wrote down."""
    source = manifest.source
    parameters = say.NONE if source.parameters is None else grouped(source.parameters)
    environment = {key: value for key, value in manifest.environment.items() if key not in _DRAWN}
    host: Any = environment.pop("host", {})
    host = dict(host) if isinstance(host, dict) else {"host": host}
    packages, noise = host.pop("packages", {}), environment.pop("noise", {})
    sections: list[tuple[str, Any]] = [
        (
            "Source",
            {
                "path": source.path,
                "kind": source.kind,
                "SHA-256": source.sha256,
                "parameters": parameters,
                "content digest": manifest.content_digest,
                "made": manifest.created,
                "tool": f"{manifest.tool.name} {manifest.tool.version}",
            },
        ),
        ("Opened with", source.opening),
        ("Recommended", {key: value for key, value in manifest.recommended.items() if key != "misses"}),
        ("Preprocessing", input_values(manifest)),
        ("Host", host),
        ("Packages", packages),
        ("Noise while timing", noise),
        ("Environment", environment),
    ]
    pairs = [(title, [(say.clean(key), _text(value)) for key, value in flat(value, "")]) for title, value in sections]
    return [(title, rows) for title, rows in pairs if rows]


def input_values(manifest: Manifest) -> dict[str, Any]:
    """By input, `0 to 16 (the model's Rescaling layer)`, or `0 to 1, assumed (...)`; where a manifest does not say what
    its values lie between, what else it says."""
    spans: Mapping[str, Mapping[str, Any]] = manifest.preprocessing or {}
    return {
        name: str(Range.from_json({"source": "", **span})) if {"low", "high"} <= set(span) else span
        for name, span in spans.items()
    }


def table(manifest: Manifest) -> Table:
    """The same as one table of pairs."""
    rows = [
        [key if title in {"Source", "Environment"} else f"{title.lower()} {key}", value]
        for title, pairs in groups(manifest)
        for key, value in pairs
    ]
    return as_table("Source and environment", (Column("What"), Column("Value")), rows)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return say.figure(value)
    return say.clean(value if isinstance(value, str) else json.dumps(value))


def key_facts(manifest: Manifest) -> list[tuple[str, str]]:
    """The facts that come before the figures: the model's size and signature, and what it was held against."""
    facts = [
        (f"{role} {tensor.name}", f"{shape(tensor)} {tensor.dtype}")
        for role, tensors in (("Input", manifest.signature.inputs), ("Output", manifest.signature.outputs))
        for tensor in tensors[:2]
    ]
    if manifest.source.parameters is not None:
        facts.insert(0, ("Parameters", grouped(manifest.source.parameters)))
    samples = next((row.samples for row in manifest.first_verdicts), None)
    if samples is not None:
        facts.append(("Judged on", say.count(samples, "drawn sample" if drawn(manifest) else "sample")))
    host = manifest.environment.get("host", {})
    if cpu := host.get("cpu"):
        facts.append(("Host", f"{cpu}, {say.count(host.get('cores', 1), 'core')}"))
    facts.append(("Made", manifest.created[:10]))
    return [(say.clean(what), say.clean(figure)) for what, figure in facts]


def drawn(manifest: Manifest) -> bool:
    """Whether artifacts were judged on inputs drawn at random, not on the user's."""
    return any("drawn" in verdict.suites for verdict in manifest.first_verdicts)


def grouped(number: int) -> str:
    """`22 364 081`."""
    return f"{number:,}".replace(",", " ")


def shape(tensor: Tensor) -> str:
    return "[" + ", ".join(str(d) for d in tensor.shape) + "]"


def command(manifest: Manifest) -> str:
    """The shell command that makes the bundle again; empty where the manifest does not say."""
    return say.clean(shlex.join(manifest.tool.command))


def flat(value: Any, prefix: str) -> list[tuple[str, Any]]:
    """Nested mappings as pairs, the keys on the way as words."""
    if isinstance(value, dict):
        return [pair for key, child in value.items() for pair in flat(child, f"{prefix} {key}".strip())]
    if isinstance(value, list) and all(isinstance(child, str | int | float) for child in value):
        value = ", ".join(str(child) for child in value)
    if prefix.endswith("_bytes") and isinstance(value, int):
        prefix, value = prefix.removesuffix("_bytes"), say.size(value)
    return [] if value in (None, "") else [(prefix.replace("_", " "), value)]
