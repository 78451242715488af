"""The sizes that a loaded model is run at where its inputs leave them open. Worker side.

Never made up in silence: the user's, else the size that the architecture's family is known by, else the first of a
list at which no layer is left without values. Each is traced, so that shape inference tells. Only models of indices are
run, once and on a single sample: where their table of positions ends, no shape says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.checkpoints.loaded import Loaded
from converters.compat.keras import all_layers
from converters.errors import UsageError, words_of
from converters.shapes import OPTION, Shapes, ask_for, check_shapes, filled, shape_text, sizes_to_try
from converters.signature import Dimension
from converters.user_arrays import read_user_arrays

_FAMILIES = {
    299: ("inception_v3", "inception_resnet_v2", "xception"),
    331: ("nasnet_large",),
    240: ("efficientnetb1", "efficientnetv2-b1"),
    260: ("efficientnetb2", "efficientnetv2-b2"),
    300: ("efficientnetb3", "efficientnetv2-b3"),
    380: ("efficientnetb4",),
    456: ("efficientnetb5",),
    528: ("efficientnetb6",),
    600: ("efficientnetb7",),
    384: ("efficientnetv2-s",),
    480: ("efficientnetv2-m", "efficientnetv2-l"),
    224: (
        "efficientnetb0",
        "efficientnetv2-b0",
        "mobilenet",
        "nasnet",
        "resnet",
        "densenet",
        "vgg",
        "convnext",
        "regnet",
    ),
}
"""keras.applications: the size that each family is published at, by the beginning of its models' names. Longer
beginnings stand before shorter ones that they begin with."""

_NODE = re.compile(r"\{\{node ([^}]+)\}\}")
_BEFORE_NODE = re.compile(r"(?:\{\{\S+ \S+\}\} )?([^\n]+)\n\s*\[\[\{\{node ")
_NAMED = 6
_CALLED = re.compile(r"when calling (\w+)\.call")


def settle(loaded: Loaded, given: Shapes) -> dict[str, tuple[Dimension, ...]]:
    """The shape of each input that has an unknown size; empty where all are known.

    Raises:
        UsageError: a given shape does not fit the input, or leaves a layer empty; or no size that is tried fits.
    """
    signature = loaded.signature
    check_shapes(signature, given)
    left_open = [spec for spec in signature.inputs if spec.is_dynamic]
    if not left_open:
        return {}
    if all(spec.name in given for spec in left_open):
        shapes = filled(signature, given, 1)
        problem = emptied(loaded, shapes)
        if problem is None:
            return shapes
        words = " and ".join(f"{OPTION} {name}={','.join(map(str, given[name]))}" for name in shapes)
        raise UsageError(f"{words} cannot be run: {problem}.", next_step=_larger(loaded))
    problem = None
    for size in _to_try(loaded):
        shapes = filled(signature, given, size)
        found = emptied(loaded, shapes)
        if found is None:
            return shapes
        problem = problem or found
    raise UsageError(
        f"No size that was tried runs for {', '.join(spec.name for spec in left_open)}: {problem}.",
        next_step=f"Give it: {ask_for(signature)} (with its own sizes).",
    )


def check_inputs(loaded: Loaded, path: Path, given: Shapes) -> None:
    """Raises UsageError where the user's arrays do not fit the model. Images of a folder are not read for that."""
    if path.is_dir():
        return
    arrays = read_user_arrays(path, loaded.signature, shapes=given).arrays
    left_open = {spec.name: spec.shape[:1] for spec in loaded.signature.inputs if spec.is_dynamic}
    check_sizes(loaded, path, {name: (*batch, *arrays[name].shape[1:]) for name, batch in left_open.items()})


def check_sizes(loaded: Loaded, path: Path, shapes: Shapes) -> None:
    """Raises UsageError where the model does not run at the sizes of the user's arrays."""
    problem = emptied(loaded, shapes) if shapes else None
    if problem is None:
        return
    try:
        fitting = ", ".join(f"{name} of {shape_text(sizes)}" for name, sizes in settle(loaded, {}).items())
    except UsageError:
        fitting = ""
    step = f"Give larger ones: {fitting} runs." if fitting else "Give larger ones."
    raise UsageError(f"The inputs in {path} cannot be run: {problem}.", next_step=step, file=path)


