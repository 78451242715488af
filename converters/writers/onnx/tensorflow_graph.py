"""A TensorFlow graph -> an ONNX model: tf2onnx's rules, without the steps that this graph does not need."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from converters.compat.patch import is_our_mistake, misused
from converters.compat.tf2onnx import MADE_FOR, RESOLVE_FUNCTIONS, RUN_REWRITERS
from converters.errors import UnsupportedError, words_of
from converters.weightless_graph import optimized as inlined
from converters.writers.onnx.branches import with_shapes_of_branches
from converters.writers.onnx.passes import optimized
from converters.writers.onnx.resizing import resized
from converters.writers.onnx.transposed import transposed_convolution

_CONTROL_FLOW = {"Enter", "Merge", "Switch", "While", "StatelessWhile", "If", "StatelessIf"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_XLA_HINTS = {"_XlaMustCompile", "_noinline"}
_OF_CONTROL_FLOW = {
    "rewriter_lstm_tf2", "rewrite_gru_tf2", "rewrite_single_direction_lstm", "rewrite_bi_direction_lstm",
    "rewrite_single_direction_gru", "rewrite_bi_direction_gru", "rewrite_custom_rnn_cell", "rewrite_generic_loop",
    "rewrite_cond",
}  # fmt: skip


def converted(definition: Any, inputs: Sequence[str], outputs: Sequence[str], opset: int) -> Any:
    """The GraphDef as a ModelProto of standard operations, transposes moved together, nodes in topological order.

    Args:
        definition: after `weights.optimized`.
        inputs, outputs: tensor names (`name:0`) in the order that the model shall have.

    Raises:
        UnsupportedError: an operation, or a use of it, that tf2onnx does not know.
        MisfitError: edgeport's own code does not go with this tf2onnx.
    """
    import tensorflow as tf
    from tf2onnx import tfonnx

    definition = with_shapes_of_branches(_with_one_bias(_opened(definition, inputs, outputs)))
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        try:
            with _needed_steps(definition):
                processed = tfonnx.process_tf_graph(
                    graph,
                    opset=opset,
                    input_names=list(inputs),
                    output_names=list(outputs),
                    custom_op_handlers={kind: (rule, []) for kind, rule in _RULES.items()},
                )
            _widen_scalars(processed)
            return optimized(processed).make_model("edgeport")
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, IndexError) as cause:
            if is_our_mistake(cause):
                raise misused(cause, "tf2onnx", MADE_FOR) from cause
            reason = f"{_in_hand(cause)}{type(cause).__name__}: {words_of(cause)}"
            raise UnsupportedError(
                f"tf2onnx cannot convert the model to ONNX ({reason}).",
                next_step="Leave onnx out with -f, or replace the layer that it names.",
                step="convert",
            ) from cause


def _in_hand(cause: BaseException) -> str:
    """The operation that tf2onnx had in hand when it failed, by its path; empty where it had none.

    Most of its rules break over a kernel that a branch or a loop keeps from them, and say so of a `NoneType`.
    """
    found, trace = "", cause.__traceback__
    while trace is not None:
        node: Any = trace.tb_frame.f_locals.get("node")
        if isinstance(getattr(node, "name", None), str) and isinstance(getattr(node, "type", None), str):
            found = f"{node.type} in `{node.name.partition('_tfg_inlined')[0]}`, "
        trace = trace.tb_next
    unknown = "of whose inputs it does not know the shape, " if found and "NoneType" in str(cause) else ""
    return found + unknown


def _opened(definition: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """The GraphDef with functions inlined that are marked for XLA, such as Keras' grouped convolutions of rank 3.

    TensorFlow leaves them shut for a compiler that ONNX does not need.
    """
    if not any(node.op in _CALLS for node in definition.node):
        return definition
    changed = type(definition)()
    changed.CopyFrom(definition)  # it is other formats' too
    for marked in (*changed.node, *changed.library.function):
        for hint in _XLA_HINTS & set(marked.attr):
            del marked.attr[hint]
    return inlined(changed, inputs, outputs)


def _with_one_bias(definition: Any) -> Any:
    """The GraphDef with a plain addition for each bias that is added to a bias.

    Keras adds any vector so, and tf2onnx takes both for the third input of one convolution.
    """
    kinds = {node.name: node.op for node in definition.node}
    second = [
        n.name
        for n in definition.node
        if n.op == "BiasAdd"
        and kinds.get(n.input[0].split(":")[0]) == "BiasAdd"
        and n.attr["data_format"].s in {b"", b"NHWC"}
    ]
    if not second:
        return definition
    changed = type(definition)()
    changed.CopyFrom(definition)  # it is other formats' too
    for node in changed.node:
        if node.name in second:
            node.op = "AddV2"
            del node.attr["data_format"]
    return changed


@contextlib.contextmanager
def _needed_steps(definition: Any) -> Iterator[None]:
    """While open, tf2onnx leaves out what only graphs with functions, loops or branches need.

    It translates the whole graph once more to find functions, and looks for recurrent cells, loops and branches in ten
    passes: a fifth of its time where there are none.
    """
    if definition.library.function or {node.op for node in definition.node} & _CONTROL_FLOW:
        yield
        return

    def rewriting(original: Callable[..., Any]) -> Callable[..., Any]:
        def run_rewriters(graph: Any, rewriters: Sequence[Any], continue_on_error: bool) -> Any:
            return original(graph, [r for r in rewriters if r.__name__ not in _OF_CONTROL_FLOW], continue_on_error)

        return run_rewriters

    def resolving(_original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda graph: []

    with RUN_REWRITERS.replaced(rewriting), RESOLVE_FUNCTIONS.replaced(resolving):
        yield


def _widen_scalars(graph: Any) -> None:
    """Scalars that are added become vectors of one: tf2onnx's transpose pass stumbles over a shape of no length."""
    for node in graph.get_nodes():
        if node.type != "Add":
            continue
        for index, other in ((0, 1), (1, 0)):
            constant = node.inputs[index]
            if constant is None or not constant.is_const() or not graph.get_shape(node.input[other]):
                continue
            value = constant.get_tensor_value(as_list=False)
            if value.ndim == 0:
                value = value.reshape(1)
                graph.replace_input(node, node.input[index], _constant(graph, node.name, value), index)


