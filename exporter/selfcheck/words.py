"""What a device feeds and what it gets, in words for the README: from the manifest's contract where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    limits = row.get("range") or ((judged["low"], judged["high"]) if {"low", "high"} <= set(judged) else None)
    if limits:
        parts.insert(0, f"{limits[0]:g} to {limits[1]:g}")
    if row.get("in_model"):
        return ", ".join([*parts, "raw values: the model scales them itself"])
    scaling = {key: row[key] for key in _SCALING if row.get(key) is not None}
    if scaling:
        said = ", ".join(f"{key} {_numbers(value)}" for key, value in scaling.items())
        parts.append(f"(x * scale - mean) / std of raw values x, with {said}")
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