def _larger(loaded: Loaded) -> str:
    """What to give instead: a shape that fits, where one of those that are tried does."""
    try:
        shapes = settle(loaded, {})
    except UsageError:
        return f"Give larger sizes: {ask_for(loaded.signature)}"
    return "This fits: " + " ".join(f"{OPTION} {name}={','.join(map(str, sizes))}" for name, sizes in shapes.items())


def _to_try(loaded: Loaded) -> Iterator[int]:
    known = family_size(loaded.model)
    if known is not None:
        yield known
    yield from sizes_to_try(spec.shape for spec in loaded.signature.inputs)


def family_size(model: Any) -> int | None:
    """The size that a model of keras.applications, or one with such a model in it, is published at."""
    if model is None:
        return None
    names = [str(getattr(layer, "name", "")).lower() for layer in (model, *getattr(model, "layers", ()))]
    beginnings = ((start, size) for size, starts in _FAMILIES.items() for start in starts)
    return next((size for start, size in beginnings for name in names if name.startswith(start)), None)


def emptied(loaded: Loaded, shapes: Shapes) -> str | None:
    """What goes wrong at these shapes, in words: an operation refuses them, or a layer gives no values at all."""
    try:
        empty = _empty(loaded, shapes)
    except Exception as cause:  # Keras' and TensorFlow's kinds are many; that it cannot be traced is the answer
        return _refusal(loaded, cause, shapes)
    if not empty:
        return None
    try:
        always = set(_empty(loaded, {}))  # what is empty at any size is the model's own matter
    except Exception:  # as above: Python that asks for the size, of which nobody knows what is empty at any
        return None
    name = next((name for name in empty if name not in always), None)
    return None if name is None else f"at {_sizes(shapes)} the layer {_layer(loaded, name)} has nothing left"


def _empty(loaded: Loaded, shapes: Shapes) -> list[str]:
    """Names of operations that give float tensors without elements."""
    import tensorflow as tf

    specs = [
        tf.TensorSpec([d if isinstance(d, int) else None for d in shapes.get(s.name, s.shape)], s.dtype, s.name)
        for s in loaded.signature.inputs
    ]
    function = tf.function(lambda *tensors: list(loaded.function(list(tensors))), autograph=False)
    concrete = function.get_concrete_function(*specs)
    if shapes and any("int" in spec.dtype for spec in loaded.signature.inputs):
        concrete(*(tf.zeros([size or 1 for size in spec.shape], spec.dtype) for spec in specs))
    return [
        operation.name
        for operation in concrete.graph.get_operations()
        for tensor in operation.outputs
        if tensor.dtype.is_floating and tensor.shape.rank and 0 in tensor.shape.as_list()
    ]


def _refusal(loaded: Loaded, cause: Exception, shapes: Shapes) -> str:
    text = words_of(cause)
    node, called = _NODE.search(text), _CALLED.search(text)
    where = f"the layer {_layer(loaded, node[1])}" if node else _of_kind(loaded, called[1]) if called else "the model"
    ran = _BEFORE_NODE.search(str(cause))  # while it ran; else while it was traced
    reason = (
        ran[1] if ran else text.split("for '{{node")[0].rpartition("Exception encountered")[2].split("call(). ")[-1]
    )
    reason = reason.split(" Arguments received by")[0]
    return f"at {_sizes(shapes)} {where} does not run ({type(cause).__name__}: {reason.strip().rstrip('.')})"


def _of_kind(loaded: Loaded, kind: str) -> str:
    """The layers of a class, which is all that Keras tells of the one that failed."""
    layers = all_layers(loaded.model) if loaded.model is not None else ()
    names = list(dict.fromkeys(layer.name for layer in layers if type(layer).__name__ == kind))
    named = f"one of the layers {', '.join(names)} ({kind})" if 1 < len(names) <= _NAMED else f"a {kind} layer"
    return f"the layer {names[0]}" if len(names) == 1 else named


def _sizes(shapes: Shapes) -> str:
    return ", ".join(shape_text(sizes) for sizes in shapes.values())


def _layer(loaded: Loaded, operation: str) -> str:
    """The model's layer that an operation belongs to, by its path."""
    names = {layer.name for layer in all_layers(loaded.model)} if loaded.model is not None else set()
    parts = operation.split("/")
    for part in reversed(parts[:-1] or parts):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in names:
                return name
    return operation
