"""Opsets beyond tf2onnx's: the finished graph goes through ONNX's own version converter, without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.errors import UnsupportedError
from converters.weightless_graph import Array
from converters.writers.onnx.file import skeleton

NEWEST = 23
"""The newest opset that ONNX Runtime 1.31 declares finished; what comes after may change under a shipped file."""


def raised(model: Any, constants: Mapping[str, Array], opset: int) -> tuple[Any, dict[str, Array]]:
    """The model (a ModelProto without initializers) and its constants at a higher opset.

    Raises:
        UnsupportedError: the version converter has no rule for an operation of the graph.
    """
    from onnx import helper, numpy_helper, version_converter

    try:
        converted = version_converter.convert_version(skeleton(model, constants), opset)
    except (RuntimeError, ValueError) as cause:
        reason = " ".join(str(cause).split())[:300]
        raise UnsupportedError(
            f"ONNX's version converter cannot raise the model to opset {opset} ({reason}).",
            next_step="Choose a lower --opset; 17 and 18 are written directly.",
            step="convert",
        ) from cause
    graph = converted.graph
    kept = dict(constants) | {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.name not in constants}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:], graph.initializer[:], graph.value_info[:]
    graph.input.extend(inputs)
    converted.ir_version = helper.find_min_ir_version_for(list(converted.opset_import))
    used = {name for node in graph.node for name in node.input}
    return converted, {name: value for name, value in kept.items() if name in used or name in constants}
