"""Walking the JSON of a Keras model's configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def objects_in(config: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in it, at any depth and in no particular order; without recursion, so depth is not limited."""
    stack = [config]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            yield item
            stack.extend(item.values())
