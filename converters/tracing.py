"""A loaded model -> the one traced function that every format is made from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from converters.checkpoints.loading import Loaded
from converters.errors import RefusedError, StepError
from converters.signature import BATCH, Signature, TensorSpec


@dataclass(frozen=True)
class Traced:
    """One concrete function and what it needs to live.

    Attributes:
        module: a `tf.Module` that owns the variables in a stable order and the function; what SavedModel stores.
        concrete: flat inputs in signature order -> dict of outputs by name.
        signature: as the artifacts will have it.
        recurrent: the graph has a loop (LSTM, GRU), so formats may hold it only in part.
    """

    module: Any
    concrete: Any
    signature: Signature
    recurrent: bool


def trace(loaded: Loaded, batch: int | None = None) -> Traced:
    """Traces once, in inference mode.

    Args:
        batch: the fixed batch size; None leaves the batch dynamic.

    Raises:
        RefusedError: the model's Python code cannot be traced into a graph.
        StepError: TensorFlow fails while it traces.
    """
    import tensorflow as tf

    signature = _with_batch(loaded.signature, batch)
    specs = [_tensor_spec(spec) for spec in signature.inputs]
    names = signature.output_names
    name_index = {name: index for index, name in enumerate(names)}

    def serve(*tensors: Any) -> dict[str, Any]:
        with _lean_shapes():
            results = loaded.function(tensors)
        return {name: tf.identity(value, name=f"output_{name_index[name]}")
                for name, value in zip(names, results, strict=True)}  # fmt: skip

    module = tf.Module()
    module.variables_in_order = loaded.variables
    module.serve = tf.function(serve, input_signature=specs, autograph=False)
    try:
        concrete = module.serve.get_concrete_function()
    except (TypeError, NotImplementedError) as cause:
        raise RefusedError(f"The model cannot be traced into a graph ({_first_line(cause)}).",
                           next_step="Its code depends on Python values: rewrite that layer with keras.ops.",
                           step="trace") from cause  # fmt: skip
    except (ValueError, RuntimeError, tf.errors.OpError) as cause:
        raise StepError(f"Tracing the model failed ({_first_line(cause)}).",
                        next_step="Call the model on a batch in Keras first: it has to run there.",
                        step="trace") from cause  # fmt: skip
    return Traced(module, concrete, _settled(signature, concrete), _has_loop(concrete))


def _first_line(cause: BaseException) -> str:
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}"[:300]


def _with_batch(signature: Signature, batch: int | None) -> Signature:
    if batch is None:
        return signature

    def fixed(spec: TensorSpec) -> TensorSpec:
        return TensorSpec(spec.name, tuple(batch if d == BATCH else d for d in spec.shape), spec.dtype)

    return Signature(tuple(map(fixed, signature.inputs)), tuple(map(fixed, signature.outputs)))


def _tensor_spec(spec: TensorSpec) -> Any:
    import tensorflow as tf

    shape = [d if isinstance(d, int) else None for d in spec.shape]
    return tf.TensorSpec(shape, tf.dtypes.as_dtype(spec.dtype), name=spec.name)


def _settled(signature: Signature, concrete: Any) -> Signature:
    """The signature with output dimensions that tracing found out to be fixed (or unknown)."""
    from converters.checkpoints.loading import shape_of

    outputs = []
    for spec in signature.outputs:
        found = concrete.structured_outputs[spec.name]
        shape = spec.shape if found.shape.rank is None else shape_of(spec.name, found.shape.as_list())
        outputs.append(TensorSpec(spec.name, _merged(spec.shape, shape), found.dtype.name))
    return Signature(signature.inputs, tuple(outputs))


def _merged(declared: Sequence[int | str], found: Sequence[int | str]) -> tuple[int | str, ...]:
    if len(declared) != len(found):
        return tuple(found)
    return tuple(d if isinstance(d, int) else f for d, f in zip(declared, found, strict=True))


def _has_loop(concrete: Any) -> bool:
    definition = concrete.graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return any(node.op in {"While", "StatelessWhile", "TensorListReserve"} for node in nodes)


@contextlib.contextmanager
def _lean_shapes() -> Iterator[None]:
    """While open, shapes whose only unknown size is the batch are written with -1, without shape arithmetic.

    Keras asks for `(shape(x)[0], 1, 1, C)` in Reshape and for a tensordot in Dense on images; both cost every format a
    chain of SHAPE, GATHER and PACK, and -1 in a constant says the same.
    """
    from keras.src.backend.tensorflow import nn
    from keras.src.backend.tensorflow import numpy as backend

    originals = backend.reshape, backend.matmul, nn.conv
    backend.reshape, backend.matmul = _lean_reshape(backend.reshape), _lean_matmul(backend.matmul)
    nn.conv = _plain_grouped(nn.conv)
    try:
        yield
    finally:
        backend.reshape, backend.matmul, nn.conv = originals


def _lean_reshape(original: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def reshape(x: Any, newshape: Any) -> Any:
        if isinstance(newshape, list | tuple):
            sizes = [-1 if tf.is_tensor(d) else int(d) for d in newshape]
            if sizes.count(-1) == 1 and all(d > 0 for d in sizes if d != -1):
                newshape = tuple(sizes)
        return original(x, newshape)

    return reshape


def _plain_grouped(original: Callable[..., Any]) -> Callable[..., Any]:
    """Keras wraps grouped convolutions in an XLA function that no format can look into; TensorFlow runs them plain."""
    import tensorflow as tf

    def conv(inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None,
             dilation_rate: Any = 1) -> Any:  # fmt: skip
        grouped = data_format == "channels_last" and inputs.shape[-1] != kernel.shape[-2]
        if grouped and len(inputs.shape) < 5:  # the three-dimensional kernel does need XLA
            return tf.nn.convolution(inputs, kernel, strides, padding.upper(), dilations=dilation_rate)
        return original(inputs, kernel, strides, padding, data_format, dilation_rate)

    return conv


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
