"""The variables that a traced function's outputs depend on, and the same graph with them as inputs or constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.arrays import Array
from converters.compat.tensorflow import READ_VALUE, view_of

ASSIGNMENTS = {
    "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "RngReadAndSkip", "StatefulUniform",
    "ResourceScatterUpdate", "ResourceScatterAdd", "ResourceScatterNdUpdate", "ResourceScatterNdAdd",
    "ResourceStridedSliceAssign",
}  # fmt: skip


@dataclass(frozen=True)
class WeightlessGraph:
    """A GraphDef whose large weights are placeholders.

    Attributes:
        definition: the GraphDef after TensorFlow's own folding; vectors and scalars are constants in it, so that batch
            norms are folded.
        inputs: tensor names of the model's inputs, in signature order.
        outputs: tensor names of the model's outputs, in signature order.
        weights: what stands behind each placeholder.
    """

    definition: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: dict[str, Array]


def reached_variables(concrete: Any) -> dict[str, Any]:
    """The variables that the outputs depend on, by the name of the placeholder that captures them.

    What an output only waits for, such as a seed that is drawn and thrown away, is not among them.
    """
    needed = _needed(concrete.graph.as_graph_def(), [t.op.name for t in concrete.outputs])
    return {name: variable for name, variable in captured_variables(concrete).items() if name in needed}


def captured_variables(concrete: Any) -> dict[str, Any]:
    """Every variable that the function captures, by the name of its placeholder in the graph."""
    by_handle = {id(v.handle): v for v in concrete.graph.variables}
    return {inner.op.name: by_handle[id(outer)] for outer, inner in concrete.graph.captures if id(outer) in by_handle}


def _kept_tensors(concrete: Any) -> dict[str, Array]:
    """The tensors that layers keep beside variables, by their placeholder: TensorFlow captures all but small ones."""
    handles = {id(v.handle) for v in concrete.graph.variables}
    return {
        inner.op.name: outer.numpy()
        for outer, inner in concrete.graph.captures
        if id(outer) not in handles and outer.dtype.is_numpy_compatible and hasattr(outer, "numpy")
    }


def assigned_variables(concrete: Any) -> dict[str, Any]:
    """The captured variables that the function may assign to, by the name of their placeholder.

    A loop or a call that assigns to one counts for all that it is handed.
    """
    definition = concrete.graph.as_graph_def()
    writers = set[str]()
    functions = list(definition.library.function)
    for _ in functions:  # as deep as calls can be nested
        writers |= {f.signature.name for f in functions if any(_writes(node, writers) for node in f.node_def)}
    handed = {_producer(i) for node in definition.node if _writes(node, writers) for i in node.input}
    return {name: variable for name, variable in captured_variables(concrete).items() if name in handed}


def _writes(node: Any, writers: set[str]) -> bool:
    called = {value.func.name for value in node.attr.values() if value.HasField("func")}
    return node.op in ASSIGNMENTS or bool(called & writers)


def value_of(variable: Any) -> Array:
    """A variable's value; float32 as a view of its memory, which must not be assigned to meanwhile."""
    import numpy as np
    import tensorflow as tf

    if variable.dtype != tf.float32 or not READ_VALUE.usable():
        return np.asarray(variable.numpy())
    return np.asarray(view_of(variable))


def weightless(concrete: Any, output_names: Sequence[str]) -> WeightlessGraph | None:
    """The function's graph without its large weights; None without variables, or where a use cannot be rewritten.

    A variable of rank 2 and more becomes a placeholder; smaller ones become constants, and so do tensors that a layer
    keeps. The converter that follows then handles a graph of some hundred kilobytes instead of deep-copying every
    weight (design: Measured, to build on).
    """
    from tensorflow.core.framework import graph_pb2

    variables = reached_variables(concrete)
    if not variables:
        return None
    source = concrete.graph.as_graph_def()
    needed = _needed(source, [t.op.name for t in concrete.outputs])
    definition = graph_pb2.GraphDef(versions=source.versions, library=source.library)
    weights: dict[str, Array] = {}
    reads = {n.name: _producer(n.input[0]) for n in source.node if n.op == "ReadVariableOp" and n.name in needed}
    kept = _kept_tensors(concrete)
    for node in source.node:
        if node.name in variables:
            _add_weight(definition, node.name, value_of(variables[node.name]), weights)
        elif node.name in kept and node.name in needed:
            _add_constant(definition, node.name, kept[node.name])
        elif node.name in needed and node.name not in reads:
            rewritten = _without_resources(node, reads, set(variables))
            if rewritten is None:
                return None
            definition.node.extend(rewritten)
    captured = {inner.op.name for _, inner in concrete.graph.captures}
    data_inputs = tuple(t.name for t in concrete.inputs if t.op.name not in captured)
    _keep_inputs(source, definition, data_inputs)
    outputs = tuple(t.name for t in ordered_outputs(concrete, output_names))
    lean = optimized(definition, [*data_inputs, *(f"{name}:0" for name in weights)], outputs)
    return WeightlessGraph(lean, data_inputs, outputs, weights)


