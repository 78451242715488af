"""A loaded model -> the one traced function that every format is made from."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters.checkpoints.loaded import Loaded, Structure, plain
from converters.compat.keras import all_layers
from converters.errors import RefusedError, StepError, UsageError
from converters.signature import BATCH, Signature, TensorSpec
from converters.tracing_patches import lean_backend
from converters.weightless_graph import WeightlessGraph, weightless


@dataclass(frozen=True)
class Traced:
    """One concrete function and what it needs to live.

    Attributes:
        module: a `tf.Module` that owns the variables in a stable order; SavedModel stores it with the function.
        concrete: flat inputs in signature order -> dict of outputs by name.
        signature: as the artifacts will have it.
        recurrent: the graph has a loop (LSTM, GRU), so formats may hold it only in part.
        structure: how the model is called in Python.
    """

    module: Any
    concrete: Any
    signature: Signature
    recurrent: bool
    structure: Structure

    @functools.cached_property
    def weightless(self) -> WeightlessGraph | None:
        """The graph without its weights, made once for all formats; None where it has a loop or cannot be rewritten."""
        return None if self.recurrent else weightless(self.concrete, self.signature.output_names)


def trace(loaded: Loaded, batch: int | None = None) -> Traced:
    """Traces once, in inference mode.

    Args:
        batch: the fixed batch size; None leaves the batch dynamic.

    Raises:
        UsageError: the model has another fixed batch.
        RefusedError: the model's Python code cannot be traced into a graph, or gives another one every time.
        StepError: TensorFlow fails while it traces.
    """
    import tensorflow as tf

    signature = _with_batch(loaded.signature, batch)
    specs = [_tensor_spec(spec) for spec in signature.inputs]
    names = signature.output_names
    name_index = {name: index for index, name in enumerate(names)}

    def serve(*tensors: Any) -> dict[str, Any]:
        with lean_backend():
            results = loaded.function(tensors)
        return {
            name: tf.identity(value, name=f"output_{name_index[name]}")
            for name, value in zip(names, results, strict=True)
        }

    def traced() -> Any:
        return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()

    try:
        concrete = traced()
        if _has_foreign_code(loaded.model):
            _check_repeats(concrete, traced())
    except (TypeError, NotImplementedError) as cause:
        raise RefusedError(
            f"The model cannot be traced into a graph ({plain(cause)}).",
            next_step="Its code depends on Python values: rewrite that layer with keras.ops.",
            step="trace",
        ) from cause
    except (ValueError, RuntimeError, tf.errors.OpError) as cause:
        raise StepError(
            f"Tracing the model failed ({plain(cause)}).",
            next_step="Call the model on a batch in Keras first: it has to run there.",
            step="trace",
        ) from cause
    structure = loaded.structure or Structure(signature.inputs, dict.fromkeys(names) if len(names) > 1 else None)
    settled = _settled(signature, concrete)
    return Traced(_owner(loaded, concrete), concrete, settled, _has_loop(concrete), structure)


def _has_foreign_code(model: Any) -> bool:
    """Whether there is a layer that neither Keras nor edgeport wrote."""
    ours = ("keras.", "converters.", "exporter.")
    layers = all_layers(model) if model is not None else []
    return any(not f"{type(layer).__module__}.".startswith(ours) for layer in layers)


def _check_repeats(first: Any, second: Any) -> None:
    """Checks that a second trace gives the same graph: Python that counts calls or draws numbers would be frozen in."""
    graphs = [concrete.graph.as_graph_def() for concrete in (first, second)]
    for one, other in itertools.zip_longest(*(graph.node for graph in graphs)):
        if one is None or other is None or _node_bytes(one) != _node_bytes(other):
            name = (one or other).name
            raise RefusedError(
                f"Two traces of the model differ (first at `{name}`): what it computes depends on Python state.",
                next_step="Keep what changes in a variable or an input instead: a file can hold only one trace.",
                step="trace",
            )


def _node_bytes(node: Any) -> bytes:
    """The node as bytes, without the names of functions and gradients: TensorFlow renumbers them every time."""
    plain = type(node)()
    plain.CopyFrom(node)
    for name in [name for name, value in node.attr.items() if value.HasField("func") or name == "_gradient_op_type"]:
        del plain.attr[name]
    content: bytes = plain.SerializeToString(deterministic=True)
    return content


def _owner(loaded: Loaded, concrete: Any) -> Any:
    """A module with the variables that the function uses, in the model's order.

    Others stay out: the state of random generators differs from load to load. The function is not an attribute of it,
    since saving would trace it again.
    """
    import tensorflow as tf

    used = {id(variable.handle) for variable in concrete.graph.variables}
    module = tf.Module()
    module.variables_in_order = tuple(v for v in loaded.variables if id(v.handle) in used)
    return module


def _with_batch(signature: Signature, batch: int | None) -> Signature:
    """The signature with this batch where it was open. Raises UsageError where no input takes it."""
    if batch is None:
        return signature
    first = [spec.shape[0] for spec in signature.inputs if spec.shape]
    if first and not signature.has_open_batch and batch not in first:
        raise UsageError(
            f"--batch {batch} does not fit: the model itself fixes the batch of its input "
            f"`{signature.inputs[0].name}` to {first[0]}.",
            next_step="Leave it out, or save the model again with an input of any batch (keras.Input(shape=...)).",
            step="trace",
        )

    def fixed(spec: TensorSpec) -> TensorSpec:
        return TensorSpec(spec.name, tuple(batch if d == BATCH else d for d in spec.shape), spec.dtype)

    return Signature(tuple(map(fixed, signature.inputs)), tuple(map(fixed, signature.outputs)))


def _tensor_spec(spec: TensorSpec) -> Any:
    import tensorflow as tf

    shape = [d if isinstance(d, int) else None for d in spec.shape]
    return tf.TensorSpec(shape, tf.dtypes.as_dtype(spec.dtype), name=spec.name)


def _settled(signature: Signature, concrete: Any) -> Signature:
    """The signature with output dimensions that tracing found out to be fixed (or unknown)."""
    from converters.checkpoints.loaded import shape_of

    outputs = []
    for spec in signature.outputs:
        tensor = concrete.structured_outputs[spec.name]
        shape = spec.shape if tensor.shape.rank is None else shape_of(spec.name, tensor.shape.as_list())
        outputs.append(TensorSpec(spec.name, _merged(spec.shape, shape), tensor.dtype.name))
    return Signature(signature.inputs, tuple(outputs))


def _merged(declared: Sequence[int | str], traced: Sequence[int | str]) -> tuple[int | str, ...]:
    if len(declared) != len(traced):
        return tuple(traced)
    return tuple(d if isinstance(d, int) else f for d, f in zip(declared, traced, strict=True))


def _has_loop(concrete: Any) -> bool:
    definition = concrete.graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return any(node.op in {"While", "StatelessWhile", "TensorListReserve"} for node in nodes)
