"""SavedModels and frozen graphs -> a function. Runs in workers only: it imports TensorFlow.

There are three ways in. A SavedModel of TensorFlow 2 is restored with its variables. One that holds graphs alone
(TensorFlow 1), or that this TensorFlow cannot restore (Keras 2 optimizers: "has no attribute 'add_slot'"), is read by
the version 1 loader, whose variables become constants. A frozen graph is that already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from converters.checkpoints.checkpoint import Checkpoint
from converters.checkpoints.graph_tables import filled_tables, table_contents
from converters.checkpoints.identify import chosen_signature
from converters.checkpoints.idle_assignments import without_idle_assignments
from converters.checkpoints.loaded import Loaded, load_error, shape_of
from converters.compat.tensorflow import FREEZE_SESSION, frozen
from converters.errors import EdgeportError, RefusedError, StepError, words_of
from converters.readers.graph_file import chosen_tensors, read_graph_file
from converters.readers.saved_model_file import read_saved_model
from converters.signature import Signature, TensorSpec, tensor_names, unique_names

_SERVING = "serve"
_FUNCTION_HINTS = ("api_implements", "api_preferred_device", "_noinline")


def open_saved_model(checkpoint: Checkpoint) -> Loaded:
    """The signature that was chosen, as a function.

    Raises:
        UsageError: there are several signatures and none was named.
        RefusedError: the folder cannot be restored by either loader.
    """
    import tensorflow as tf

    path = checkpoint.path
    facts = read_saved_model(path)
    key = chosen_signature(path, facts, checkpoint.opening.signature).key
    if not facts.has_objects or len(facts.tags) > 1:
        return _from_session(checkpoint, key, "The graph was read by TensorFlow's version 1 loader.")
    try:
        module = tf.saved_model.load(str(path))
        return _restored(module, module.signatures[key])
    except EdgeportError:
        raise
    except Exception as cause:  # AttributeError, KeyError, ValueError, OpError: restoring runs much of TensorFlow
        reason = words_of(cause)
        try:
            note = f"tf.saved_model.load cannot restore it ({reason}): the version 1 loader read its graph."
            return _from_session(checkpoint, key, note)
        except EdgeportError:
            raise load_error(checkpoint, cause) from cause


def open_frozen_graph(checkpoint: Checkpoint) -> Loaded:
    """A GraphDef whose weights are constants, from its placeholders (or `--graph-input`) to its ends."""
    from tensorflow.core.framework import graph_pb2

    path, opening = checkpoint.path, checkpoint.opening
    shapes = dict(_split_shape(option) for option in opening.inputs)
    inputs, outputs = chosen_tensors(path, read_graph_file(path), list(shapes), opening.outputs)
    try:
        definition = graph_pb2.GraphDef.FromString(path.read_bytes())
    except Exception as cause:  # protobuf's DecodeError, which has no types
        raise load_error(checkpoint, cause) from cause
    sizes = {f"{name}:0" if ":" not in name else name: shape for name, shape in shapes.items() if shape is not None}
    named = _names_of(inputs)
    return _of_graph(path, definition, (named, _names_of(outputs, named)), sizes)


def _restored(module: Any, concrete: Any) -> Loaded:
    _, specs = concrete.structured_input_signature
    keywords = {key: specs[key] for key in sorted(specs, key=_by_number)}
    pure = without_idle_assignments(concrete)
    # TensorFlow makes Python identifiers of the names; the signature's own names stand in the specs.
    results = {key: concrete.structured_outputs[key] for key in sorted(concrete.structured_outputs, key=_by_number)}
    names = unique_names(results, taken=[spec.name for spec in keywords.values()])
    signature = Signature(
        tuple(_tf_spec(spec.name, spec) for spec in keywords.values()),
        tuple(_tf_spec(name, spec) for name, spec in zip(names, results.values(), strict=True)),
    )

    def function(tensors: Sequence[Any]) -> list[Any]:
        given = dict(zip(keywords, tensors, strict=True))
        values = concrete(**given) if pure is concrete else pure(*(given[key] for key in specs))
        return [values[name] for name in results]

    variables = tuple(concrete.graph.variables)
    return Loaded(None, signature, function, variables, (), (module, concrete, pure))


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts `output_2` before `output_10`. A SavedModel keeps no order, and TensorFlow's differs from run to run."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _from_session(checkpoint: Checkpoint, key: str, note: str) -> Loaded:
    import tensorflow as tf

    path = checkpoint.path
    try:
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            meta = tf.compat.v1.saved_model.load(session, _tags(path), str(path))
            signature = meta.signature_def[key]
            inputs = {name: signature.inputs[name].name for name in sorted(signature.inputs, key=_by_number)}
            keys = sorted(signature.outputs, key=_by_number)
            outputs = {n: signature.outputs[k].name for n, k in zip(unique_names(keys, inputs), keys, strict=True)}
            ends = _nodes(outputs)
            definition = _needed(_without_hints(graph.as_graph_def()), [*ends, *_nodes(inputs)])
            constant = _frozen(session, definition, ends)
            contents = table_contents(session, constant)
            sizes = _stated_shapes(signature, keys) if contents else {}
        return _of_graph(path, constant, (inputs, outputs), sizes, (note,), filled_tables(contents))
    except (ValueError, OSError, KeyError, RuntimeError, TypeError, tf.errors.OpError) as cause:
        raise load_error(checkpoint, cause) from cause


def _stated_shapes(signature: Any, keys: Sequence[str]) -> dict[str, list[int | None]]:
    """By tensor, the shapes of outputs that a signature states: behind a table a graph does not tell them."""
    stated = {signature.outputs[key].name: signature.outputs[key].tensor_shape for key in keys}
    return {
        tensor: [size.size if size.size >= 0 else None for size in shape.dim]
        for tensor, shape in stated.items()
        if not shape.unknown_rank
    }


def _frozen(session: Any, definition: Any, outputs: list[str]) -> Any:
    return FREEZE_SESSION.get()(session, definition, outputs)


def _nodes(tensors: Mapping[str, str]) -> list[str]:
    return [name.split(":")[0] for name in tensors.values()]


def _needed(definition: Any, ends: list[str]) -> Any:
    """The part of a graph that leads to its ends, with the functions that it calls: those of another signature would be
    defined twice.
    """
    import tensorflow as tf

    part = tf.compat.v1.graph_util.extract_sub_graph(definition, ends)
    functions = {function.signature.name: function for function in part.library.function}
    waiting, called = [*part.node], set[str]()
    while waiting:
        values = waiting.pop().attr.values()
        names = [one.name for value in values for one in (value.func, *value.list.func) if one.name]
        for name in (name for name in names if name in functions and name not in called):
            called.add(name)
            waiting.extend(functions[name].node_def)
    kept = [function for name, function in functions.items() if name in called]
    del part.library.function[:]
    part.library.function.extend(kept)
    return part


def _without_hints(definition: Any) -> Any:
    """Keras 2 marks the functions of its recurrent layers as interchangeable; only unmarked ones are inlined."""
    for function in definition.library.function:
        for hint in _FUNCTION_HINTS:
            if hint in function.attr:
                del function.attr[hint]
    return definition


def _tags(path: Path) -> list[str]:
    tags = read_saved_model(path).tags
    return list(next((tag_set for tag_set in tags if _SERVING in tag_set), tags[0]))


def _of_graph(
    path: Path,
    definition: Any,
    ends: tuple[Mapping[str, str], Mapping[str, str]],
    sizes: Mapping[str, Sequence[int | None]],
    notes: tuple[str, ...] = (),
    tables: Mapping[str, Any] = MappingProxyType({}),
) -> Loaded:
    """A graph without variables; each call imports it into the graph that is being traced.

    Args:
        ends: name in the signature -> tensor, of inputs and of outputs.
        sizes: shapes that the user gives for inputs, by tensor; those of outputs that a signature states.
        tables: filled ones, by the tensor of the empty one that each stands for.
    """
    import tensorflow as tf

    inputs, outputs = ends
    definition = _inlined(definition, ends, sizes)
    with tf.Graph().as_default() as graph:
        _imported(path, definition, {}, [])
        specs = [
            [_spec(path, name, graph.get_tensor_by_name(tensor), sizes.get(tensor)) for name, tensor in side.items()]
            for side in ends
        ]

    def function(tensors: Sequence[Any]) -> list[Any]:
        feeds = dict(zip(inputs.values(), tensors, strict=True))
        feeds |= {name: tf.identity(table.resource_handle) for name, table in tables.items()}
        results = list(_imported(path, definition, feeds, list(outputs.values())))
        for result, spec in zip(results, specs[1], strict=True):
            if result.shape.rank is None:
                result.set_shape([size if isinstance(size, int) else None for size in spec.shape])
        return results

    signature = Signature(tuple(specs[0]), tuple(specs[1]))
    return Loaded(None, signature, function, (), notes, tuple(tables.values()), constants=_count(definition))


def _imported(path: Path, definition: Any, feeds: Mapping[str, Any], tensors: list[str]) -> Any:
    import tensorflow as tf

    feeds = dict(feeds)
    try:
        return tf.graph_util.import_graph_def(definition, input_map=feeds, return_elements=tensors or None, name="")
    except (ValueError, KeyError, tf.errors.OpError) as cause:
        raise StepError(
            f"{path}: its graph cannot be used by this TensorFlow ({words_of(cause)}).",
            next_step="Freeze it again with its inference graph alone.",
            file=path,
            step="load",
        ) from cause


def _inlined(
    definition: Any, ends: tuple[Mapping[str, str], Mapping[str, str]], sizes: Mapping[str, Sequence[int | None]]
) -> Any:
    """The part that leads from the inputs to the outputs, with functions inlined and shapes as the user gave them."""
    import tensorflow as tf

    inputs, outputs = ends
    fed = {tensor.split(":")[0] for tensor in inputs.values()}
    for node in definition.node:
        if node.name in fed and f"{node.name}:0" in sizes:
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(sizes[f"{node.name}:0"]).as_proto())
    ends_of_part = [tensor.split(":")[0] for tensor in (*outputs.values(), *inputs.values())]
    part = tf.compat.v1.graph_util.extract_sub_graph(definition, ends_of_part)
    if not part.library.function:
        return part
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(part, name=""), [])
    pruned = wrapped.prune(list(inputs.values()), list(outputs.values()))
    return _renamed(frozen(pruned), inputs, outputs)


def _renamed(flat: Any, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Any:
    """Restores the results' names, which inlining loses, as identities; placeholders keep theirs."""
    definition = flat.graph.as_graph_def()
    node_names = {node.name for node in definition.node}
    for name, tensor in zip(outputs.values(), flat.outputs, strict=True):
        stem, _, port = name.partition(":")
        if tensor.name != name and port == "0" and stem not in node_names:
            node = definition.node.add(op="Identity", name=stem, input=[tensor.name])
            node.attr["T"].type = tensor.dtype.as_datatype_enum
    return definition


