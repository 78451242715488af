"""A traced function with another graph in place of its own. Apart from the table: writers and openers use it too."""

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
    read = {reference.lstrip("^").split(":")[0] for node in nodes for reference in node.input}
    names = list(concrete.structured_outputs)
    by_name = dict(
        zip(tf.nest.flatten({name: name for name in names}), concrete.outputs, strict=True)
    )  # sorted by name

    def serve(*tensors: Any) -> dict[str, Any]:
        graph = tf.compat.v1.get_default_graph()
        outer = [graph.capture(external) for external, _ in concrete.graph.captures]
        for variable in concrete.graph.variables:
            graph.watch_variable(variable)
        given = dict(zip((tensor.name for tensor in (*inputs, *inner)), (*tensors, *outer), strict=True))
        values = {name: tensor for name, tensor in given.items() if name.split(":")[0] in read}
        returned = [by_name[name].name for name in names if by_name[name].name not in given]
        results = iter(tf.graph_util.import_graph_def(body, input_map=values, return_elements=returned, name=""))
        passed = {name: given.get(by_name[name].name) for name in names}
        return {name: next(results) if value is None else tf.identity(value) for name, value in passed.items()}

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.op.name) for tensor in inputs]
    return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()
