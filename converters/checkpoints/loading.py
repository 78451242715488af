"""A checked checkpoint -> a model that can be called. Runs in workers only: it imports TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.checkpoints.checkpoint import Checkpoint, SourceKind
from converters.checkpoints.quick import import_keras, quick_loading
from converters.checkpoints.rewrites import channels_last_backend, make_plain
from converters.errors import RefusedError, StepError
from converters.signature import BATCH, Dimension, Signature, TensorSpec, unique_names

Call = Callable[[Sequence[Any]], list[Any]]

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.\\/>-]|^[^A-Za-z0-9.]")  # what a TensorFlow placeholder may not be called
_REFUSED_DTYPES = {"string": "text", "resource": "a resource", "variant": "a variant"}


@dataclass(frozen=True)
class Loaded:
    """A model in memory.

    Attributes:
        model: the Keras model; None for a SavedModel.
        signature: names, shapes and dtypes, the contract of every artifact.
        function: input tensors in signature order -> output tensors in signature order, in inference mode;
            `tf.function` can trace it.
        variables: every variable that the model owns, in a stable order.
        notes: what was rewritten to make it convertible, in sentences.
        keepalive: objects that must outlive `function` (TensorFlow drops what nobody holds).
    """

    model: Any
    signature: Signature
    function: Call
    variables: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    keepalive: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold; the state of random generators does not count."""
        return sum(int(v.shape.num_elements()) for v in self.variables if "seed_generator" not in v.name)


def load(checkpoint: Checkpoint) -> Loaded:
    """Opens a checkpoint in Keras' safe mode and makes it convertible.

    Raises:
        RefusedError: weights without an architecture, text inputs, a model without a known input shape, layers that
            Keras does not know.
        StepError: the weights do not fit the architecture.
    """
    import_keras()
    if checkpoint.kind is SourceKind.WEIGHTS_H5:
        raise RefusedError(
            f"{checkpoint.path} holds weights only, no architecture.",
            next_step="Say which with --architecture NAME (see `edgeport models`).", file=checkpoint.path, step="load",
        )  # fmt: skip
    loaded = _load_saved_model(checkpoint) if checkpoint.kind is SourceKind.SAVEDMODEL else _load_keras(checkpoint)
    for spec in (*loaded.signature.inputs, *loaded.signature.outputs):
        if spec.dtype in _REFUSED_DTYPES:
            what = _REFUSED_DTYPES[spec.dtype]
            raise RefusedError(
                f"{checkpoint.path}: `{spec.name}` carries {what}, which edge runtimes do not take.",
                next_step="Do the look-up outside the model and give it numbers instead.",
                file=checkpoint.path, step="load",
            )  # fmt: skip
    return loaded


def _load_keras(checkpoint: Checkpoint) -> Loaded:
    import keras

    path = checkpoint.path
    try:
        with quick_loading():
            model = _open_keras(checkpoint)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError) as cause:
        raise _load_error(checkpoint, cause) from cause
    if not isinstance(model, keras.Model):
        raise RefusedError(f"{path} holds a {type(model).__name__}, not a model.",
                           next_step="Save the whole model with `model.save`.", file=path, step="load")  # fmt: skip
    model, notes = make_plain(model)
    return loaded_model(model, notes, str(path))


def loaded_model(model: Any, notes: tuple[str, ...] = (), path: str = "the model") -> Loaded:
    """Wraps a Keras model that is in memory; see `load` for the errors."""
    import keras

    try:
        inputs, outputs = list(model.inputs or ()), list(model.outputs or ())
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if not inputs or not outputs:
        raise RefusedError(
            f"{path}: the model has no input shape ({type(model).__name__} was saved without ever being built).",
            next_step="Call it once on a batch, or add an InputLayer, and save it again.", file=path, step="load",
        )  # fmt: skip
    signature = keras_signature(model)
    structure = getattr(model, "_inputs_struct", None)

    def function(tensors: Sequence[Any]) -> list[Any]:
        packed = keras.tree.pack_sequence_as(structure, list(tensors)) if structure is not None else tensors[0]
        with channels_last_backend():
            results = model(packed, training=False)
        return list(keras.tree.flatten(results))

    variables = tuple(v.value for v in model.variables)
    return Loaded(model, signature, function, variables, notes, (model,))


