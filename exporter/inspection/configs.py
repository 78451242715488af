"""Walking the JSON of a Keras model's configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def objects_in(config: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in it, however deep and in no order worth relying on; no recursion, so depth is no limit."""
    stack = [config]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            yield item
            stack.extend(item.values())
