"""Texts that a model expects: the words of its look-up layers, or of the tables in a graph. Worker side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from converters.checkpoints.loaded import Call, Loaded, shape_of
from converters.checkpoints.ranges import reached
from converters.compat.keras import all_layers, operation_of
from converters.signature import Signature, TensorSpec

_MADE_UP = "made-up words: the model holds no vocabulary"
_LOOK_UPS = {"StringLookup", "TextVectorization"}
_HASHES = {"Hashing", "HashedCrossing"}
_PAIRS = (("string", "int64"), ("int64", "string"), ("string", "string"), ("string", "int32"), ("string", "float32"))
"""Types of keys and values of tables with texts."""


@dataclass(frozen=True)
class Texts:
    """What an input of texts is meant to be fed.

    Attributes:
        words: those that the model knows; any will do where there are none.
        joint: what stands between the words of a text that holds several; None where a text is one word.
        others: whether words are drawn that the model does not know.
        empty: whether empty texts are drawn.
        source: where the words come from, in words.
    """

    words: tuple[str, ...]
    joint: str | None
    source: str
    others: bool = True
    empty: bool = True

    @property
    def told(self) -> str:
        """What was drawn, in words."""
        known = f"texts of the {len(self.words)} words in {self.source}" if self.words else self.source
        more = [*(["unknown words"] if self.others else []), *(["empty texts"] if self.empty else [])]
        return f"{known}, with {' and '.join(more)}" if more else known

    @property
    def narrower(self) -> tuple[Texts, ...]:
        """What to draw where a model does not take all of it, one after the other."""
        return (self, replace(self, empty=False), replace(self, empty=False, others=False))


ANY = Texts((), None, _MADE_UP)


def texts_of(loaded: Loaded) -> dict[str, Texts]:
    """By name, what each input of texts is meant to be fed: what its layers say, or the tables of a graph."""
    named = [spec.name for spec in loaded.signature.inputs if spec.is_text]
    if not named:
        return {}
    if loaded.model is None:
        return dict.fromkeys(named, _of_function(_traced(loaded.signature, loaded.function)))
    found = dict(zip(loaded.signature.input_names, _of_inputs(loaded.model), strict=False))
    layers = [layer for layer in all_layers(loaded.model) if type(layer).__name__ in _LOOK_UPS | _HASHES]
    return {name: found.get(name) or _of_layers(layers) for name in named}


def texts_of_signature(signature: Signature, concrete: Any) -> dict[str, Texts]:
    """The same of an artifact: by the tables that its traced function captures."""
    named = [spec.name for spec in signature.inputs if spec.is_text]
    return dict.fromkeys(named, _of_function(concrete)) if named else {}


def _of_inputs(model: Any) -> list[Texts | None]:
    """Of each input of a model with a graph, what the nearest layers behind it look up."""
    found: list[Texts | None] = []
    for tensor in getattr(model, "inputs", None) or ():
        behind = [consumer for _, consumer in reached(operation_of(tensor), model)]
        layers = [layer for layer in behind if type(layer).__name__ in _LOOK_UPS | _HASHES]
        found.append(_of_layers(layers) if layers else None)
    return found


def _of_layers(layers: Iterable[Any]) -> Texts:
    """One input may go to several layers: it gets the words of all, and what every one of them takes."""
    layers = list({id(layer): layer for layer in layers}.values())
    look_ups = [layer for layer in layers if type(layer).__name__ in _LOOK_UPS and not getattr(layer, "invert", False)]
    words = dict.fromkeys(
        str(word) for layer in look_ups for word in layer.get_vocabulary(include_special_tokens=False)
    )
    splits = [
        getattr(layer, "split", None) if type(layer).__name__ == "TextVectorization" else None for layer in layers
    ]
    joint = "" if "character" in splits else None if not splits or all(split is None for split in splits) else " "
    names = " and ".join(layer.name for layer in look_ups)
    return Texts(tuple(words), joint, f"the vocabulary of {names}" if words else _MADE_UP)


def _of_function(concrete: Any) -> Texts:
    """By the tables that a function captures, and whether it splits texts."""
    definition = concrete.graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    kinds = {node.op for node in nodes}
    words = tuple(dict.fromkeys(word for table in _tables(concrete) for word in table))
    joint = "" if kinds & {"UnicodeSplit", "UnicodeDecodeWithOffsets", "UnicodeDecode"} else None
    joint = " " if any(kind.startswith("StringSplit") for kind in kinds) else joint
    return Texts(words, joint, "the tables in its graph" if words else _MADE_UP)


def _tables(concrete: Any) -> Iterable[list[str]]:
    """The texts that the captured tables of a function hold."""
    import tensorflow as tf

    variables = {id(variable.handle) for variable in concrete.graph.variables}
    for handle in concrete.captured_inputs:
        if handle.dtype == tf.resource and id(handle) not in variables:
            yield from _held(handle)


def _held(handle: Any) -> Iterable[list[str]]:
    import tensorflow as tf

    for keys, values in _PAIRS:
        try:  # an export of other types ends the process, a search for a key does not
            tf.raw_ops.LookupTableFindV2(
                table_handle=handle, keys=tf.zeros(1, keys), default_value=tf.zeros((), values)
            )
        except tf.errors.OpError:  # no table, or one of other types
            continue
        sides = tf.raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=keys, Tvalues=values)
        texts = next(side for side in sides if side.dtype == tf.string)
        yield sorted(word.decode("utf-8", "replace") for word in texts.numpy().tolist())
        return


def looks_up(model: Any) -> bool:
    """Whether a layer of a Keras model works with texts."""
    return any(type(layer).__name__ in _LOOK_UPS for layer in all_layers(model))


def as_computed(signature: Signature, function: Call) -> Signature:
    """The signature with the types and ranks of outputs that tracing finds.

    Keras states int64 where a StringLookup gives words back, and an axis too many where a TextVectorization in a nested
    model counts.
    """
    outputs = zip(signature.outputs, _traced(signature, function).outputs, strict=True)
    return replace(signature, outputs=tuple(_computed(spec, tensor) for spec, tensor in outputs))


def _computed(spec: TensorSpec, tensor: Any) -> TensorSpec:
    same_rank = tensor.shape.rank in {None, len(spec.shape)}
    shape = spec.shape if same_rank else shape_of(spec.name, tensor.shape.as_list())
    return TensorSpec(spec.name, shape, tensor.dtype.name)


def _traced(signature: Signature, function: Call) -> Any:
    import tensorflow as tf

    specs = [
        tf.TensorSpec([None if isinstance(d, str) else d for d in spec.shape], spec.dtype) for spec in signature.inputs
    ]
    return tf.function(lambda *tensors: list(function(list(tensors)))).get_concrete_function(*specs)
