"""Parts of tf2onnx that are private, or that edgeport replaces while a graph is translated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from converters.compat.patch import Part, Patch

MADE_FOR = "1.17.0"
PASSES = ("ConstFoldOptimizer", "LoopOptimizer", "GlobalPoolOptimizer", "IdentityOptimizer", "BackToBackOptimizer")
"""Of tf2onnx's twelve passes those that a float graph gains by after the transposes. `GlobalPoolOptimizer` may cost a
node, but GlobalAveragePool has an integer kernel and ReduceMean none. What `MergeDuplicatedNodesOptimizer` keeps
depends on the process."""
_SLOWER = "the graph is translated with every step of tf2onnx, which takes longer"

_REWRITING = Part(
    "tf2onnx.tfonnx:process_parsed_graph", "calls its rewriters", MADE_FOR, mentions=("run_rewriters", "rewriters")
)
RUN_REWRITERS = Patch(
    "tf2onnx.tfonnx:run_rewriters",
    "the rewriters that look for loops and branches are left out where there are none",
    MADE_FOR,
    "(g, funcs, continue_on_error)",
    needs=(_REWRITING,),
    otherwise=_SLOWER,
)
_FUNCTIONS = Part(
    "tf2onnx.tfonnx:graphs_from_tf", "asks for the graph's functions", MADE_FOR, mentions=("resolve_functions",)
)
RESOLVE_FUNCTIONS = Patch(
    "tf2onnx.tfonnx:resolve_functions",
    "functions are not looked for where there are none",
    MADE_FOR,
    "(tf_graph)",
    needs=(_FUNCTIONS,),
    otherwise=_SLOWER,
)

_BASE = Part(
    "tf2onnx.optimizer.optimizer_base:GraphOptimizerBase",
    "a pass is applied by `_optimize`, without tf2onnx's statistics and copies",
    MADE_FOR,
    mentions=("_optimize", "_apply_optimization", "graph_been_opt"),
)
_USELESS = Part(
    "tf2onnx.optimizer.transpose_optimizer:is_useless_transpose",
    "tells which transposes do nothing",
    MADE_FOR,
    "(transpose_node)",
)
_TRANSPOSES = "tf2onnx.optimizer.transpose_optimizer:TransposeOptimizer"
_WALK = tuple(
    Part(f"{_TRANSPOSES}.{name}", "a rule of the transpose pass", MADE_FOR, parameters)
    for name, parameters in (
        ("_handle_nhwc_tranpose", "(self, trans)"),  # misspelt by tf2onnx
        ("_remove_useless_tranpose", "(self, trans)"),
        ("pre_optimize_action", "(self)"),
        ("merge_duplicated_transposes", "(self)"),
        ("post_optimize_action", "(self)"),
    )
)
TRANSPOSES = Part(
    f"{_TRANSPOSES}._optimize_at_current_graph_level",
    "transposes are moved by tf2onnx's rules in edgeport's own walk, whose cost grows with the graph",
    MADE_FOR,
    "(self, graph)",
    mentions=("_g", "pre_optimize_action", "merge_duplicated_transposes", "post_optimize_action"),
    needs=(_BASE, _USELESS, *_WALK),
    otherwise="the graph goes through tf2onnx's own optimizer, which takes longer and may leave more nodes",
)
OPTIMIZERS = Part(
    "tf2onnx.optimizer",
    "the passes that a float graph gains by, applied until none changes it",
    MADE_FOR,
    mentions=PASSES,
    needs=(TRANSPOSES,),
    otherwise=TRANSPOSES.otherwise,
)


@dataclass(frozen=True)
class TransposeRules:
    """The rules of tf2onnx's transpose pass, bound to the graph that it works on."""

    optimizer: Any
    is_useless: Callable[[Any], bool]

    def remove(self, node: Any) -> None:
        """Takes a transpose that does nothing out of the graph."""
        self.optimizer._remove_useless_tranpose(node)

    def push(self, node: Any) -> bool:
        """Moves a transpose behind the operation that takes it; tells whether it could be moved."""
        if not self.optimizer._handle_nhwc_tranpose(node):
            return False
        self.optimizer.graph_been_opt = True
        return True


def walking_transposes(walk: Callable[[TransposeRules, Any], None]) -> type[Any]:
    """tf2onnx's transpose pass with another walk through the graph. Only where `TRANSPOSES` fits."""
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer, is_useless_transpose

    class Walking(TransposeOptimizer):  # type: ignore[misc,unused-ignore]
        def _optimize_at_current_graph_level(self, graph: Any) -> Any:
            self._g = graph
            self.pre_optimize_action()
            walk(TransposeRules(self, is_useless_transpose), graph)
            self.merge_duplicated_transposes()
            self.post_optimize_action()
            return graph

    return Walking


def applied(step: Any, graph: Any) -> Any:
    """The graph after one pass, without tf2onnx's statistics around it. Only where `OPTIMIZERS` fits."""
    return step._optimize(graph)
