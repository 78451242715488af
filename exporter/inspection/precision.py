"""The precision that a Keras model computes in, read from its config and weights; of artifacts a reader tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from converters.readers.facts import WeightFact
from converters.readers.precision import by_elements
from exporter.inspection.configs import objects_in


def of_keras(config: dict[str, Any], weights: Iterable[WeightFact]) -> str:
    """The dtype policy where it mixes or quantizes, else the dtype of most weights."""
    policies = _policies(config)
    for policy in sorted(policies):
        if policy.startswith("mixed_"):
            return policy
        if "_from_" in policy:  # a quantized policy, for example int8_from_float32
            return policy.split("_from_")[0]
    return by_elements(weights)


def _policies(config: dict[str, Any]) -> set[str]:
    """The dtype policies of all layers: `float32`, `mixed_float16`, `int8_from_float32`."""
    return {policy for item in objects_in(config) if (policy := policy_name(item.get("dtype"))) and item.get("name")}


def policy_name(dtype: Any) -> str:
    """The name in a layer's `dtype` setting: text, or a serialized dtype policy; empty where it is neither."""
    if isinstance(dtype, str):
        return dtype
    settings = dtype.get("config") if isinstance(dtype, dict) else None
    if not isinstance(settings, dict):
        return ""
    if "mode" in settings:
        return f"{settings['mode']}_from_{settings.get('source_name')}"
    name = settings.get("name")
    return name if isinstance(name, str) else ""
