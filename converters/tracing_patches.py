"""Keras' TensorFlow backend with the shape arithmetic taken out, while a model is traced.

Every replacement computes the same numbers as what it replaces; only the graph around them gets smaller.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from converters.compat import keras, tensorflow
from converters.tracing_loops import between_two
from converters.tracing_repeats import lean_repeat
from converters.unknown_sizes import averaged, cut, framed, lean_tensordot, maximal, settled_quantile, uncropped


@contextlib.contextmanager
def lean_backend() -> Iterator[None]:
    """While open, shapes whose only unknown size is the batch are written with -1, without shape arithmetic.

    Keras asks for `(shape(x)[0], 1, 1, C)` in Reshape and for a tensordot in Dense on images; both cost every format a
    chain of SHAPE, GATHER and PACK, and -1 in a constant says the same.
    """
    replacements = {
        keras.RESHAPE: _lean_reshape,
        keras.REPEAT: lean_repeat,
        keras.MATMUL: _lean_matmul,
        tensorflow.EINSUM: _lean_einsum,
        keras.CONV: _plain_conv,
        keras.RELU: _plain_relu,
        keras.NORMALIZATION: _lean_normalization,
        keras.AVERAGED_TO_A_SIZE: averaged,
        keras.LARGEST_TO_A_SIZE: maximal,
        keras.TENSORDOT: lean_tensordot,
        keras.SPLIT: cut,
        keras.SPECTRUM: framed,
        keras.CROP: uncropped,
        keras.QUANTILE: settled_quantile,
        keras.SWITCH: between_two,
        **dict.fromkeys(keras.EXTREMES, _plain_extreme),
    }
    with contextlib.ExitStack() as stack:
        for patch, make in replacements.items():
            stack.enter_context(patch.replaced(make))
        yield


def _lean_reshape(original: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def reshape(x: Any, newshape: Any) -> Any:
        if isinstance(newshape, list | tuple):
            sizes = [-1 if tf.is_tensor(d) else int(d) for d in newshape]
            if sizes.count(-1) == 1 and all(d > 0 for d in sizes if d != -1):
                newshape = tuple(sizes)
        return original(x, newshape)

    return reshape


def _plain_conv(original: Callable[..., Any]) -> Callable[..., Any]:
    """TensorFlow's own convolution where it can do it.

    Keras wraps grouped convolutions in an XLA function that no format can look into, and takes a detour of Python for
    the others that costs as much as the operation's whole tracing.
    """
    import tensorflow as tf

    direct = all(part.usable() for part in keras.DIRECT)

    def conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:
        if data_format == "channels_last" and len(inputs.shape) == 4:
            if not (direct and _is_plain(inputs) and _is_float(kernel)):
                return tf.nn.conv2d(inputs, kernel, strides, padding.upper(), dilations=dilation_rate)
            steps, gaps = (list(n) if isinstance(n, list | tuple) else [n, n] for n in (strides, dilation_rate))
            return _float32_operation(
                "Conv2D",
                inputs,
                _variable_value(kernel),
                padding=padding.upper().encode(),
                strides=[1, *steps, 1],
                dilations=[1, *gaps, 1],
            )
        grouped = data_format == "channels_last" and inputs.shape[-1] != kernel.shape[-2]
        if grouped and len(inputs.shape) < 5:
            return tf.nn.convolution(inputs, kernel, strides, padding.upper(), dilations=dilation_rate)
        if grouped and inputs.shape[-1] is not None:  # the three-dimensional kernel knows no groups
            groups = inputs.shape[-1] // kernel.shape[-2]
            parts = zip(tf.split(inputs, groups, -1), tf.split(kernel, groups, -1), strict=True)
            return tf.concat([original(x, k, strides, padding, data_format, dilation_rate) for x, k in parts], -1)
        return original(inputs, kernel, strides, padding, data_format, dilation_rate)

    return conv


def _plain_relu(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: _float32_operation("Relu", x) if _is_plain(x) else original(x)


def _plain_extreme(original: Callable[..., Any]) -> Callable[..., Any]:
    """ArgMax or ArgMin, which every format has.

    Keras takes -0.0 for smaller than 0.0, for which it looks at bits that no format can read. They are equal here, as
    everywhere else in TensorFlow, so a tie of the two goes to the first.
    """
    import tensorflow as tf

    operation = tf.argmax if original.__name__ == "argmax" else tf.argmin

    def extreme(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_floating or x.shape.rank in (0, None):
            return original(x, axis, keepdims)
        flat = tf.reshape(x, [-1]) if axis is None else x
        index = operation(flat, axis=0 if axis is None else axis, output_type=tf.int32)
        if not keepdims:
            return index
        return tf.reshape(index, [1] * x.shape.rank) if axis is None else tf.expand_dims(index, axis)

    return extreme


def _lean_normalization(original: Callable[..., Any]) -> Callable[..., Any]:
    """Batch normalization in inference as TensorFlow's operations alone: Keras casts and reshapes four vectors first.

    The operations and their order are those of `tf.nn.batch_normalization`, so the numbers are the same to the bit. A
    third of the time that tracing a convolutional network takes went into Python around them.
    """
    import tensorflow as tf
    from keras import layers

    constants: dict[tuple[Any, float], Any] = {}  # one epsilon a graph serves all its batch norms

    def epsilon(graph: Any, value: float) -> Any:
        if (graph, value) not in constants:
            constants[graph, value] = tf.constant(value, tf.float32)
        return constants[graph, value]

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        plain = type(self) is layers.BatchNormalization and mask is None and not (training and self.trainable)
        single = self.compute_dtype == self.variable_dtype == "float32" and _is_plain(inputs)
        if not (plain and single and self.axis in (-1, len(inputs.shape) - 1)):
            return original(self, inputs, training=training, mask=mask)
        mean, variance = _variable_value(self.moving_mean), _variable_value(self.moving_variance)
        factor = _float32_operation(
            "Rsqrt", _float32_operation("AddV2", variance, epsilon(tf.compat.v1.get_default_graph(), self.epsilon))
        )
        if self.scale:
            factor = _float32_operation("Mul", factor, _variable_value(self.gamma))
        if self.center:
            shift = _float32_operation("Sub", _variable_value(self.beta), _float32_operation("Mul", mean, factor))
        else:
            shift = _float32_operation("Mul", _float32_operation("Neg", mean), factor)
        return _float32_operation("AddV2", _float32_operation("Mul", inputs, factor), shift)

    return call


def _is_plain(x: Any) -> bool:
    """A float32 tensor of the graph that is being traced, which `_float32_operation` takes without conversions."""
    import tensorflow as tf

    return isinstance(x, tf.Tensor) and hasattr(x, "op") and x.dtype == tf.float32


def _is_float(variable: Any) -> bool:
    """A float32 Keras variable that no mixed precision casts on its way into an operation."""
    from keras import Variable

    return isinstance(variable, Variable) and variable.dtype == "float32" and not keras.is_cast(variable)


def _variable_value(variable: Any) -> Any:
    """The value of a float32 Keras variable, by TensorFlow's variable behind it."""
    import tensorflow as tf

    graph, resource = tf.compat.v1.get_default_graph(), keras.variable_behind(variable)
    graph.watch_variable(resource)
    return _operation("ReadVariableOp", (graph.capture(resource.handle, name="resource"),), "dtype", {})


