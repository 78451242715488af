"""A Keras model without inputs of its own, as a class with a `call` is: its signature is that of its first call.

Runs in workers only: it imports Keras.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from converters.checkpoints.faithful import faithful_backend
from converters.checkpoints.loaded import Loaded, Structure, plain, shape_of
from converters.checkpoints.quick import graph_name
from converters.checkpoints.states import States
from converters.compat.keras import all_layers
from converters.errors import RefusedError
from converters.signature import Signature, TensorSpec, unique_names

_NOTE = "The file names no inputs: they have the shapes of the model's first call, {batch}."


def by_first_call(model: Any, notes: tuple[str, ...], path: str) -> Loaded:
    """The model with the inputs that it was first called on, of any batch where no layer keeps a state for each row.

    Raises:
        RefusedError: it was never called, the file lacks a shape or weights, or its code does not run on them.
    """
    import keras

    shapes = _first_shapes(model, path)
    fixed = any(getattr(layer, "stateful", False) for layer in all_layers(model))
    arguments = [_symbolic(shape, model.input_dtype, fixed=fixed) for shape in shapes]
    results = _called(model, arguments, path)
    names, tensors = _input_names(model, arguments), keras.tree.flatten(arguments)
    outputs = _output_names(results)
    signature = Signature(_specs(names, tensors), _specs(outputs, keras.tree.flatten(results)))

    def function(given: Sequence[Any]) -> list[Any]:
        packed = keras.tree.pack_sequence_as(arguments, list(given))
        with faithful_backend():
            return list(keras.tree.flatten(model(*packed, training=False)))

    note = _NOTE.format(batch="and its batch" if fixed else "with any batch")
    variables = tuple(v.value for v in model.variables)
    states = States.of(model)
    return Loaded(
        model,
        states.added_to(signature),
        states.stepped(function),
        variables,
        (*notes, note, *states.notes),
        (model,),
        structure=None if states.names else Structure(arguments, results),
    )


def _first_shapes(model: Any, path: str) -> list[Any]:
    """The shapes of each argument of the first call, as Keras has them in the file."""
    config = model.get_build_config() or {}
    shapes = [config["input_shape"]] if config.get("input_shape") else list((config.get("shapes_dict") or {}).values())
    if not shapes:
        kind = type(model).__name__
        raise RefusedError(
            f"{path}: the model has no input shape in the file: the {kind} was saved before it was called or built, or "
            "Keras could not build it.",
            next_step="Call it once on a batch and save it again; where that changes nothing, as with stateful layers, "
            f"give {kind} a build(self, input_shape) that builds each of its layers first.",
            file=path,
            step="load",
        )
    return shapes


def _symbolic(shape: Any, dtype: str, *, fixed: bool) -> Any:
    """Keras' tensors for a shape, or for a list or a dict of them."""
    import keras

    if isinstance(shape, dict):
        return {key: _symbolic(entry, dtype, fixed=fixed) for key, entry in shape.items()}
    if all(size is None or isinstance(size, int) for size in shape):
        return keras.KerasTensor((shape[0] if fixed else None, *shape[1:]), dtype)
    return [_symbolic(entry, dtype, fixed=fixed) for entry in shape]


def _called(model: Any, arguments: list[Any], path: str) -> Any:
    """The outputs. A variable that only comes to be now is one whose numbers the file does not have."""
    known = len(model.variables)
    try:
        results = model(*arguments, training=False)
    except Exception as cause:  # whatever the class's own code raises
        why = _failing_layer(model, arguments) or f"its code does not run on the shapes in the file ({plain(cause)})"
        raise _lacking(model, path, why) from cause
    if len(model.variables) > known:
        new = model.variables[known].path
        raise _lacking(model, path, f"Keras does not build `{new}` when it loads the file, so its numbers are lost")
    return results


def _failing_layer(model: Any, arguments: list[Any]) -> str | None:
    """The first layer of a Sequential that fails on numbers, and why: Keras tells only that a shape is unknown."""
    import keras

    if not isinstance(model, keras.Sequential):
        return None
    tensor = keras.ops.zeros([size or 2 for size in arguments[0].shape], arguments[0].dtype)
    for layer in model.layers:
        try:
            tensor = layer(tensor)
        except Exception as cause:  # whatever the layer's own code raises
            return f"its layer `{layer.name}` ({type(layer).__name__}) fails: {plain(cause)}"
    return None


def _lacking(model: Any, path: str, why: str) -> RefusedError:
    return RefusedError(
        f"{path}: the {type(model).__name__} cannot be called: {why}.",
        next_step="Where its code is, save it by model.export(FOLDER): edgeport takes that SavedModel.",
        file=path,
        step="load",
    )


def _input_names(model: Any, arguments: list[Any]) -> list[str]:
    """The names of `call`'s arguments, with keys and numbers where one holds several tensors."""
    import keras

    parameters: Callable[..., Any] = model.call
    words = list(inspect.signature(parameters).parameters)
    named = len(arguments) == 1 and isinstance(arguments[0], dict)  # its keys are names enough
    return [
        "_".join(map(str, rest if named else (words[int(first)], *rest)))
        for (first, *rest), _ in keras.tree.flatten_with_path(arguments)
    ]


def _output_names(results: Any) -> list[str]:
    """Keys of a dict, else numbers, as Keras' own export has them."""
    import keras

    if isinstance(results, dict):
        return [".".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(results)]
    return [f"output_{number}" for number, _ in enumerate(keras.tree.flatten(results))]


def _specs(names: Sequence[str], tensors: Sequence[Any]) -> tuple[TensorSpec, ...]:
    spelt = unique_names(graph_name(name) for name in names)
    return tuple(
        TensorSpec(name, shape_of(name, list(tensor.shape)), str(tensor.dtype))
        for name, tensor in zip(spelt, tensors, strict=True)
    )
