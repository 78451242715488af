"""ONNX: move graph outputs back over a final Softmax or Sigmoid, in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validate.runtimes.base import damaged

_PASS = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"}
_KINDS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


def tapped_bytes(path: Path) -> tuple[dict[str, str], bytes]:
    """The kind of each tapped output, by name, and the changed model. Weights in external files stay there.

    Raises:
        RefusedError: the file is not ONNX.
    """
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as cause:
        damaged(path, "an ONNX model", cause)
    opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    producers = {name: node for node in model.graph.node for name in node.output}
    kinds: dict[str, str] = {}
    for output in model.graph.output:
        final = _final_map(output.name, producers)
        if final is not None and _over_last_axis(final, output, opset):
            kinds[output.name] = _KINDS[final.op_type]
            _move(model.graph, output, final)
    return kinds, model.SerializeToString() if kinds else b""


def _final_map(name: str, producers: dict[str, Any]) -> Any:
    node = producers.get(name)
    while node is not None and node.op_type in _PASS:
        node = producers.get(node.input[0])
    return node if node is not None and node.op_type in _KINDS else None


def _over_last_axis(node: Any, output: Any, opset: int) -> bool:
    """Softmax over the last axis, as everywhere else. Before opset 13 it flattened what follows `axis` (default 1)."""
    if node.op_type != "Softmax":
        return True
    rank = len(output.type.tensor_type.shape.dim)
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1 if opset >= 13 else 1)
    return axis in (-1, rank - 1)


def _move(graph: Any, output: Any, final: Any) -> None:
    """Gives the value before `final` out under a name of its own, in the place of `output`."""
    import onnx

    tap = f"edgeport_logits_{output.name}"
    graph.node.append(onnx.helper.make_node("Identity", [final.input[0]], [tap], name=tap))
    output.name = tap
    output.type.tensor_type.elem_type = onnx.TensorProto.UNDEFINED
    output.ClearField("type")
