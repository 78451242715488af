"""Keras' operations that give something else in a TensorFlow graph than when Keras calls them: graphs that do as Keras
does.

Open while a model is traced or run as a graph. Each replacement gives what the model gives when it is simply called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from converters.checkpoints.rewrites import channels_last_backend
from converters.compat import keras as parts

_ELEMENTWISE = frozenset(
    {
        "Abs", "Add", "Cast", "Clip", "Divide", "Exp", "Gelu", "LeakyRelu", "Log", "Maximum", "Minimum", "Multiply",
        "Negative", "Power", "Relu", "Relu6", "Sigmoid", "Silu", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide",
    }
)  # fmt: skip
"""Operations of `keras.ops` that look at each number alone, whatever their arguments."""


@contextlib.contextmanager
def faithful_backend() -> Iterator[None]:
    """While open, TimeDistributed, ZeroPadding3D and resizing to a size that is not known yet are right in graphs."""
    replacements = {
        parts.TIME_DISTRIBUTED: _merged_steps,
        parts.PAD: _unfused_pad,
        parts.RESIZE: _any_size,
        parts.PUBLIC_RESIZE: _any_size,
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(channels_last_backend())
        for patch, make in replacements.items():
            stack.enter_context(patch.replaced(make))
        yield


def wrong_in_graphs(layers: Iterable[Any]) -> bool:
    """Whether Keras' own graph of one of the layers may give something else than the layer."""
    return any(type(layer).__name__ in parts.WRONG_IN_GRAPHS for layer in layers)


def _merged_steps(original: Callable[..., Any]) -> Callable[..., Any]:
    """TimeDistributed as one call on all steps of all rows.

    Keras maps over steps that are not known in advance by `tf.vectorized_map`, which slices the batch where it should
    slice the steps; steps that are known become a copy of the layer each.
    """
    import tensorflow as tf

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if tf.executing_eagerly() or not isinstance(inputs, tf.Tensor):
            return original(self, inputs, training=training, mask=mask)
        if not _treats_rows_alone(self.layer):
            known = inputs.shape[1] is not None
            return original(self, inputs, training=training, mask=mask) if known else _mapped(self, inputs, mask)
        results = self.layer.call(_merged(inputs), **_arguments(self.layer, None if mask is None else _merged(mask)))
        return _parted(results, inputs)

    return call


def _arguments(layer: Any, mask: Any) -> dict[str, Any]:
    takes = layer.call_signature_parameters
    given = {"mask": mask} if mask is not None and "mask" in takes else {}
    return given | ({"training": False} if "training" in takes else {})


def _treats_rows_alone(layer: Any) -> bool:
    """Whether no row of a batch has a part in what becomes of another: Keras' own layers without code or state."""
    layers = parts.all_layers(layer)
    functions = [operation for one in layers for operation in getattr(one, "operations", ())]
    return all(
        type(one).__module__.startswith(("keras.src.layers.", "keras.src.models."))
        and type(one).__name__ != "Lambda"
        and not getattr(one, "stateful", False)
        for one in layers
    ) and all(one in layers or type(one).__name__ in _ELEMENTWISE for one in functions)


def _merged(tensor: Any) -> Any:
    """(rows, steps, ...) -> (rows * steps, ...)."""
    import tensorflow as tf

    return tf.reshape(tensor, [-1, *_sizes(tensor)[2:]])


def _parted(tensor: Any, inputs: Any) -> Any:
    """(rows * steps, ...) -> (rows, steps, ...), as many as the inputs have."""
    import tensorflow as tf

    rows, steps = inputs.shape[:2]
    leading = [-1 if rows is None else rows, -1 if steps is None else steps]
    return tf.reshape(tensor, [*(_sizes(inputs)[:2] if leading == [-1, -1] else leading), *_sizes(tensor)[1:]])


def _sizes(tensor: Any) -> list[Any]:
    """The sizes of a tensor: numbers where they are known, else as the graph works them out."""
    import tensorflow as tf

    known: list[int | None] = tensor.shape.as_list()
    shape: Any = tf.shape(tensor) if None in known else None
    return [shape[axis] if size is None else size for axis, size in enumerate(known)]


def _mapped(self: Any, inputs: Any, mask: Any) -> Any:
    """TimeDistributed step after step, for a layer in which rows may meet."""
    import tensorflow as tf

    def swapped(tensor: Any) -> Any:
        return tf.transpose(tensor, [1, 0, *range(2, len(tensor.shape))])

    def step(given: Any) -> Any:
        tensor, own_mask = given if mask is not None else (given, None)
        return self.layer.call(tensor, **_arguments(self.layer, own_mask))

    elements = swapped(inputs) if mask is None else (swapped(inputs), swapped(mask))
    shape = self.layer.compute_output_shape((inputs.shape[0], *inputs.shape[2:]))
    spec = tf.TensorSpec(shape, self.layer.compute_dtype)
    return swapped(tf.map_fn(step, elements, fn_output_signature=spec))


def _unfused_pad(original: Callable[..., Any]) -> Callable[..., Any]:
    """Zeros around volumes by an operation that TensorFlow does not join with the convolution behind it.

    Its rewriting for oneDNN takes Pad and Conv3D for one convolution with that padding, and forgets that of the
    convolution itself where it is `same`.
    """
    import tensorflow as tf

    def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
        volume = isinstance(x, tf.Tensor) and not tf.executing_eagerly() and len(x.shape) == 5
        if not volume or mode != "constant" or constant_values not in (None, 0):
            return original(x, pad_width, mode, constant_values)
        zero = tf.zeros((), x.dtype)
        return tf.raw_ops.PadV2(input=x, paddings=tf.convert_to_tensor(pad_width, tf.int32), constant_values=zero)

    return pad


def _any_size(original: Callable[..., Any]) -> Callable[..., Any]:
    """Resizing to a size that the graph works out: Keras compares it with 0 in Python, which a graph cannot."""
    import tensorflow as tf

    def resize(images: Any, size: Any, interpolation: str = "bilinear", *more: Any, **named: Any) -> Any:
        worked_out = any(isinstance(length, tf.Tensor) for length in size) and not tf.executing_eagerly()
        plain = not more and set(named) <= {"data_format", "antialias"}
        last = named.get("data_format") == "channels_last"
        if not (worked_out and plain and last and images.dtype in {tf.float32, tf.float64}):
            return original(images, size, interpolation, *more, **named)
        resized = tf.image.resize(images, tf.stack(list(size)), interpolation, antialias=named.get("antialias", False))
        return tf.cast(resized, images.dtype)  # TensorFlow computes in float32

    return resize
