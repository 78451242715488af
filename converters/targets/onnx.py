"""ONNX: the graph is converted without its weights, which are bound and folded afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import StepError, UnsupportedError, UsageError
from converters.signature import Signature
from converters.targets.onnx_file import skeleton, write_model
from converters.targets.onnx_fuse import fuse_affine
from converters.targets.onnx_graph import canonical_model, fold_constants, settle_loops
from converters.targets.onnx_merge import merge_equal
from converters.targets.onnx_opset import NEWEST, raised
from converters.targets.onnx_passes import optimized
from converters.targets.weights import ordered_outputs, reached_variables, weightless
from converters.tracing import Traced

DEFAULT_OPSET = 17
OPSETS = range(13, NEWEST + 1)
"""Below 13 quantization has no per-channel form."""

_WRITTEN = 18  # the highest that tf2onnx 1.17 writes; above it ONNX's version converter goes on

_IR_VERSION = 8  # what ONNX 1.13 to 1.15 write: runtimes of old devices refuse newer files

WEIGHTLESS, FROZEN = "weightless", "frozen"


@dataclass(frozen=True)
class OnnxFile:
    """What was written: the road taken and the opset of the file."""

    road: str
    opset: int


def write_onnx(traced: Traced, path: Path, opset: int | None = None) -> OnnxFile:
    """Writes `path` in float32 as the function computes it.

    Raises:
        UsageError: an opset that cannot be written.
        StepError: an operation that ONNX cannot express (named, with its layer), or a graph that fails the checker.
    """
    opset = opset or DEFAULT_OPSET
    if opset not in OPSETS:
        raise UsageError(f"Opset {opset} cannot be written.", step="convert",
                         next_step=f"Choose one from {OPSETS.start} to {OPSETS.stop - 1} with --opset.")  # fmt: skip
    written = min(opset, _WRITTEN)
    plain = traced.recurrent or not reached_variables(traced.concrete)
    graph = None if plain else weightless(traced.concrete, traced.signature.output_names)
    if graph is not None:
        names = [f"{name}:0" for name in graph.weights]
        inputs, outputs = list(graph.inputs), list(graph.outputs)
        model = _tf2onnx(graph.definition, [*inputs, *names], outputs, written)
        weights = {f"{name}:0": value for name, value in graph.weights.items()}
        road = WEIGHTLESS
    else:
        definition, inputs, outputs = _frozen(traced)
        model = _tf2onnx(definition, inputs, outputs, written)
        weights, road = {}, FROZEN
    constants = fold_constants(model, weights)
    settle_loops(model, constants)
    fuse_affine(model, constants)
    merge_equal(model, constants, outputs)
    signature = traced.signature
    renames = dict(zip([*inputs, *outputs], [*signature.input_names, *signature.output_names], strict=True))
    finished, initializers = canonical_model(model, constants, renames, outputs)
    _declare(finished, signature)
    if opset > written:
        finished, initializers = raised(finished, initializers, opset)
    _check(skeleton(finished, initializers))
    write_model(finished, initializers, path)
    return OnnxFile(road, opset)


def _frozen(traced: Traced) -> tuple[Any, list[str], list[str]]:
    """The plain road: variables become constants in the graph, functions are inlined."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(traced.concrete, lower_control_flow=False, aggressive_inlining=True)
    outputs = ordered_outputs(frozen, traced.signature.output_names)
    inputs = [t.name for t in frozen.inputs if t.dtype.name != "resource"]
    return frozen.graph.as_graph_def(), inputs, [t.name for t in outputs]


def _tf2onnx(definition: Any, inputs: Sequence[str], outputs: Sequence[str], opset: int) -> Any:
    import tensorflow as tf
    from tf2onnx import tf_loader, tfonnx

    with tf.Graph().as_default():
        lean = tf_loader.tf_optimize(list(inputs), list(outputs), definition)
    lean = _with_inputs(lean, definition, inputs)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(lean, name="")
        try:
            converted = tfonnx.process_tf_graph(
                graph, opset=opset, input_names=list(inputs), output_names=list(outputs),
                custom_op_handlers={"Erfc": (_erfc, [])},
            )  # fmt: skip
            _widen_scalars(converted)
            return optimized(converted).make_model("edgeport")
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, IndexError) as cause:
            reason = " ".join(str(cause).split())[:300]
            raise UnsupportedError(
                f"tf2onnx cannot convert the model to ONNX ({type(cause).__name__}: {reason}).",
                next_step="Leave onnx out with -f, or replace the layer that it names.", step="convert",
            ) from cause  # fmt: skip


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


def _with_inputs(lean: Any, definition: Any, inputs: Sequence[str]) -> Any:
    """Grappler may drop an input that nothing uses; the signature keeps it."""
    there = {node.name for node in lean.node}
    wanted = {name.split(":")[0] for name in inputs} - there
    lean.node.extend(node for node in definition.node if node.name in wanted)
    return lean


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Erfc(x) = 1 - Erf(x); tf2onnx passes Erfc through unknown. GELU is traced to it."""
    dtype = ctx.get_dtype(node.output[0])
    from tf2onnx import utils

    one = ctx.make_const(utils.make_name(name), np.array(1.0, dtype=utils.map_onnx_to_numpy_type(dtype)))
    shape, source, output = ctx.get_shape(node.output[0]), node.input[0], node.output[0]
    ctx.remove_node(node.name)
    erf = ctx.make_node("Erf", [source], shapes=[shape], dtypes=[dtype])
    ctx.make_node("Sub", [one.output[0], erf.output[0]], outputs=[output], name=name, shapes=[shape], dtypes=[dtype])


def _declare(model: Any, signature: Signature) -> None:
    """Writes the signature's shapes with their symbolic dimensions into the graph's inputs and outputs."""
    from onnx import helper

    pairs = [(model.graph.input, signature.inputs), (model.graph.output, signature.outputs)]
    for values, specs in pairs:
        del values[:]
        for spec in specs:
            dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
            values.append(helper.make_tensor_value_info(spec.name, dtype, list(spec.shape)))
    model.ir_version = _IR_VERSION


def _check(model: Any) -> None:
    """Only standard ops, a valid graph, shapes that can be inferred strictly."""
    import onnx
    from onnx import checker, shape_inference

    foreign = sorted({f"{n.domain or 'ai.onnx'}::{n.op_type}" for n in model.graph.node if not _is_standard(n, model)})
    if foreign:
        raise UnsupportedError(f"The model needs operations that ONNX does not have: {', '.join(foreign)}.",
                        next_step="Leave onnx out with -f, or replace the layer that uses them.",
                        step="convert")  # fmt: skip
    try:
        checker.check_model(model, full_check=True)
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (checker.ValidationError, shape_inference.InferenceError, onnx.checker.ValidationError) as cause:
        raise StepError(f"The ONNX graph that was made is not valid ({str(cause).splitlines()[0]}).",
                        next_step="Report this model's architecture; leave onnx out with -f meanwhile.",
                        step="convert") from cause  # fmt: skip


def _is_standard(node: Any, model: Any) -> bool:
    from onnx import defs

    version = {o.domain: o.version for o in model.opset_import}.get(node.domain, 1)
    return node.domain in {"", "ai.onnx"} and defs.has(node.op_type, max_inclusive_version=version)
