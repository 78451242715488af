"""tf2onnx's graph passes, walked so that their cost grows with the graph: tf2onnx's own walk grows with its square."""

from __future__ import annotations

import functools
from typing import Any

_PASSES = ("fold_constants", "loop_optimizer", "global_pool_optimizer", "remove_identity", "remove_back_to_back")
"""Of tf2onnx's twelve passes those that a float graph gains by after the transposes. `global_pool_optimizer` may cost a
node, but GlobalAveragePool has an integer kernel and ReduceMean none. What `merge_duplication` keeps depends on the
process."""


def optimized(graph: Any) -> Any:
    """The tf2onnx graph after its passes, applied until none changes it; nodes in topological order.

    tf2onnx's own `optimize_graph` also counts, copies and serialises the graph around every pass.
    """
    from tf2onnx import optimizer

    factories = [_sweeping_transposes(), *(optimizer._get_optimizers()[name] for name in _PASSES)]
    changed = True
    while changed:
        changed = False
        for factory in factories:
            step = factory()
            graph = step._optimize(graph)
            changed = changed or step.graph_been_opt
        graph.delete_unused_nodes(graph.outputs)
    graph.topological_sort(graph.get_nodes())
    return graph


@functools.cache
def _sweeping_transposes() -> type[Any]:
    """A tf2onnx optimizer class with the rules of `optimize_transpose` and a walk of its own.

    tf2onnx goes back to the first node of the graph whenever one transpose has moved past one operation. Here each
    transpose is pushed as far as it goes before the next one's turn, and sweeps over those that are left follow until
    none moves: the same end, in a tenth of the steps on SE-Inception v3.
    """
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer, is_useless_transpose

    class Sweeping(TransposeOptimizer):  # type: ignore[misc,unused-ignore]
        def _optimize_at_current_graph_level(self, graph: Any) -> Any:
            self._g = graph
            self.pre_optimize_action()
            while self._sweep(graph):
                pass
            self.merge_duplicated_transposes()
            self.post_optimize_action()
            return graph

        def _sweep(self, graph: Any) -> bool:
            """Pushes every transpose on; tells whether any moved."""
            moved = False
            for node in [n for n in graph.get_nodes() if n.type == "Transpose" and n.get_attr("perm")]:
                while graph.get_node_by_name(node.name) is node:
                    if is_useless_transpose(node):
                        self._remove_useless_tranpose(node)
                    elif not self._handle_nhwc_tranpose(node):
                        break
                    else:
                        self.graph_been_opt = True
                    moved = True
            return moved

    return Sweeping