def _constant(graph: Any, stem: str, value: Any) -> str:
    from tf2onnx import utils

    name: str = graph.make_const(utils.make_name(stem), value).output[0]
    return name


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Erfc(x) = 1 - Erf(x); tf2onnx passes Erfc through unknown. GELU is traced to it."""
    dtype = ctx.get_dtype(node.output[0])
    from tf2onnx import utils

    one = ctx.make_const(utils.make_name(name), np.array(1.0, dtype=utils.map_onnx_to_numpy_type(dtype)))
    shape, source, output = ctx.get_shape(node.output[0]), node.input[0], node.output[0]
    ctx.remove_node(node.name)
    erf = ctx.make_node("Erf", [source], shapes=[shape], dtypes=[dtype])
    ctx.make_node("Sub", [one.output[0], erf.output[0]], outputs=[output], name=name, shapes=[shape], dtypes=[dtype])


def _bias(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """tf2onnx adds only a constant along the second axis. Keras makes such a bias of any vector, whatever gives it."""
    from tf2onnx.onnx_opset.nn import BiasAdd

    values = node.inputs[1]
    if not (node.is_nhwc() or values.is_const()):
        sizes = [-1] + [1] * (ctx.get_rank(node.input[0]) - 2)
        upright = ctx.make_node("Reshape", [node.input[1], _constant(ctx, node.name, np.array(sizes, np.int64))])
        ctx.replace_input(node, node.input[1], upright.output[0], 1)
    BiasAdd.version_7(ctx, node)


_CHOSEN = ("FLOAT", "DOUBLE", "INT32", "INT64")


def _where(ctx: Any, node: Any, name: str, args: Any) -> None:
    """SelectV2 is Where. tf2onnx writes a * c + b * (1 - c), which is NaN where what is not chosen has no number.

    That stays for types for which ONNX Runtime has no Where; none of them knows infinity, but float16.
    """
    from onnx import TensorProto
    from tf2onnx.onnx_opset.controlflow import Select

    if ctx.get_dtype(node.output[0]) in {getattr(TensorProto, kind) for kind in _CHOSEN}:
        node.type = "Where"
    else:
        Select.version_9(ctx, node)


def _grouped_convolution(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """tf2onnx counts the groups of images only."""
    from tf2onnx.onnx_opset.nn import ConvOp

    channels = ctx.get_shape(node.input[0])[1 if node.data_format.startswith("NC") else -1]
    groups = channels // ctx.get_shape(node.input[1])[-2]
    ConvOp.version_13(ctx, node)
    node.set_attr("group", max(1, groups))


def _split(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """With its sizes: ONNX Runtime takes two even splits of one tensor for the same, however many parts they have."""
    from tf2onnx import utils
    from tf2onnx.onnx_opset.tensor import Split

    Split.version_13(ctx, node)
    size, parts = ctx.get_shape(node.input[0])[node.get_attr_int("axis")], len(node.output)
    if size > 0:
        sizes = ctx.make_const(utils.make_name(node.name), np.full(parts, size // parts, np.int64))
        ctx.replace_inputs(node, [node.input[0], sizes.output[0]])
        del node.attr["num_outputs"]


_RULES: dict[str, Callable[[Any, Any, str, Any], None]] = {
    "BiasAdd": _bias,
    "Erfc": _erfc,
    "SelectV2": _where,
    "Split": _split,
    "Conv3D": _grouped_convolution,
    "Conv2DBackpropInput": transposed_convolution,
    "Conv3DBackpropInputV2": transposed_convolution,
    **dict.fromkeys(("ResizeNearestNeighbor", "ResizeBilinear", "ResizeBicubic", "ResizeArea"), resized),
}
"""Of TensorFlow's operations those for which tf2onnx has no rule, or a wrong one."""