def _names_of(tensors: Sequence[str], taken: Iterable[str] = ()) -> dict[str, str]:
    return dict(zip(tensor_names(tensors, taken), tensors, strict=True))


def _split_shape(option: str) -> tuple[str, list[int | None] | None]:
    """`input=batch,224,224,3` -> the tensor and its shape; an unknown size is None."""
    name, _, text = option.partition("=")
    sizes = [int(size) if size.strip().isdigit() else None for size in text.split(",")] if text else None
    return name, sizes


def _spec(path: Path, name: str, tensor: Any, declared: Sequence[int | None] | None) -> TensorSpec:
    if declared is None and tensor.shape.rank is None:
        raise RefusedError(
            f"{path}: the tensor `{tensor.name}` has no known shape.",
            file=path,
            step="load",
            next_step=_behind_decoder(tensor)
            or f"Give it: --graph-input {tensor.op.name}=batch,224,224,3 (with its own sizes).",
        )
    sizes = list(declared) if declared is not None else tensor.shape.as_list()
    return TensorSpec(name, shape_of(name, sizes), tensor.dtype.name)


def _behind_decoder(tensor: Any) -> str:
    """What to give instead of text, or of a file's bytes: the numbers that an operation makes of it. Else empty."""
    import tensorflow as tf

    readers = [operation for operation in tensor.consumers() if operation.outputs] if tensor.dtype == tf.string else []
    numbers = next((out for one in readers for out in one.outputs[:1] if out.dtype != tf.string), None)
    if numbers is None:
        return ""
    sizes = numbers.shape.as_list() if numbers.shape.rank else [None, None, 3]
    shape = ",".join(str(size or 224) for size in sizes)
    hint = "" if numbers.shape.is_fully_defined() else " (with its own sizes)"
    option = f"--graph-input {numbers.op.name}={shape}{hint}"
    return f"It takes text, which {numbers.op.type} reads. Start behind that: {option}."


def _count(definition: Any) -> int:
    """How many numbers the graph's constants hold."""
    import tensorflow as tf

    shapes = (tf.TensorShape(n.attr["value"].tensor.tensor_shape) for n in definition.node if n.op == "Const")
    return sum(int(shape.num_elements() or 0) for shape in shapes)


def _tf_spec(name: str, spec: Any) -> TensorSpec:
    if spec.shape.rank is None:
        raise RefusedError(
            f"`{name}` of the SavedModel has an unknown rank.", next_step="Export it again with shapes.", step="load"
        )
    return TensorSpec(name, shape_of(name, spec.shape.as_list()), spec.dtype.name)
