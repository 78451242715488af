"""The cost of a reduced precision: the checkpoint run with the rounding of that precision. Worker side.

Weights lie on the precision's grid, and so does what enters each operation that computes in it. Scales fit every
channel of what they round, so this is the rounding that so many bits cannot avoid; a file whose scales fit worse, or
that does something else besides, shows a larger error. The grid is moved a little from draw to draw (`DRAWS`), since
the error of one deterministic rounding is a sample of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.errors import MisfitError, words_of
from converters.formats import Precision
from validate.compat.keras import OPERATION_CALL
from validate.runtimes.devices import Arithmetic

DRAWS = (1.0, 1.09, 0.93)
"""By how much each draw's steps are wider: enough to decide most roundings anew, too little to change their size."""

_HALF_MAX = 65504.0
_TF32_LOST = 13
"""Bits of a float32 that TF32 does not keep."""

_UNROUNDED_OPERATIONS = {
    "BatchNormalization", "ReLU", "LeakyReLU", "PReLU", "Activation", "Softmax", "Dropout", "SpatialDropout2D",
    "Flatten", "Reshape", "Permute", "Rescaling", "Normalization", "InputLayer", "Identity", "ZeroPadding2D",
    "Cropping2D", "GetItem",
}  # fmt: skip
"""Operations that a converter fuses into the one before, or that only move numbers: nothing is rounded between."""


@dataclass(frozen=True)
class Grid:
    """How a precision rounds.

    Attributes:
        weights: bits of a weight; None is floating point, for activations too.
        activations: bits of an activation.
        all_operations: all operations compute so, not only those with weights.
        block: so many weights of a dense layer share a scale; None is a scale for each output channel.
        floating: the floating point of weights and activations, where they are not integers.
    """

    weights: int | None
    activations: int
    all_operations: bool
    block: int | None = None
    floating: Arithmetic = Arithmetic.FLOAT16


GRIDS: dict[Precision | Arithmetic, Grid] = {
    Precision.FLOAT16: Grid(None, 16, True),
    Arithmetic.BFLOAT16: Grid(None, 16, True, floating=Arithmetic.BFLOAT16),
    Arithmetic.TF32: Grid(None, 19, False, floating=Arithmetic.TF32),
    Precision.DYNAMIC_INT8: Grid(8, 8, False),
    Precision.INT8: Grid(8, 8, True),
    Precision.INT16X8: Grid(8, 16, True),
    Precision.DYNAMIC_INT4: Grid(4, 8, False),
    Precision.DYNAMIC_INT4_B32: Grid(4, 8, False, 32),
}  # fmt: skip


class Rounded:
    """A model's function with the rounding of one precision traced in.

    Args:
        trace: gives the tapped function of the model as it is now.
    """

    def __init__(self, model: Any, grid: Grid, trace: Callable[[], Any]) -> None:
        import tensorflow as tf

        self._model, self._grid = model, grid
        self._step_scale = tf.Variable(1.0, trainable=False, dtype="float32")
        with _rounding_inputs(grid, self._step_scale):
            self._function = trace()

    def run(self, inputs: Mapping[str, Array], step_scale: float) -> tuple[Arrays, Arrays]:
        """Outputs and logits with the grid's steps so many times as wide; the weights are back in place afterwards."""
        self._step_scale.assign(step_scale)
        with _rounded_weights(self._model, self._grid, step_scale):
            outputs, logits = self._function.run(inputs)
        if self._grid.weights is None or not self._grid.all_operations:
            return outputs, logits
        return tuple(
            {k: _rounded_output(v, self._grid.activations) for k, v in side.items()} for side in (outputs, logits)
        )  # type: ignore[return-value]


def _rounded_output(values: Array, bits: int) -> Array:
    """Rounds what leaves the file, with one scale for the whole tensor."""
    low, high = min(0.0, float(values.min(initial=0.0))), max(0.0, float(values.max(initial=0.0)))
    step = (high - low) / (2**bits - 1) or 1.0
    rounded: Array = np.round(values / step) * step
    return rounded


@contextmanager
def _rounded_weights(model: Any, grid: Grid, step_scale: float) -> Iterator[None]:
    originals = [(weight, np.array(weight.numpy())) for weight in model.weights if "float" in str(weight.dtype)]
    if grid.weights is not None:
        originals = [(weight, value) for weight, value in originals if value.ndim >= 2]
    try:
        for weight, value in originals:
            weight.assign(_on_grid(value, str(weight.path), grid, step_scale))
        yield
    finally:
        for weight, value in originals:
            weight.assign(value)


