"""The shapes of what branches are handed, written into their functions for tf2onnx and apart from its rules.

tf2onnx counts the condition among a branch's inputs, so that each has the shape of another or, mostly, none at all.
What comes into a branch from outside is a layer's weights too, and no convolution is translated without its kernel's
rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from converters.compat.tensorflow import FUNCTION_BODY

_BRANCHES = {"If": ("then_branch", "else_branch"), "StatelessIf": ("then_branch", "else_branch")}
_BODIES = _BRANCHES | dict.fromkeys(("While", "StatelessWhile"), ("body",))


def with_shapes_of_branches(definition: Any) -> Any:
    """The GraphDef whose branches know the shapes of their inputs, also within loops and one another; itself without
    branches, or where TensorFlow does not open its functions."""
    import tensorflow as tf

    inner = [node for function in definition.library.function for node in function.node_def]
    if not any(node.op in _BRANCHES for node in (*definition.node, *inner)) or not FUNCTION_BODY.usable():
        return definition
    changed = type(definition)()
    changed.CopyFrom(definition)  # it is other formats' too
    functions = {function.signature.name: function for function in changed.library.function}
    known: dict[str, list[Any]] = {}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(changed, name="")
        pending = [graph]
        while pending:
            for name, shapes in _called(pending.pop()):
                if shapes is not None:
                    known[name] = _common(known.get(name, shapes), shapes)
                    _write(functions[name], known[name])
                pending.append(FUNCTION_BODY.get()(functions[name]))
    return changed


def _called(graph: Any) -> Iterator[tuple[str, list[Any] | None]]:
    """The functions that a graph's branches and loops run, with the shapes of a branch's inputs."""
    for operation in graph.get_operations():
        for body in _BODIES.get(operation.type, ()):
            is_branch = operation.type in _BRANCHES
            yield operation.get_attr(body).name, [t.shape for t in operation.inputs[1:]] if is_branch else None


def _common(shapes: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """What holds for both calls of one function."""
    return [one.most_specific_compatible_shape(other) for one, other in zip(shapes, others, strict=True)]


def _write(function: Any, shapes: Sequence[Any]) -> None:
    for k, shape in enumerate(shapes):
        attribute = function.arg_attr[k].attr["_output_shapes"].list
        del attribute.shape[:]
        attribute.shape.append(shape.as_proto())