def _float32_operation(kind: str, *inputs: Any, **attributes: Any) -> Any:
    """One float32 operation, put into the graph directly.

    TensorFlow's public function for it looks up the operation's definition, converts what are tensors already and tries
    every dispatcher: more than half of what an operation costs while tracing.
    """
    return _operation(kind, inputs, "T", attributes)


def _operation(kind: str, inputs: Sequence[Any], dtype_key: str, attributes: dict[str, bytes | list[int]]) -> Any:
    import tensorflow as tf
    from tensorflow.core.framework.attr_value_pb2 import AttrValue

    values = {dtype_key: AttrValue(type=tf.float32.as_datatype_enum)}
    for name, value in attributes.items():
        values[name] = AttrValue(s=value) if isinstance(value, bytes) else AttrValue(list=AttrValue.ListValue(i=value))
    return tensorflow.create_operation(kind, inputs, tf.float32, values)


def _lean_matmul(original: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def matmul(x1: Any, x2: Any) -> Any:
        shapes = [getattr(x, "shape", None) for x in (x1, x2)]
        plain = all(isinstance(s, tf.TensorShape | tuple) for s in shapes) and not isinstance(x1, tf.SparseTensor)
        if not plain or len(shapes[0] or ()) < 3 or len(shapes[1] or ()) != 2:
            return original(x1, x2)
        sizes = list(x1.shape)
        if any(d is None for d in sizes[1:]) or "int" in str(x1.dtype):
            return original(x1, x2)
        flat = original(tf.reshape(x1, (-1, sizes[-1])), x2)
        return tf.reshape(flat, (-1, *sizes[1:-1], flat.shape[-1]))

    return matmul


def _lean_einsum(original: Callable[..., Any]) -> Callable[..., Any]:
    """Einsum of two tensors as one matrix product: what attention needs.

    TFLite spells einsums out in more operations (an attention layer in 39 instead of 37). ONNX has an operation of its
    own, and pays four nodes for the transposes.
    """
    import tensorflow as tf

    def einsum(subscripts: Any, *operands: Any, **kwargs: Any) -> Any:
        plan = _EinsumPlan.of(subscripts, operands) if len(operands) == 2 else None
        if plan is None or any("int" in str(x.dtype) for x in operands):
            return original(subscripts, *operands, **kwargs)
        first, second = (tf.convert_to_tensor(x) for x in operands)
        product = tf.matmul(plan.arranged(first, 0), plan.arranged(second, 1))
        return plan.finished(product)

    return einsum


class _EinsumPlan:
    """Labels of a two-operand einsum, sorted into what a matrix product knows: batch, rows, inner, columns."""

    def __init__(self, terms: Sequence[str], output: str, sizes: dict[str, int | None]) -> None:
        self.terms, self.output, self.sizes = terms, output, sizes
        first, second = terms
        self.batch = [c for c in first if c in second and c in output]
        self.inner = [c for c in first if c in second and c not in output]
        self.rows = [c for c in first if c not in second]
        self.columns = [c for c in second if c not in first]

    @classmethod
    def of(cls, subscripts: Any, operands: Sequence[Any]) -> _EinsumPlan | None:
        """None where a label repeats, is summed alone, or where sizes are unknown in a way that -1 cannot say."""
        text = str(subscripts).replace(" ", "")
        if "->" not in text or "." in text:
            return None
        inputs, output = text.split("->")
        terms = inputs.split(",")
        plain = len(terms) == 2 and all(len({*t}) == len(t) for t in terms)
        if not plain or [len(t) for t in terms] != [len(x.shape) for x in operands]:
            return None
        sizes: dict[str, int | None] = {}
        for term, operand in zip(terms, operands, strict=True):
            for label, size in zip(term, operand.shape, strict=True):
                sizes[label] = sizes.get(label) or size
        plan = cls(terms, output, sizes)
        inner_sizes_known = bool(plan.inner) and all(sizes[c] is not None for c in [*plan.inner, *plan.columns])
        complete = sorted(output) == sorted([*plan.batch, *plan.rows, *plan.columns])
        unknown = [c for c in output if sizes[c] is None]
        return plan if inner_sizes_known and complete and len(unknown) <= 1 else None

    def arranged(self, x: Any, side: int) -> Any:
        """Operand 0 as (batch..., rows, inner), operand 1 as (batch..., inner, columns)."""
        first, second = (self.rows, self.inner) if side == 0 else (self.inner, self.columns)
        order = [*self.batch, *first, *second]
        x = self._transposed(x, self.terms[side], order)
        if len(first) == len(second) == 1:
            return x
        return self._reshaped(x, [*([c] for c in self.batch), first, second])

    def finished(self, product: Any) -> Any:
        """The product with its rows and columns spread out again, in the output's order."""
        order = [*self.batch, *self.rows, *self.columns]
        if len(self.rows) != 1 or len(self.columns) != 1:
            product = self._reshaped(product, [[c] for c in order])
        return self._transposed(product, "".join(order), list(self.output))

    def _transposed(self, x: Any, labels: str, order: Sequence[str]) -> Any:
        import tensorflow as tf

        return x if list(labels) == list(order) else tf.transpose(x, [labels.index(c) for c in order])

    def _reshaped(self, x: Any, groups: Sequence[Sequence[str]]) -> Any:
        import tensorflow as tf

        return tf.reshape(x, [self._size(group) for group in groups])

    def _size(self, group: Sequence[str]) -> int:
        size = 1
        for label in group:
            length = self.sizes[label]
            if length is None:
                return -1
            size *= length
        return size
