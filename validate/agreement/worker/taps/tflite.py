"""TFLite: move a subgraph's outputs back over a final LOGISTIC or SOFTMAX, by overwriting four bytes each.

The flatbuffer keeps its layout: only the tensor indices in the subgraph's output list and in the signature change, so
that a file of 90 MB is tapped in the time it takes to read it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from converters.readers.tflite_signed import signed
from converters.signature import SIGNATURE_KEY
from validate.compat.litert import field_place, vector_place
from validate.runtimes.base import damaged

# BuiltinOperator in tensorflow/compiler/mlir/lite/schema/schema.fbs
_LOGISTIC, _SOFTMAX, _DEQUANTIZE, _CAST, _QUANTIZE = 14, 25, 6, 53, 114
_KINDS = {_LOGISTIC: "sigmoid", _SOFTMAX: "softmax"}
_PASS = {_DEQUANTIZE, _CAST, _QUANTIZE}
# Offsets of vtable entries: 4 + 2 * the field's place in its table.
_SUBGRAPH_OUTPUTS, _TENSOR_MAP_INDEX = 8, 6


def tapped_bytes(path: Path, key: str | None = None) -> tuple[dict[str, str], bytes]:
    """The kind of each tapped output, by its name in the signature, and the changed file.

    Args:
        key: of a file that has several signatures, which one.

    Raises:
        RefusedError: the file is not a TFLite flatbuffer.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = bytearray(signed(path, key).content or path.read_bytes())
    try:
        model = schema.Model.GetRootAs(data, 0)
        signature = _signature(model)
        kinds = {} if signature is None else _tap(data, model, signature)
    except (struct.error, IndexError, TypeError, ValueError) as cause:
        damaged(path, "a TFLite model", cause)
    return kinds, bytes(data) if kinds else b""


def _signature(model: Any) -> Any:
    definitions = [model.SignatureDefs(k) for k in range(model.SignatureDefsLength())]
    for definition in definitions:
        if definition.SignatureKey() == SIGNATURE_KEY.encode():
            return definition
    return definitions[0] if len(definitions) == 1 else None


def _tap(data: bytearray, model: Any, signature: Any) -> dict[str, str]:
    graph = model.Subgraphs(signature.SubgraphIndex())
    producers = {
        int(operator.Outputs(0)): operator
        for operator in (graph.Operators(k) for k in range(graph.OperatorsLength()))
        if operator.OutputsLength() == 1
    }
    kinds: dict[str, str] = {}
    for k in range(signature.OutputsLength()):
        entry = signature.Outputs(k)
        index = int(entry.TensorIndex())
        final = _final_map(index, producers, model)
        if final is not None and _replace(data, graph, entry, index, final[1]):
            kinds[entry.Name().decode()] = final[0]
    return kinds


def _final_map(index: int, producers: dict[int, Any], model: Any) -> tuple[str, int] | None:
    """The kind of the output's last operation and the tensor before it."""
    operator = producers.get(index)
    while operator is not None and _code(operator, model) in _PASS:
        operator = producers.get(int(operator.Inputs(0)))
    if operator is None:
        return None
    kind = _KINDS.get(_code(operator, model))
    return None if kind is None else (kind, int(operator.Inputs(0)))


def _code(operator: Any, model: Any) -> int:
    code = model.OperatorCodes(operator.OpcodeIndex())
    return max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))  # as the schema says to read the two


def _replace(data: bytearray, graph: Any, entry: Any, old: int, new: int) -> bool:
    start = vector_place(graph, _SUBGRAPH_OUTPUTS)
    map_field = field_place(entry, _TENSOR_MAP_INDEX)
    outputs = {int(graph.Outputs(k)) for k in range(graph.OutputsLength())}
    positions = [k for k in range(graph.OutputsLength()) if int(graph.Outputs(k)) == old]
    if start is None or map_field is None or not positions or new in outputs:
        return False
    for k in positions:
        struct.pack_into("<i", data, start + 4 * k, new)
    struct.pack_into("<I", data, map_field, new)
    return True
