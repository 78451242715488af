"""Rows as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

SPARSE = {"sparse": True}
"""Metadata of a field that is written only where it says something."""


def written(value: Any) -> Any:
    """A row, or what is in one, as JSON: fields by name, an infinite number as null.

    A row that was read from a document may hold more than its fields, which is kept. It is a function and no method: a
    field of a document that is called like a method would stand before it.
    """
    if is_dataclass(value) and not isinstance(value, type):
        sparse = {field.name for field in fields(value) if field.metadata.get("sparse")}
        return {name: written(child) for name, child in vars(value).items() if child or name not in sparse}
    if isinstance(value, Mapping):
        return {key: written(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [written(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
