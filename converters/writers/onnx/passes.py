"""tf2onnx's graph passes, walked so that their cost grows with the graph: tf2onnx's own walk grows with its square."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from converters.compat.tf2onnx import OPTIMIZERS, PASSES, TransposeRules, applied, walking_transposes


def optimized(graph: Any) -> Any:
    """The tf2onnx graph after its passes, applied until none changes it; nodes in topological order.

    tf2onnx's own `optimize_graph` also counts, copies and serialises the graph around every pass; it is what is left
    where tf2onnx's passes are not as edgeport knows them.
    """
    if not OPTIMIZERS.usable():
        from tf2onnx import optimizer

        return optimizer.optimize_graph(graph)
    factories = [_sweeping_transposes(), *(getattr(OPTIMIZERS.get(), name) for name in PASSES)]
    _clean(graph)
    bodies = list(_with_bodies(graph))[1:]
    changed = True
    while changed:
        changed = False
        for factory in factories:
            _find_readers(bodies)
            step = factory()
            graph = applied(step, graph)
            changed = changed or step.graph_been_opt
        graph.delete_unused_nodes(graph.outputs)
    graph.topological_sort(graph.get_nodes())
    return graph


def _clean(graph: Any) -> None:
    """Deletes what nothing needs of a graph with loops or branches; the order of nodes stays.

    What tf2onnx leaves around a loop hides from its passes who reads a value, and they take away what a body reads.
    """
    graphs = list(_with_bodies(graph))
    if len(graphs) > 1:
        places = {id(node): k for inner in graphs for k, node in enumerate(inner.get_nodes())}
        graph.delete_unused_nodes(graph.outputs)
        for inner in _with_bodies(graph):
            inner.reset_nodes(sorted(inner.get_nodes(), key=lambda node: places[id(node)]))


def _find_readers(bodies: Sequence[Any]) -> None:
    """Has each body of a loop or branch say anew what it reads of the graphs around it.

    tf2onnx forgets that a body reads a value as soon as one of its nodes no longer does; a pass that takes the value
    away then leaves the others without it.
    """
    for body in bodies:
        body.reset_nodes(body.get_nodes())


def _with_bodies(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.get_nodes():
        for body in (node.get_body_graphs() or {}).values():
            yield from _with_bodies(body)


@functools.cache
def _sweeping_transposes() -> type[Any]:
    """A tf2onnx optimizer class with the rules of `optimize_transpose` and a walk of its own.

    tf2onnx goes back to the first node of the graph whenever one transpose has moved past one operation. Here each
    transpose is pushed as far as it goes before the next one's turn, and sweeps over those that are left follow until
    none moves: the same end, in a tenth of the steps on SE-Inception v3.
    """

    def walk(rules: TransposeRules, graph: Any) -> None:
        while _sweep(rules, graph):
            pass

    return walking_transposes(walk)


def _sweep(rules: TransposeRules, graph: Any) -> bool:
    """Pushes every transpose on; tells whether any moved."""
    moved = False
    for node in [n for n in graph.get_nodes() if n.type == "Transpose" and n.get_attr("perm")]:
        while graph.get_node_by_name(node.name) is node:
            _keep_from_convolution(graph, node)
            if rules.is_useless(node):
                rules.remove(node)
            elif not rules.push(node):
                break
            moved = True
    return moved


def _keep_from_convolution(graph: Any, transpose: Any) -> None:
    """Puts a constant first that is added behind a convolution's transpose along another axis than the channels.

    tf2onnx takes a second operand of as many numbers for the convolution's bias, whatever axis they lie along.
    """
    convolution, readers = transpose.inputs[0], graph.find_output_consumers(transpose.output[0])
    if convolution.type not in {"Conv", "ConvTranspose"} or len(readers) != 1 or readers[0].type != "Add":
        return
    values = readers[0].inputs[1]
    if values.is_const():
        axes = transpose.get_attr_value("perm")
        shape = [1] * len(axes) + list(values.get_tensor_value(as_list=False).shape)
        if any(size > 1 and axis != 1 for size, axis in zip(shape[-len(axes) :], axes, strict=True)):
            graph.replace_inputs(readers[0], readers[0].input[::-1])
