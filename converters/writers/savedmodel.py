"""SavedModel: the traced function and its variables, byte-identical every time."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from converters.artifact import digest_file, files_of
from converters.compat.tensorflow import RESTORE, SERIALIZE, assigned, value_callable
from converters.rewrites.definition import with_definition
from converters.signature import SIGNATURE_KEY, TensorSpec
from converters.tracing import Traced


def write_saved_model(traced: Traced, folder: Path) -> None:
    """Saves a `tf.Module` with its variables as an ordered tuple: half the time of `model.export`, and a stable order.

    Raises:
        ResourceExhaustedError (translated by the worker): the disk is full.
    """
    import tensorflow as tf

    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with _lean_saver():
        concrete = unfused(traced.concrete)
        traced.module.serve = _endpoint(traced, concrete)
        signatures = {SIGNATURE_KEY: concrete}
        tf.saved_model.save(traced.module, str(folder), signatures=signatures, options=options)
    _settle_fingerprint(folder)


def _endpoint(traced: Traced, concrete: Any) -> Any:
    """`serve`, which Keras' export has besides the signature: called as the Keras model is, on tensors without names.

    It is traced as one call of the function that exists already; where tensors come in a list or a tuple, once for
    either, since a `.keras` file does not tell them apart and Keras takes both.
    """
    import keras
    import tensorflow as tf

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, spec.name) for tensor, spec in _inputs(traced, concrete)]
    names = traced.signature.output_names
    structure = traced.structure

    def serve(*arguments: Any) -> Any:
        values = concrete(*keras.tree.flatten(arguments))
        if structure is None:
            return values if len(names) > 1 else values[names[0]]
        return keras.tree.pack_sequence_as(structure.results, [values[name] for name in names])

    arguments = specs if structure is None else keras.tree.pack_sequence_as(list(structure.arguments), specs)
    of_lists, of_tuples = ([_holding(kind, argument) for argument in arguments] for kind in (list, tuple))
    if of_lists == of_tuples:
        return tf.function(serve, input_signature=arguments, autograph=False).get_concrete_function()
    endpoint = tf.function(serve, autograph=False)
    for form in (of_lists, of_tuples):
        endpoint.get_concrete_function(*form)
    return endpoint


def _holding(kind: type, structure: Any) -> Any:
    """A structure with a `kind` in the place of each list and tuple in it."""
    if isinstance(structure, dict):
        return {key: _holding(kind, entry) for key, entry in structure.items()}
    return kind(_holding(kind, entry) for entry in structure) if isinstance(structure, list | tuple) else structure


def _inputs(traced: Traced, concrete: Any) -> Iterator[tuple[Any, TensorSpec]]:
    captured = {id(internal) for _, internal in concrete.graph.captures}
    return zip((t for t in concrete.inputs if id(t) not in captured), traced.signature.inputs, strict=True)


@contextlib.contextmanager
def _lean_saver() -> Iterator[None]:
    """While open, saving and restoring a variable is traced as one operation each.

    TensorFlow traces five, for devices other than the one that edgeport builds on; they are a quarter of the time that
    saving takes, and they stay in the file.
    """

    def serialize(self: Any) -> dict[str, Any]:
        return value_callable(self)

    def restore(self: Any, restored: Mapping[str, Any]) -> Any:
        return assigned(self, restored)

    with SERIALIZE.replaced(lambda _: serialize), RESTORE.replaced(lambda _: restore):
        yield


def _settle_fingerprint(folder: Path) -> None:
    """Derives the fingerprint's uuid, which TensorFlow draws at random, from the content."""
    from tensorflow.core.protobuf import fingerprint_pb2

    path = folder / "fingerprint.pb"
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    content = hashlib.sha256()
    for file in files_of(folder):
        if file != path:
            content.update(f"{file.relative_to(folder).as_posix()} {digest_file(file)}\n".encode())
    fingerprint.uuid = str(uuid.UUID(bytes=content.digest()[:16]))
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))


def unfused(concrete: Any) -> Any:
    """The concrete function itself, or its twin in which the biases of grouped convolutions are plain additions."""
    biases = set(_grouped_biases(concrete.graph))
    return _with_additions(concrete, biases) if biases else concrete


def _grouped_biases(graph: Any) -> Iterator[str]:
    """The names of additions of a bias, in channels-last, right behind a grouped convolution."""
    for operation in graph.get_operations():
        if operation.type != "BiasAdd" or operation.get_attr("data_format") != b"NHWC":
            continue
        source = operation.inputs[0].op
        if source.type == "Squeeze":  # a convolution in one dimension
            source = source.inputs[0].op
        if source.type == "Conv2D" and source.inputs[0].shape[-1] != source.inputs[1].shape[-2]:
            yield operation.name


def _with_additions(concrete: Any, biases: set[str]) -> Any:
    definition = concrete.graph.as_graph_def()
    for node in definition.node:
        if node.name in biases:
            node.op = "AddV2"
            node.attr.pop("data_format", None)
    return with_definition(concrete, definition)
