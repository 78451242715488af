"""Reading a `manifest.json` that anyone may have written, capped in size and depth; and the schema of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporter.manifest.rows import Sha256
from exporter.manifest.schema import SCHEMA, Manifest, damaged, document_digest, validated
from exporter.manifest.version_1 import SCHEMA_1, completed, upgraded

MAX_BYTES = 64 << 20
MAX_DEPTH = 64


def load(path: Path) -> Manifest:
    """Reads a manifest that anyone may have written.

    Raises:
        IntegrityError: it cannot be read, is too large or too deep, is not a manifest of a known version, or does not
            match its own digest.
    """
    manifest, claimed, actual = read_unchecked(path)
    if claimed != actual:
        raise damaged(path, "does not match its own digest: it was edited or damaged")
    return manifest


def read_unchecked(path: Path) -> tuple[Manifest, Sha256 | None, Sha256]:
    """The manifest, the digest that it claims and the digest that it has. Raises IntegrityError like `load`."""
    try:
        if not path.is_file() or path.is_symlink():
            raise damaged(path, "is not a regular file")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as cause:
        raise damaged(path, f"cannot be read ({cause.strerror})") from cause
    if len(data) > MAX_BYTES:
        raise damaged(path, f"is larger than {MAX_BYTES >> 20} MiB")
    document = _parse(data, path)
    schema = document.get("schema")
    if schema not in (SCHEMA, SCHEMA_1):
        raise damaged(path, f"has schema {str(schema)[:60]!r}, and this edgeport reads {SCHEMA}")
    try:
        manifest = validated(data, path) if schema == SCHEMA else _older(document, path)
        return manifest, document.get("digest"), document_digest(document)
    except ValueError as cause:  # 1e999, or a lone surrogate
        raise damaged(path, "has no canonical form (a number or a text that JSON cannot hold)") from cause


def _older(document: dict[str, Any], path: Path) -> Manifest:
    try:
        newer = json.dumps(upgraded(document), ensure_ascii=False, allow_nan=False)
    except (AttributeError, KeyError, TypeError, IndexError) as cause:
        raise damaged(path, "is not as the first version of edgeport wrote it") from cause
    return completed(validated(newer, path))


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecursionError as cause:
        raise damaged(path, f"is nested deeper than {MAX_DEPTH} levels") from cause
    except ValueError as cause:
        raise damaged(path, f"is not valid JSON ({str(cause)[:120]})") from cause
    if not isinstance(document, dict):
        raise damaged(path, "is not a JSON object")
    if _deeper_than(document, MAX_DEPTH):
        raise damaged(path, f"is nested deeper than {MAX_DEPTH} levels")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _deeper_than(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True


def json_schema() -> dict[str, Any]:
    """The JSON Schema that `exporter/manifest/manifest.schema.json` publishes."""
    schema = Manifest.model_json_schema(by_alias=True, mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:edgeport:manifest:2",
        **schema,
        "properties": schema["properties"] | {"schema": {"const": SCHEMA, "title": "Schema", "type": "string"}},
        "title": "edgeport manifest",
    }
