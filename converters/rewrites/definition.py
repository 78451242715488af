"""A concrete function with another graph inside."""

from __future__ import annotations

from typing import Any


def with_definition(concrete: Any, definition: Any) -> Any:
    """The concrete function with this GraphDef as its body: the same inputs, variables and names of outputs."""
    import tensorflow as tf

    inner = [internal for _, internal in concrete.graph.captures]
    inputs = [tensor for tensor in concrete.inputs if not any(tensor is captured for captured in inner)]
    fed = {tensor.op.name for tensor in concrete.inputs}
    nodes = [node for node in definition.node if node.name not in fed]
    body = tf.compat.v1.GraphDef(node=nodes, library=definition.library, versions=definition.versions)
    outputs = concrete.structured_outputs

    def serve(*tensors: Any) -> dict[str, Any]:
        graph = tf.compat.v1.get_default_graph()
        outer = [graph.capture(external) for external, _ in concrete.graph.captures]
        for variable in concrete.graph.variables:
            graph.watch_variable(variable)
        values = dict(zip((tensor.name for tensor in (*inputs, *inner)), (*tensors, *outer), strict=True))
        names = [outputs[key].name for key in outputs]
        results = tf.graph_util.import_graph_def(body, input_map=values, return_elements=names, name="")
        return dict(zip(outputs, results, strict=True))

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.op.name) for tensor in inputs]
    return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()
