"""A traced function in which TensorFlow fuses no bias into a grouped convolution.

TensorFlow's graph optimizer makes one operation of a convolution and the bias behind it, and without oneDNN (which it
takes on processors with VNNI alone) that operation refuses groups: such a SavedModel would run on no other processor.
It does not fuse a plain addition, which is the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def unfused(concrete: Any) -> Any:
    """The concrete function itself, or its twin in which the biases of grouped convolutions are plain additions."""
    biases = set(_grouped_biases(concrete.graph))
    return _with_additions(concrete, biases) if biases else concrete


def _grouped_biases(graph: Any) -> Iterator[str]:
    """The names of additions of a bias, in channels-last, right behind a grouped convolution."""
    for operation in graph.get_operations():
        if operation.type != "BiasAdd" or operation.get_attr("data_format") != b"NHWC":
            continue
        source = operation.inputs[0].op
        if source.type == "Squeeze":  # a convolution in one dimension
            source = source.inputs[0].op
        if source.type == "Conv2D" and source.inputs[0].shape[-1] != source.inputs[1].shape[-2]:
            yield operation.name


def _with_additions(concrete: Any, biases: set[str]) -> Any:
    import tensorflow as tf

    definition = concrete.graph.as_graph_def()
    inner = [internal for _, internal in concrete.graph.captures]
    given = [tensor for tensor in concrete.inputs if not any(tensor is captured for captured in inner)]
    fed = {tensor.op.name for tensor in concrete.inputs}
    nodes = [node for node in definition.node if node.name not in fed]
    for node in nodes:
        if node.name in biases:
            node.op = "AddV2"
            node.attr.pop("data_format", None)
    body = tf.compat.v1.GraphDef(node=nodes, library=definition.library, versions=definition.versions)
    outputs = concrete.structured_outputs

    def serve(*tensors: Any) -> dict[str, Any]:
        graph = tf.compat.v1.get_default_graph()
        outer = [graph.capture(external) for external, _ in concrete.graph.captures]
        values = dict(zip((tensor.name for tensor in (*given, *inner)), (*tensors, *outer), strict=True))
        names = [outputs[key].name for key in outputs]
        found = tf.graph_util.import_graph_def(body, input_map=values, return_elements=names, name="")
        return dict(zip(outputs, found, strict=True))

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.op.name) for tensor in given]
    return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()