def optimized(definition: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """The GraphDef with constants folded and functions inlined, as tf2onnx has TensorFlow do it; no input is lost."""
    import tensorflow as tf
    from tf2onnx import tf_loader

    with tf.Graph().as_default():
        lean = tf_loader.tf_optimize(list(inputs), list(outputs), definition)
    _keep_inputs(definition, lean, inputs)
    return lean


def _producer(reference: str) -> str:
    return reference.lstrip("^").split(":")[0]


def _needed(source: Any, outputs: Iterable[str]) -> set[str]:
    producers = {node.name: node for node in source.node}
    pending, visited = list(outputs), set[str]()
    while pending:
        name = pending.pop()
        if name not in visited:
            visited.add(name)
            pending.extend(_producer(i) for i in producers[name].input if not i.startswith("^"))
    return visited


def _keep_inputs(source: Any, definition: Any, names: Iterable[str]) -> None:
    """Puts back inputs that no output depends on: they still belong to the signature."""
    present = {node.name for node in definition.node}
    missing = {_producer(name) for name in names} - present
    definition.node.extend(node for node in source.node if node.name in missing)


def ordered_outputs(concrete: Any, names: Sequence[str]) -> list[Any]:
    """The function's output tensors in the order of `names`; TensorFlow itself sorts them by name."""
    import tensorflow as tf

    by_name = dict(zip(tf.nest.flatten({name: name for name in names}), concrete.outputs, strict=True))
    return [by_name[name] for name in names]


def _add_weight(definition: Any, name: str, value: Array, weights: dict[str, Array]) -> None:
    import tensorflow as tf

    if value.ndim <= 1:
        _add_constant(definition, name, value)
        return
    node = definition.node.add(op="Placeholder", name=name)
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    node.attr["dtype"].type = tf.dtypes.as_dtype(value.dtype).as_datatype_enum
    weights[name] = value


def _add_constant(definition: Any, name: str, value: Array) -> None:
    import tensorflow as tf

    node = definition.node.add(op="Const", name=name)
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    node.attr["dtype"].type = tf.dtypes.as_dtype(value.dtype).as_datatype_enum


def _without_resources(node: Any, reads: Mapping[str, str], variables: set[str]) -> list[Any] | None:
    """The node taking weights themselves instead of their reads; None when it takes a variable in another way."""
    from tensorflow.core.framework import node_def_pb2

    data = [i for i in node.input if not i.startswith("^")]
    if not any(i in variables for i in data):
        same = node_def_pb2.NodeDef()
        same.CopyFrom(node)
        del same.input[:]
        same.input.extend(reads.get(_producer(i), i) for i in data)
        return [same]
    if node.op == "ResourceGather" and not node.attr["batch_dims"].i:
        return _gather(node, data)
    return None


def _gather(node: Any, data: list[str]) -> list[Any]:
    import tensorflow as tf
    from tensorflow.core.framework import node_def_pb2

    axis = node_def_pb2.NodeDef(name=f"{node.name}/axis", op="Const")
    axis.attr["dtype"].type = tf.int32.as_datatype_enum
    axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0, tf.int32))
    gather = node_def_pb2.NodeDef(name=node.name, op="GatherV2", input=[*data, axis.name])
    gather.attr["Tparams"].type = node.attr["dtype"].type
    gather.attr["Tindices"].type = node.attr["Tindices"].type
    gather.attr["Taxis"].type = tf.int32.as_datatype_enum
    return [axis, gather]
