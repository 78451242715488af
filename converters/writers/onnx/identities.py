"""Identity matrices that ONNX Runtime has not, mended in the converted graph: apart from the rules for tf2onnx."""

from __future__ import annotations

from typing import Any


def settle_identities(graph: Any) -> None:
    """Makes each EyeLike of a type that ONNX Runtime does not run (1.31 and before) one of int32, and casts it.

    Keras asks for one of truths where it takes a diagonal (`ops.trace`). Those of float32, float64, int32, int64 and
    uint64 run; ones and zeros are the same in all types.
    """
    from onnx import TensorProto, helper

    runs = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT64}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                settle_identities(attribute.g)
            if node.op_type == "EyeLike" and attribute.name == "dtype" and attribute.i not in runs:
                wanted, output = attribute.i, node.output[0]
                attribute.i, node.output[0] = TensorProto.INT32, f"{output}/int32"
                nodes.append(helper.make_node("Cast", [node.output[0]], [output], f"{node.name}/cast", to=wanted))
    del graph.node[:]
    graph.node.extend(nodes)
