"""A traced function with other operations in its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.compat.tensorflow import FUNCTION_BODY
from converters.formats import Format
from converters.rewrites.definition import with_definition
from converters.rewrites.row import Rewrite
from converters.rewrites.table import REWRITES

_BY_OPERATION: dict[str, tuple[Rewrite, ...]] = {
    name: tuple(row for row in REWRITES if row.operation == name) for name in {row.operation for row in REWRITES}
}
_CALLS = {
    *("While", "If", "Case", "StatelessWhile", "StatelessIf", "StatelessCase"),
    *("PartitionedCall", "StatefulPartitionedCall"),
}
_SCOPE = "composed"  # an inlined name begins with the call's, and so may others of the graph: a crash of TensorFlow's
_RESULT = "output"  # what a call's tensors are named by within a function

_Matches = Mapping[str, tuple[Any, Rewrite]]
"""By name, the operations of one graph that a format lacks, each with its row."""


def composed(concrete: Any, fmt: Format) -> Any:
    """The concrete function with all that the format lacks composed of what it has; itself where it lacks nothing.

    Each such operation becomes the call of a function, also within loops and branches. The call has its name, and
    TensorFlow inlines it later, so everything around it stays as it is.
    """
    graph = concrete.graph
    found = _matches(graph, fmt)
    in_functions = _matches_in_functions(graph, fmt)
    if not found and not in_functions:
        return concrete
    definition = graph.as_graph_def()
    called = definition.library.function
    for function in [f for f in called if f.signature.name in in_functions]:
        matches = in_functions[function.signature.name]
        called.extend(_swapped(function.node_def, matches))
        _settle_references(function, matches)
    called.extend(_swapped(definition.node, found))
    return with_definition(concrete, definition)


def _matches(graph: Any, fmt: Format) -> _Matches:
    found = {}
    for operation in graph.get_operations():
        rows = (r for r in _BY_OPERATION.get(operation.type, ()) if fmt in r.lacking and r.applies(operation))
        row = next(rows, None)
        if row is not None:
            found[operation.name] = (operation, row)
    return found


def _matches_in_functions(graph: Any, fmt: Format) -> dict[str, _Matches]:
    """The same for each function that the graph calls, where there are any."""
    calls = any(operation.type in _CALLS for operation in graph.get_operations())
    if not calls or not FUNCTION_BODY.usable():
        return {}
    matches = {
        function.signature.name: _matches(FUNCTION_BODY.get()(function), fmt)
        for function in graph.as_graph_def().library.function
        if any(node.op in _BY_OPERATION for node in function.node_def)
    }
    return {name: found for name, found in matches.items() if found}


def _swapped(nodes: Any, matches: _Matches) -> list[Any]:
    """Makes calls of the nodes that match; returns the functions that they call."""
    functions = []
    taken = {node.name: [i for i in node.input if not i.startswith("^")] for node in nodes} if matches else {}
    for node in (node for node in nodes if node.name in matches):
        operation, row = matches[node.name]
        sources = row.takes(operation)
        inputs = [tensor for source in sources for tensor in source.inputs]
        function = _function(operation, row, inputs)
        functions.append(function)
        node.op = "PartitionedCall"
        node.attr.clear()
        node.attr["f"].func.name = function.signature.name
        node.attr["Tin"].list.type.extend(t.dtype.as_datatype_enum for t in inputs)
        node.attr["Tout"].list.type.extend(t.dtype.as_datatype_enum for t in operation.outputs)
        control = [i for i in node.input if i.startswith("^")]
        node.input[:] = [*(reference for source in sources for reference in taken[source.name]), *control]
    return functions


def _function(operation: Any, row: Rewrite, inputs: Sequence[Any]) -> Any:
    """The row's composition for one operation, as a FunctionDef."""
    import tensorflow as tf

    def compose(*tensors: Any) -> Any:
        with tf.name_scope(_SCOPE):
            output = row.compose(operation, tensors)
        output.set_shape(operation.outputs[0].shape)
        return output

    specs = [tf.TensorSpec(t.shape, t.dtype) for t in inputs]
    traced = tf.function(compose, input_signature=specs, autograph=False).get_concrete_function()
    function = type(traced.function_def)()
    function.CopyFrom(traced.function_def)
    return function


def _settle_references(function: Any, matches: _Matches) -> None:
    """Within a function a tensor is named by what its operation calls it: `name:y:0` of a call is `name:output:0`."""

    def settled(reference: str) -> str:
        name, _, rest = reference.partition(":")
        return f"{name}:{_RESULT}:0" if rest and name in matches else reference

    for node in function.node_def:
        node.input[:] = [settled(reference) for reference in node.input]
    for key, reference in function.ret.items():
        function.ret[key] = settled(reference)
