"""ONNX: the graph is converted without its weights, which are bound and folded afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.compat.tensorflow import frozen
from converters.errors import StepError, UnsupportedError, UsageError, words_of
from converters.signature import Signature
from converters.tracing import Traced
from converters.weightless_graph import optimized, ordered_outputs
from converters.writers.onnx.file import skeleton, write_model
from converters.writers.onnx.fuse import fuse_affine
from converters.writers.onnx.graph import canonical_model, fold_constants, settle_loops, settle_outputs, settle_pads
from converters.writers.onnx.identities import settle_identities
from converters.writers.onnx.merge import merge_equal
from converters.writers.onnx.pools import crop_before_pools, keep_pads
from converters.writers.onnx.tensorflow_graph import converted
from converters.writers.owners import naming_layers, numbers_of, refuse_text, whose

NEWEST = 23
"""The newest opset that ONNX Runtime 1.31 declares finished; what comes after may change under a shipped file."""
DEFAULT_OPSET = 17
OPSETS = range(13, NEWEST + 1)
"""Below 13 quantization has no per-channel form."""

_HIGHEST_WRITTEN = 18  # the highest that tf2onnx 1.17 writes; above it ONNX's version converter goes on

_IR_VERSION = 8  # what ONNX 1.13 to 1.15 write: runtimes of old devices refuse newer files

WEIGHTLESS, FROZEN = "weightless", "frozen"


@dataclass(frozen=True)
class OnnxFile:
    """The written file: the conversion path taken and its opset."""

    conversion_path: str
    opset: int


def write_onnx(traced: Traced, path: Path, opset: int | None = None) -> OnnxFile:
    """Writes `path` in float32 as the function computes it.

    Raises:
        UsageError: an opset that cannot be written.
        StepError: an operation that ONNX cannot express (named, with its layer), or a graph that fails the checker.
    """
    opset = opset or DEFAULT_OPSET
    if opset not in OPSETS:
        raise UsageError(
            f"Opset {opset} cannot be written.",
            step="convert",
            next_step=f"Choose one from {OPSETS.start} to {OPSETS.stop - 1} with --opset.",
        )
    written_opset = min(opset, _HIGHEST_WRITTEN)
    traced.refuse_state("ONNX")
    refuse_text(traced, "ONNX")
    graph = traced.weightless
    if graph is not None:
        names = [f"{name}:0" for name in graph.weights]
        inputs, outputs = list(graph.inputs), list(graph.outputs)
        with naming_layers(traced):
            model = converted(graph.definition, [*inputs, *names], outputs, written_opset)
        weights = {f"{name}:0": value for name, value in graph.weights.items()}
        conversion_path = WEIGHTLESS
    else:
        definition, inputs, outputs = _frozen(traced)
        with naming_layers(traced):
            model = converted(definition, inputs, outputs, written_opset)
        weights, conversion_path = {}, FROZEN
    constants = fold_constants(model, weights)
    settle_outputs(model, constants)
    settle_loops(model, constants)
    settle_pads(model)
    crop_before_pools(model, constants)
    keep_pads(model)
    settle_identities(model.graph)
    fuse_affine(model, constants)
    merge_equal(model, constants, outputs)
    signature = traced.signature
    renames = dict(zip([*inputs, *outputs], [*signature.input_names, *signature.output_names], strict=True))
    finished, initializers = canonical_model(model, constants, renames, outputs)
    _declare(finished, signature)
    if opset > written_opset:
        finished, initializers = raised(finished, initializers, opset)
    _check(skeleton(finished, initializers), traced)
    write_model(finished, initializers, path)
    return OnnxFile(conversion_path, opset)


def _frozen(traced: Traced) -> tuple[Any, list[str], list[str]]:
    """The plain way: variables become constants in the graph, functions are inlined."""
    try:
        constant = frozen(traced.concrete)
    except ValueError as cause:
        state = "AssignVariableOp" in str(cause)
        why = "it keeps a state between calls (a stateful layer)" if state else words_of(cause)
        raise UnsupportedError(
            f"The model's variables cannot become constants of an ONNX file: {why}.",
            next_step="Leave onnx out with -f, or build the layer with stateful=False.",
            step="convert",
        ) from cause
    outputs = ordered_outputs(constant, traced.signature.output_names)
    inputs = [t.name for t in constant.inputs if t.dtype.name != "resource"]
    names = [t.name for t in outputs]
    return optimized(constant.graph.as_graph_def(), inputs, names), inputs, names


def _named(node: Any, traced: Traced) -> str:
    """An operation that is not ONNX's, with its layer: a node has TensorFlow's name of it, and perhaps a number."""
    path = str(node.name).partition("__")[0]
    return f"{node.op_type}{numbers_of(path, traced)}{whose(path, traced)}"


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


def _check(model: Any, traced: Traced) -> None:
    """Only standard ops, a valid graph, shapes that can be inferred strictly."""
    import onnx
    from onnx import checker, shape_inference

    foreign = sorted({_named(node, traced) for node in model.graph.node if not _is_standard(node, model)})
    if foreign:
        raise UnsupportedError(
            f"The model needs operations that ONNX does not have: {', '.join(foreign)}.",
            next_step="Leave onnx out with -f, or replace the layer that uses them.",
            step="convert",
        )
    try:
        checker.check_model(model, full_check=True)  # which infers types and shapes strictly
    except (checker.ValidationError, shape_inference.InferenceError, onnx.checker.ValidationError) as cause:
        raise StepError(
            f"The ONNX graph that was made is not valid ({str(cause).splitlines()[0]}).",
            next_step="Report this model's architecture; leave onnx out with -f meanwhile.",
            step="convert",
        ) from cause


def _is_standard(node: Any, model: Any) -> bool:
    from onnx import defs

    version = {o.domain: o.version for o in model.opset_import}.get(node.domain, 1)
    return node.domain in {"", "ai.onnx"} and defs.has(node.op_type, max_inclusive_version=version)


def raised(model: Any, constants: Mapping[str, Array], opset: int) -> tuple[Any, dict[str, Array]]:
    """The model (a ModelProto without initializers) and its constants at a higher opset.

    Raises:
        UnsupportedError: the version converter has no rule for an operation of the graph.
    """
    from onnx import helper, numpy_helper, version_converter

    try:
        upgraded = version_converter.convert_version(skeleton(model, constants), opset)
    except (RuntimeError, ValueError) as cause:
        reason = words_of(cause)
        raise UnsupportedError(
            f"ONNX's version converter cannot raise the model to opset {opset} ({reason}).",
            next_step="Choose a lower --opset; 17 and 18 are written directly.",
            step="convert",
        ) from cause
    graph = upgraded.graph
    all_constants = dict(constants) | {
        t.name: numpy_helper.to_array(t) for t in graph.initializer if t.name not in constants
    }
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:], graph.initializer[:], graph.value_info[:]
    graph.input.extend(inputs)
    upgraded.ir_version = helper.find_min_ir_version_for(list(upgraded.opset_import))
    used = {name for node in graph.node for name in node.input}
    return upgraded, {name: value for name, value in all_constants.items() if name in used or name in constants}
