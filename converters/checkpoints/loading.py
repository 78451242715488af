"""A checked checkpoint -> a model that can be called. Runs in workers only: it imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from converters.checkpoints.checkpoint import WEIGHTS, Checkpoint, SourceKind
from converters.checkpoints.faithful import faithful_backend
from converters.checkpoints.first_call import by_first_call
from converters.checkpoints.graphs import open_frozen_graph, open_saved_model
from converters.checkpoints.loaded import Loaded, Structure, load_error, shape_of
from converters.checkpoints.quick import graph_name, import_keras, quick_loading
from converters.checkpoints.rewrites import make_plain
from converters.checkpoints.states import States
from converters.checkpoints.texts import as_computed, looks_up
from converters.compat.keras import MADE_FOR, operation_of
from converters.compat.patch import lacks_attribute, misused
from converters.errors import RefusedError, StepError
from converters.signature import Signature, TensorSpec, unique_names

_OLDEST_KERAS = "3.15.1"  # CVE-2025-1550 up to the limits on declared sizes of 3.15.1
_REFUSED_DTYPES = {"resource": "a resource", "variant": "a variant"}


def load(checkpoint: Checkpoint) -> Loaded:
    """Opens a checkpoint in Keras' safe mode and makes it convertible.

    Raises:
        RefusedError: inputs that are not tensors, a model without a known input shape, layers that Keras does not know.
        UsageError: the user's module or function is not there.
        StepError: the weights do not fit the architecture.
    """
    import_keras()
    loaded = _opened(checkpoint)
    for spec in (*loaded.signature.inputs, *loaded.signature.outputs):
        if spec.dtype in _REFUSED_DTYPES:
            content = _REFUSED_DTYPES[spec.dtype]
            raise RefusedError(
                f"{checkpoint.path}: `{spec.name}` carries {content}, which no file can be fed.",
                next_step="Choose a signature with tensors of numbers or texts.",
                file=checkpoint.path,
                step="load",
            )
    return loaded


def _opened(checkpoint: Checkpoint) -> Loaded:
    if checkpoint.kind is SourceKind.SAVEDMODEL:
        return open_saved_model(checkpoint)
    if checkpoint.kind is SourceKind.FROZEN_GRAPH:
        return open_frozen_graph(checkpoint)
    return _load_keras(checkpoint)


def _load_keras(checkpoint: Checkpoint) -> Loaded:
    check_version()
    import keras

    from converters.checkpoints.keras_sources import open_keras, open_weights

    path = checkpoint.path
    try:
        with quick_loading():
            model, notes = (open_weights if checkpoint.kind in WEIGHTS else open_keras)(checkpoint)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError) as cause:
        if lacks_attribute(cause, "keras"):
            raise misused(cause, "keras", MADE_FOR) from cause
        raise load_error(checkpoint, cause) from cause
    if not isinstance(model, keras.Model):
        raise RefusedError(
            f"{path} holds a {type(model).__name__}, not a model.",
            next_step="Save the whole model with `model.save`.",
            file=path,
            step="load",
        )
    model, more = make_plain(model)
    return loaded_model(model, (*notes, *more), str(path))


def check_version(installed: str | None = None) -> None:
    """Refuses a Keras that loads what the scan lets pass less safely than the scan assumes. Raises StepError."""
    from packaging.version import Version

    keras_version = installed or version("keras")
    if Version(keras_version) < Version(_OLDEST_KERAS):
        raise StepError(
            f"Keras {keras_version} is installed; checkpoints are opened with {_OLDEST_KERAS} or later, which mend "
            "known holes in loading.",
            next_step=f"python -m pip install 'keras>={_OLDEST_KERAS}' (see `edgeport doctor`).",
            step="load",
        )


def loaded_model(model: Any, notes: tuple[str, ...] = (), path: str = "the model") -> Loaded:
    """Wraps a Keras model that is in memory; see `load` for the errors."""
    import keras

    try:
        inputs, outputs = list(model.inputs or ()), list(model.outputs or ())
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if not inputs or not outputs:
        return by_first_call(model, notes, path)
    model_names = (operation_of(t).name for t in model.inputs)
    notes += tuple(
        f"The input {name!r} is called {graph_name(name)!r} in the artifacts: TensorFlow's graphs cannot spell it."
        for name in model_names
        if graph_name(name) != name
    )
    structure = model.input if isinstance(model, keras.Function) else None

    def function(tensors: Sequence[Any]) -> list[Any]:
        packed = keras.tree.pack_sequence_as(structure, list(tensors)) if structure is not None else tensors[0]
        with faithful_backend():
            results = model(packed, training=False)
        return list(keras.tree.flatten(results))

    signature = keras_signature(model)
    if looks_up(model):
        signature = as_computed(signature, function)
    variables = tuple(v.value for v in model.variables)
    called = Structure([signature.inputs[0] if structure is None else structure], _results(model))
    states = States.of(model)
    return Loaded(
        model,
        states.added_to(signature),
        states.stepped(function),
        variables,
        (*notes, *states.notes),
        (model,),
        structure=None if states.names else called,
    )


def _results(model: Any) -> Any:
    """What a call of the model gives: a tensor, or a list or dict of them."""
    import keras

    results = model.output if isinstance(model, keras.Function) else model.outputs
    return results[0] if isinstance(results, list | tuple) and len(results) == 1 else results  # as Keras unpacks it


def keras_signature(model: Any) -> Signature:
    """Inputs named by their InputLayers; outputs by their dict keys, else by their layers (design: One signature)."""
    import keras

    inputs = [(graph_name(operation_of(t).name), t) for t in model.inputs]
    structure = model.output if isinstance(model, keras.Function) else None
    outputs = list(zip(_output_names(model, structure), keras.tree.flatten(model.outputs), strict=True))
    input_names = unique_names(n for n, _ in inputs)
    output_names = unique_names((n for n, _ in outputs), taken=input_names)
    return Signature(
        tuple(_spec(n, t) for n, (_, t) in zip(input_names, inputs, strict=True)),
        tuple(_spec(n, t) for n, (_, t) in zip(output_names, outputs, strict=True)),
    )


def _output_names(model: Any, structure: Any) -> list[str]:
    import keras

    if isinstance(structure, dict):
        return [".".join(str(part) for part in path) for path, _ in keras.tree.flatten_with_path(structure)]
    names = getattr(model, "output_names", None)
    if names:
        return [str(n) for n in names]
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    return [operation_of(t).name for t in model.outputs]


def _spec(name: str, tensor: Any) -> TensorSpec:
    return TensorSpec(name, shape_of(name, list(tensor.shape)), str(tensor.dtype))
