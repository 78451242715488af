"""The published JSON Schema, read strictly: what it does not describe is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

import exporter

PUBLISHED = Path(exporter.__file__).parent / "manifest" / "manifest.schema.json"

FREE = {"in_model", "facts", "error"}
"""Fields whose keys are for others to name: what a layer scales by, what a worker found out, an error's document."""


def undescribed(document: Any) -> list[str]:
    """What in a manifest the published schema does not describe, or describes otherwise."""
    validator = jsonschema.Draft202012Validator(_closed(json.loads(PUBLISHED.read_text())))
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


def free_fields() -> set[str]:
    """The fields of which the schema says only that they are objects."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            for name, schema in node.get("properties", {}).items():
                found.update({name} if any(map(_free, (schema, *schema.get("anyOf", ())))) else ())
            for child in node.values():
                visit(child)
        if isinstance(node, list):
            for child in node:
                visit(child)

    visit(json.loads(PUBLISHED.read_text()))
    return found


def _free(schema: dict[str, Any]) -> bool:
    says_nothing = not schema.keys() & {"type", "$ref", "anyOf", "enum", "const"}
    return says_nothing or (schema.get("type") == "object" and schema.get("additionalProperties") is True)


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(child) for child in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(child) for key, child in node.items()}
    return closed | {"additionalProperties": False} if "properties" in node and node.get("type") == "object" else closed