def keras_signature(model: Any) -> Signature:
    """Inputs named by their InputLayers; outputs by their dict keys, else by their layers (design: One signature)."""
    import keras

    inputs = [(_UNNAMEABLE.sub("_", t._keras_history.operation.name), t) for t in model.inputs]
    structure = getattr(model, "_outputs_struct", None)
    outputs = list(zip(_output_names(model, structure), keras.tree.flatten(model.outputs), strict=True))
    return Signature(
        tuple(_spec(n, t) for n, (_, t) in zip(unique_names(n for n, _ in inputs), inputs, strict=True)),
        tuple(_spec(n, t) for n, (_, t) in zip(unique_names(n for n, _ in outputs), outputs, strict=True)),
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
    return [t._keras_history.operation.name for t in model.outputs]


def _spec(name: str, tensor: Any) -> TensorSpec:
    return TensorSpec(name, shape_of(name, list(tensor.shape)), str(tensor.dtype))


def shape_of(name: str, dimensions: Sequence[int | None]) -> tuple[Dimension, ...]:
    """Keras' shape in the design's words: None first is the batch, None elsewhere `<name>_dim<k>`."""
    return tuple(
        d if d is not None else BATCH if k == 0 else f"{name}_dim{k}" for k, d in enumerate(dimensions)
    )  # fmt: skip


def _open_keras(checkpoint: Checkpoint) -> Any:
    # Keras' public loader goes by the suffix; edgeport goes by the content.
    if checkpoint.kind is SourceKind.KERAS:
        from keras.src.saving import saving_lib

        with checkpoint.path.open("rb") as stream:
            return saving_lib._load_model_from_fileobj(stream, custom_objects=None, compile=False, safe_mode=True)
    from keras.src.legacy.saving import legacy_h5_format

    return legacy_h5_format.load_model_from_hdf5(str(checkpoint.path), compile=False, safe_mode=True)


def _load_error(checkpoint: Checkpoint, cause: BaseException) -> Exception:
    text = " ".join(str(cause).split())[:400]
    mismatch = any(word in text for word in ("shape", "mismatch", "expected", "weights"))
    kind = StepError if mismatch else RefusedError
    return kind(
        f"{checkpoint.path} cannot be loaded by Keras ({type(cause).__name__}: {text}).",
        next_step="Load it with the code that made it and save it again as .keras.", file=checkpoint.path, step="load",
    )


def _load_saved_model(checkpoint: Checkpoint) -> Loaded:
    import tensorflow as tf

    path = checkpoint.path
    try:
        module = tf.saved_model.load(str(path))
    except (ValueError, OSError, KeyError, AttributeError, tf.errors.OpError, RuntimeError) as cause:
        raise _load_error(checkpoint, cause) from cause
    signatures = dict(module.signatures)
    if "serving_default" not in signatures and len(signatures) != 1:
        raise RefusedError(
            f"{path} has no `serving_default` signature (it has: {', '.join(sorted(signatures)) or 'none'}).",
            next_step="Export it again with one signature.", file=path, step="load",
        )  # fmt: skip
    concrete = signatures.get("serving_default") or next(iter(signatures.values()))
    _, keywords = concrete.structured_input_signature
    # TensorFlow makes Python identifiers of the names; the signature's own names stand in the specs.
    signature = Signature(
        tuple(_tf_spec(spec.name, spec) for spec in keywords.values()),
        tuple(_tf_spec(name, spec) for name, spec in concrete.structured_outputs.items()),
    )

    def function(tensors: Sequence[Any]) -> list[Any]:
        results = concrete(**dict(zip(keywords, tensors, strict=True)))
        return [results[name] for name in signature.output_names]

    variables = tuple(concrete.graph.variables)
    return Loaded(None, signature, function, variables, (), (module, concrete))


def _tf_spec(name: str, spec: Any) -> TensorSpec:
    if spec.shape.rank is None:
        raise RefusedError(f"`{name}` of the SavedModel has an unknown rank.",
                           next_step="Export it again with shapes.", step="load")  # fmt: skip
    return TensorSpec(name, shape_of(name, spec.shape.as_list()), spec.dtype.name)