def _on_grid(value: Array, path: str, grid: Grid, step_scale: float) -> Array:
    if grid.weights is None:
        rounded_floats: Array = _in_floats(value * step_scale, grid).numpy() / step_scale
        return rounded_floats.astype(value.dtype)
    blocks = value
    if grid.block is not None and value.ndim == 2 and value.shape[0] % grid.block == 0:
        blocks = value.reshape(-1, grid.block, value.shape[1])
    axes = tuple(range(value.ndim - 1)) if blocks is value else (1,)
    if "depthwise" in path:  # height, width, channels, multiplier
        axes = tuple(range(value.ndim - 2))
    elif "transpose" in path:  # height, width, output channels, input channels
        axes = (*range(value.ndim - 2), value.ndim - 1)
    top = np.abs(blocks).max(axis=axes, keepdims=True)
    step = np.where(top > 0, top * step_scale / (2 ** (grid.weights - 1) - 1), 1.0)
    rounded: Array = (np.round(blocks / step) * step).reshape(value.shape).astype(value.dtype)
    return rounded


@contextmanager
def _rounding_inputs(grid: Grid, step_scale: Any) -> Iterator[None]:
    """Each Keras operation called within the block gets its floating inputs rounded where the precision does that.

    Raises:
        MisfitError: this Keras cannot be made to.
    """
    with OPERATION_CALL.required().replaced(lambda original: _rounding(original, grid, step_scale)):
        yield


def _rounding(original: Callable[..., Any], grid: Grid, step_scale: Any) -> Callable[..., Any]:
    import keras
    import tensorflow as tf

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, keras.Function | keras.Sequential) or not _rounds(self, grid):
            return original(self, *args, **kwargs)

        def round_input(value: Any) -> Any:
            is_activation = isinstance(value, tf.Tensor) and value.dtype.is_floating and (value.shape.rank or 0) >= 2
            return _activation(value, grid, step_scale) if is_activation else value

        args, kwargs = tf.nest.map_structure(round_input, (args, kwargs))
        return original(self, *args, **kwargs)

    return call


def _rounds(operation: Any, grid: Grid) -> bool:
    if grid.all_operations:
        return type(operation).__name__ not in _UNROUNDED_OPERATIONS
    return any(hasattr(operation, name) for name in ("kernel", "depthwise_kernel", "cell"))


def _activation(value: Any, grid: Grid, step_scale: Any) -> Any:
    import tensorflow as tf

    step_scale = tf.cast(step_scale, value.dtype)
    if grid.weights is None:
        return _in_floats(value * step_scale, grid) / step_scale
    axes = list(range(value.shape.rank - 1))
    low = tf.minimum(tf.reduce_min(value, axis=axes, keepdims=True), 0)
    high = tf.maximum(tf.reduce_max(value, axis=axes, keepdims=True), 0)
    step = (high - low) * step_scale / (2**grid.activations - 1)
    return tf.round(tf.math.divide_no_nan(value, step)) * step


def _in_floats(value: Any, grid: Grid) -> Any:
    """Values as the lesser floating point has them, in their own type."""
    import tensorflow as tf

    value = tf.convert_to_tensor(value)
    if grid.floating is Arithmetic.TF32:  # float32 with 10 bits behind the point: half of the 13 that go is added first
        bits = tf.bitcast(tf.cast(value, "float32"), "int32")
        kept = tf.bitwise.bitwise_and(bits + (1 << (_TF32_LOST - 1)), -(1 << _TF32_LOST))
        return tf.cast(tf.bitcast(kept, "float32"), value.dtype)
    if grid.floating is Arithmetic.FLOAT16:
        value = tf.clip_by_value(value, -_HALF_MAX, _HALF_MAX)
    return tf.cast(tf.cast(value, str(grid.floating)), value.dtype)


def run_rounded(
    model: Any,
    trace: Callable[[], Any],
    precisions: Sequence[Precision | Arithmetic],
    write: Callable[[str, Any], None],
) -> dict[str, str]:
    """Has `write(name, run)` write what each precision gives, by draw; names are `<precision>-<draw>`.

    Returns:
        By precision that could not be emulated, why.
    """
    reasons: dict[str, str] = {}
    for precision in precisions:
        try:
            rounded = Rounded(model, GRIDS[precision], trace)
            for k, step_scale in enumerate(DRAWS):
                write(f"{precision}-{k}", partial(rounded.run, step_scale=step_scale))
        except MisfitError as cause:
            reasons[str(precision)] = cause.message.rstrip(".")
        except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError) as cause:
            reasons[str(precision)] = f"{type(cause).__name__}: {words_of(cause)}"
    return reasons


def emulated(folder: Path, precision: Precision | Arithmetic) -> list[Path]:
    """The folders that `run_rounded` had written for a precision; none where it could not be emulated."""
    return [path for k in range(len(DRAWS)) if (path := folder / f"{precision}-{k}").is_dir()]
