"""A loaded model -> the one traced function that every format is made from."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from converters.checkpoints.loaded import Loaded, Structure, plain
from converters.compat.keras import all_layers
from converters.errors import RefusedError, StepError, UnsupportedError, UsageError
from converters.formats import Format
from converters.rewrites.function import composed
from converters.signature import BATCH, Signature, TensorSpec
from converters.tables import captured_tables
from converters.tracing_loops import REWRITE, REWRITE_OR_FIX, blamed, foreign_layers, loops_in_graph
from converters.tracing_patches import lean_backend
from converters.weightless_graph import WeightlessGraph, assigned_variables, reached_variables, weightless

Scope = Callable[[], contextlib.AbstractContextManager[Any]]
"""Opens what Keras' assignments go by while a function is traced."""


@dataclass(frozen=True)
class Traced:
    """One concrete function and what it needs to live.

    Attributes:
        module: a `tf.Module` that owns the variables in a stable order; SavedModel stores it with the function.
        concrete: flat inputs in signature order -> dict of outputs by name.
        signature: as the artifacts will have it.
        recurrent: the graph has a loop (LSTM, GRU), so formats may hold it only in part.
        structure: how the model is called in Python; None where nobody says: the inputs in turn give a dict by name.
        original: the function that `concrete` was composed from for a format; what its files are held against.
        layers: the names of the layers that are not models, as the user gave them; none of a SavedModel.
        updated: what a call reads and changes, so that the next one answers differently: by variable, its layer,
            or its own name where it is the model's.
    """

    module: Any
    concrete: Any
    signature: Signature
    recurrent: bool
    structure: Structure | None
    layers: tuple[str, ...] = ()
    original: Any = None
    updated: Mapping[str, str] = field(default_factory=dict)

    def refuse_state(self, format_name: str) -> None:
        """Raises UnsupportedError, for a format without variables, where a call changes what the next one answers."""
        if self.updated:
            owners = dict.fromkeys(self.updated.values())  # of a variable that is the model's own: itself
            named = ", ".join(f"the {'layer' if o in self.layers else 'variable'} `{o}`" for o in owners)
            seeds = all("seed" in variable for variable in self.updated)
            what = "random numbers that change from call to call" if seeds else "a state that every call changes"
            raise UnsupportedError(
                f"{format_name} cannot hold {named}: outputs depend on {what}.",
                next_step=f"Leave {format_name.lower()} out with -f (a SavedModel holds it), or switch that off.",
                step="convert",
            )

    @functools.cached_property
    def weightless(self) -> WeightlessGraph | None:
        """The graph without its weights, made once for all formats; None where it has a loop or cannot be rewritten."""
        return None if self.recurrent else weightless(self.concrete, self.signature.output_names)

    def composed_for(self, fmt: Format) -> Traced:
        """The trace with all that the format lacks composed of what it has; itself where it lacks nothing."""
        concrete = composed(self.concrete, fmt)
        return self if concrete is self.concrete else replace(self, concrete=concrete, original=self.concrete)


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

    def traced(scope: Scope) -> Any:
        def serve(*tensors: Any) -> dict[str, Any]:
            with lean_backend(), scope():
                results = loaded.function(tensors)
            return {
                name: tf.identity(value, name=f"output_{name_index[name]}")
                for name, value in zip(names, results, strict=True)
            }

        return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()

    try:
        concrete, updated = _with_loops_where_needed(traced, loaded)
    except (TypeError, NotImplementedError) as cause:
        why = plain(cause).partition(". You can attempt")[0]  # what follows has been tried
        raise RefusedError(
            f"The model cannot be traced into a graph{blamed(cause)} ({why}).",
            next_step=REWRITE_OR_FIX if any(spec.is_dynamic for spec in signature.inputs) else REWRITE,
            step="trace",
        ) from cause
    except (ValueError, RuntimeError, tf.errors.OpError) as cause:
        raise StepError(
            f"Tracing the model failed ({plain(cause)}).",
            next_step="Call the model on a batch in Keras first: it has to run there.",
            step="trace",
        ) from cause
    settled = _settled(signature, concrete)
    return Traced(
        _owner(loaded, concrete),
        concrete,
        settled,
        _has_loop(concrete),
        structure=loaded.structure,
        layers=_layer_names(loaded.model),
        updated=updated,
    )


def _with_loops_where_needed(traced: Callable[[Scope], Any], loaded: Loaded) -> tuple[Any, dict[str, str]]:
    """The function and `Traced.updated`; loops and branches of foreign Python are in its graph where they have to be.

    Raises what the plain trace does, where both fail.
    """
    try:
        return _traced_alike(traced, loaded)
    except TypeError:
        with contextlib.suppress(Exception), loops_in_graph(loaded.model):  # AutoGraph's and TensorFlow's are many
            return _traced_alike(traced, loaded)
        raise


def _traced_alike(traced: Callable[[Scope], Any], loaded: Loaded) -> tuple[Any, dict[str, str]]:
    """The function and `Traced.updated`. Raises RefusedError where it is another one every time."""
    concrete, scope, updated = _without_idle_assignments(traced, loaded)
    if foreign_layers(loaded.model):
        _check_repeats(concrete, traced(scope))
    return concrete, updated


