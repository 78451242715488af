"""The precision that a model computes in, read from the types of its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from converters.formats import Precision
from converters.readers.facts import WeightFact
from converters.readers.onnx_file import OnnxFacts
from converters.readers.tflite_file import TfliteFacts
from exporter.inspection.configs import objects_in

_INDEX_TYPES = frozenset({"int64", "int32", "uint32", "uint64", "bool", "string", "resource", "variant"})
_BYTES = frozenset({"int8", "uint8"})
_WORDS = frozenset({"int16", "uint16"})


class Weight(Protocol):
    """A stored tensor, of any kind of file."""

    @property
    def dtype(self) -> str: ...
    @property
    def elements(self) -> int: ...


def by_elements(weights: Iterable[Weight]) -> str:
    """The dtype that holds most numbers; float32 where there are none but indices and shapes."""
    totals: Counter[str] = Counter()
    for weight in weights:
        if weight.dtype not in _INDEX_TYPES:
            totals[weight.dtype] += weight.elements
    return totals.most_common(1)[0][0] if totals else Precision.FLOAT32.value


def of_tflite(facts: TfliteFacts) -> str:
    """By the dtype of most computed tensors, and for float ones by that of the weights."""
    computed = Counter({k: n for k, n in facts.activations.items() if k not in _INDEX_TYPES})
    activations = computed.most_common(1)[0][0] if computed else "float32"
    if activations in _BYTES:
        return Precision.INT8.value
    if activations in _WORDS:
        return Precision.INT16X8.value
    return _weights_only(by_elements(facts.constants))


def of_onnx(facts: OnnxFacts) -> str:
    """Quantized activations by QuantizeLinear's zero points; else the weights' dtype, or operations that quantize."""
    weights = by_elements(facts.initializers)
    if facts.ops.keys() & {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}:
        return Precision.DYNAMIC_INT8.value
    if facts.ops["QuantizeLinear"] or facts.ops["QLinearConv"] or facts.ops["QLinearMatMul"]:
        words = facts.zero_point_dtypes & _WORDS
        return (Precision.INT16X8 if words else Precision.INT8).value
    return _weights_only(weights)


def _weights_only(weights: str) -> str:
    """The name for float activations with weights of that dtype."""
    if weights in _BYTES:
        return Precision.DYNAMIC_INT8.value
    return f"dynamic_{weights}" if weights in {"int4", "uint4", "int2", "uint2"} else weights


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