def _layer_names(model: Any) -> tuple[str, ...]:
    import keras

    layers = all_layers(model) if model is not None else []
    return tuple(str(layer.name) for layer in layers if not isinstance(layer, keras.Model))


def _without_idle_assignments(traced: Callable[[Scope], Any], loaded: Loaded) -> tuple[Any, Scope, dict[str, str]]:
    """The function without assignments that no output ever depends on, the scope of its trace, and `Traced.updated`.

    Layers with a recurrent dropout draw their masks in inference too, and throw them away; what stays of it is a seed
    that is read and assigned, which neither TFLite nor ONNX can hold.
    """
    as_is: Scope = contextlib.nullcontext
    concrete = traced(as_is)
    if loaded.model is None or not assigned_variables(concrete):
        return concrete, as_is, {}
    import keras

    pure = traced(keras.StatelessScope)
    assigned = {id(variable.handle) for variable in assigned_variables(concrete).values()}
    read = [v for v in reached_variables(pure).values() if id(v.handle) in assigned]
    if not read:
        return pure, keras.StatelessScope, {}
    return concrete, as_is, {variable.name: _owning_layer(loaded.model, variable) for variable in read}


def _owning_layer(model: Any, variable: Any) -> str:
    """The name of the outermost layer, short of a model, that a variable belongs to; its own where there is none."""
    import keras

    for layer in all_layers(model) if model is not None else ():
        if not isinstance(layer, keras.Model) and any(v.value is variable for v in layer.variables):
            return str(layer.name)
    return str(variable.name).partition(":")[0]


def _check_repeats(first: Any, second: Any) -> None:
    """Checks that a second trace gives the same graph: Python that counts calls or draws numbers would be frozen in."""
    graphs = [_plain_nodes(concrete) for concrete in (first, second)]
    for one, other in itertools.zip_longest(*graphs):
        if one is None or other is None or one.content != other.content:
            raise RefusedError(
                f"Two traces of the model differ (first at `{(one or other).name}`): "
                "what it computes depends on Python state.",
                next_step="Keep what changes in a variable or an input instead: a file can hold only one trace.",
                step="trace",
            )


class _Node(NamedTuple):
    """A node of a trace by its own name, and all of it that two traces of the same model have in common."""

    name: str
    content: bytes


def _plain_nodes(concrete: Any) -> Iterator[_Node]:
    """The nodes without what TensorFlow and Keras count up from trace to trace.

    These are names: of functions, of gradients, of the placeholders of tensors that a layer keeps, which are known by
    their values, and of all in a layer that is made anew in every call. A node is known by its place.
    """
    kept = {inner.op.name: outer for outer, inner in concrete.graph.captures}
    nodes = concrete.graph.as_graph_def().node
    places = {node.name: f"n{k}" for k, node in enumerate(nodes)}
    for node in nodes:
        plain = type(node)()
        plain.CopyFrom(node)
        for name in [n for n, v in node.attr.items() if v.HasField("func") or v.list.func or n in _COUNTED]:
            del plain.attr[name]
        plain.MergeFrom(type(node)(name=places[node.name]))
        plain.input[:] = [_placed(reference, places) for reference in node.input]
        values = b""
        if node.name in kept:
            outer = kept[node.name]
            values = outer.numpy().tobytes() if outer.dtype.is_numpy_compatible and hasattr(outer, "numpy") else b""
        yield _Node(node.name, plain.SerializeToString(deterministic=True) + values)


def _placed(reference: str, places: Mapping[str, str]) -> str:
    """A reference to a tensor or, behind a `^`, to a node, by the node's place."""
    mark = "^" if reference.startswith("^") else ""
    name, colon, output = reference.removeprefix("^").partition(":")
    return f"{mark}{places[name]}{colon}{output}"


_COUNTED = ("_gradient_op_type", "_user_specified_name")


def _owner(loaded: Loaded, concrete: Any) -> Any:
    """A module with the tables and variables of the function, in the model's order, then those that no layer owns.

    Others stay out: the state of random generators differs from load to load. The function is not an attribute of it,
    since saving would trace it again.
    """
    import tensorflow as tf

    used = {id(variable.handle): variable for variable in concrete.graph.variables}
    owned = tuple(v for v in loaded.variables if id(v.handle) in used)
    module = tf.Module()
    known = {id(v.handle) for v in owned}
    module.variables_in_order = (*owned, *(v for key, v in used.items() if key not in known))
    if tables := captured_tables(loaded.keepalive, concrete):
        module.tables_in_order = tables
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

    return replace(signature, inputs=tuple(map(fixed, signature.inputs)), outputs=tuple(map(fixed, signature.outputs)))


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
    return replace(signature, outputs=tuple(outputs))


def _merged(declared: Sequence[int | str], traced: Sequence[int | str]) -> tuple[int | str, ...]:
    """What was declared, but for sizes that the trace knows: a RandomCrop declares what it crops to in training."""
    if len(declared) != len(traced):
        return tuple(traced)
    pairs = zip(declared, traced, strict=True)
    return tuple(d if isinstance(d, int) and not isinstance(f, int) else f for d, f in pairs)


def _has_loop(concrete: Any) -> bool:
    definition = concrete.graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return any(node.op in {"While", "StatelessWhile", "TensorListReserve"} for node in nodes)
