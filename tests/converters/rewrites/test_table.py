"""Every row of the table of rewrites against Keras, on random arguments, in files that both runtimes ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.checkpoints.loaded import Loaded
from converters.checkpoints.loading import loaded_model
from converters.formats import Format
from converters.rewrites.table import REWRITES
from converters.signature import Signature, TensorSpec
from converters.tracing import Traced, trace
from converters.writers.onnx.write import write_onnx
from converters.writers.savedmodel import write_saved_model
from converters.writers.tflite.write import write_tflite

SOME_USES = {
    *("Einsum", "StridedSlice", "Pad", "PadV2", "BatchMatMulV2", "Real", "Imag", "ComplexAbs", "Mul", "RealDiv"),
}
"""Operations that a format lacks in some uses only, so that a model may keep others."""
Array = np.ndarray[Any, Any]
Functions = Mapping[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Case:
    """Functions of one input, that go into one model.

    Attributes:
        operations: the rows of the table that the model must hold.
        feed: drawn for a batch.
        functions: by the name of the output.
        error: the most by which a file may part from the truth, in the output's largest value; 0 is equality.
        only: the one format that lacks the operations.
        batches: for which the model is traced; None is a dynamic one.
        open: no size of the input is known.
    """

    operations: set[str]
    feed: Array
    functions: Functions
    error: float = 2e-6
    only: Format | None = None
    batches: tuple[int | None, ...] = (None, 3)
    open: bool = False

    def model(self) -> Loaded:
        names = tuple(self.functions)
        sizes = self.feed.shape[1:]
        shape = ("batch", *([f"size{k}" for k in range(len(sizes))] if self.open else sizes))
        signature = Signature(
            (TensorSpec("x", shape, self.feed.dtype.name),),
            tuple(TensorSpec(name, ("batch",), "float32") for name in names),
        )
        return Loaded(None, signature, lambda inputs: [self.functions[name](inputs[0]) for name in names], ())

    def truth(self) -> dict[str, Array]:
        import tensorflow as tf

        return {name: np.asarray(function(tf.constant(self.feed))) for name, function in self.functions.items()}


def drawn(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def numbers(*shape: int, low: int = 0, high: int = 6, dtype: str = "int32") -> Array:
    return np.random.default_rng(1).integers(low, high, shape).astype(dtype)


def resizes() -> Case:
    from keras import ops

    draw = np.random.default_rng(2)

    def resize(interpolation: str, antialias: bool, size: Sequence[int] = ()) -> Callable[[Any], Any]:
        size = size or tuple(draw.integers(2, 14, 2).tolist())
        return lambda x: ops.image.resize(x, size, interpolation=interpolation, antialias=antialias)

    kinds = [(kind, smooth) for kind in ("lanczos3", "lanczos5") for smooth in (False, True)]
    kinds += [("bicubic", True), ("bilinear", True), ("area", False), ("area", False)]
    functions = {f"{kind}{k}": resize(kind, smooth) for k, (kind, smooth) in enumerate(kinds)}
    functions["factor"] = resize("area", False, (3, 4))
    functions["one_axis"] = resize("area", False, (9, 3))
    functions["first"] = lambda x: ops.image.resize(
        ops.transpose(x, (0, 3, 1, 2)), (4, 5), interpolation="area", data_format="channels_first"
    )
    return Case({"ResizeArea", "ScaleAndTranslate"}, drawn(3, 9, 8, 2), functions)


def bicubic() -> Case:
    """ONNX has it, so the models above hold none."""
    from keras import ops

    sizes = {"down": (5, 3), "up": (13, 17), "one_axis": (9, 4)}
    functions = {
        name: lambda x, size=size: ops.image.resize(x, size, interpolation="bicubic") for name, size in sizes.items()
    }
    return Case({"ResizeBicubic"}, drawn(3, 9, 8, 2), functions, only=Format.TFLITE)


def functions_of_numbers() -> Case:
    import keras
    import tensorflow as tf
    from keras import ops

    names = ("log1p", "expm1", "erf", "arctan", "sinh", "cosh", "arcsinh", "celu", "selu", "softplus", "log_sigmoid")
    functions = {name: getattr(ops, name) for name in names}
    functions |= {"mish": keras.activations.mish, "signbit": ops.signbit, "erfc": tf.math.erfc}
    functions["logaddexp"] = lambda x: ops.logaddexp(x, 0.5 * x)
    values = np.concatenate([drawn(30) * 3, drawn(20) * 1e-6, np.array([0.0, -0.0, 20.0, -20.0])]).astype(np.float32)
    operations = {"Log1p", "Expm1", "Softplus", "Erf", "Erfc", "Atan", "Sinh", "Cosh", "Asinh", "Bitcast", "BitwiseAnd"}
    return Case(operations, values.reshape(3, -1), functions)


def functions_near_one() -> Case:
    from keras import ops

    functions = {name: getattr(ops, name) for name in ("arcsin", "arccos", "arctanh", "tan")}
    functions["arccosh"] = lambda x: ops.arccosh(1.0 + ops.abs(x))
    functions["turned"] = lambda x: ops.arctan2(x[:, :1], x)
    values = np.random.default_rng(3).uniform(-0.999, 0.999, (3, 30)).astype(np.float32)
    return Case({"Asin", "Acos", "Atanh", "Acosh", "Tan"}, values, functions)


def unusual_numbers() -> Case:
    from keras import layers, ops

    names = ("isinf", "isfinite", "isnan", "nan_to_num", "sinc", "log1p", "softsign")
    functions: dict[str, Callable[[Any], Any]] = {name: getattr(ops, name) for name in names}
    functions["guarded"] = lambda x: ops.where(x > 0, ops.log(x), 0.0)
    functions["guarded_quotient"] = lambda x: ops.where(ops.equal(x, 0.0), 7.0, 1.0 / x)
    functions["angle"] = lambda x: ops.arctan2(x, np.float32(2.0))
    functions["unit"] = layers.UnitNormalization()
    values = np.array([[0, 0, -0.0, 0], [1, -2, 3, 0], [np.inf, -np.inf, 1, np.nan]], np.float32)
    return Case({"IsInf", "Atan2", "Rsqrt", "Log1p"}, values, functions)


def codes() -> Case:
    from keras import ops

    functions: dict[str, Callable[[Any], Any]] = {
        "last": lambda x: ops.one_hot(x, 4),
        "first": lambda x: ops.one_hot(x, 4, axis=1),
        "middle": lambda x: ops.one_hot(ops.reshape(x, (-1, 2, 3)), 5, axis=2),
        "whole": lambda x: ops.one_hot(x, 4, dtype="int32"),
    }
    return Case({"OneHot"}, numbers(3, 6, low=-2), functions, error=0)


def volumes() -> Case:
    from keras import ops

    draw = np.random.default_rng(4)

    def pool(function: Callable[..., Any], padding: str) -> Callable[[Any], Any]:
        window, strides = draw.integers(1, 4, 3).tolist(), draw.integers(1, 4, 3).tolist()
        return lambda x: function(x, window, strides, padding)

    functions = {
        f"{name}_{padding}{k}": pool(function, padding)
        for name, function in (("max", ops.max_pool), ("mean", ops.average_pool))
        for padding in ("same", "valid")
        for k in range(2)
    }
    return Case({"MaxPool3D", "AvgPool3D"}, drawn(3, 5, 6, 7, 2) - 2.0, functions)


def convolutions() -> Case:
    """Dilated over three axes, dilated and transposed; and a bias along the second of five axes."""
    import tensorflow as tf
    from keras import ops

    volume, image, line, offsets = drawn(2, 2, 2, 2, 3), drawn(3, 2, 4, 2), drawn(3, 4, 2), drawn(6)
    functions: Functions = {
        "volume": lambda x: ops.conv(x, volume, dilation_rate=2),
        "uneven": lambda x: ops.conv(x, volume, padding="same", dilation_rate=(2, 1, 3)),
        "image": lambda x: ops.conv_transpose(x[:, :, :, 0], image, 1, dilation_rate=2),
        "padded": lambda x: ops.conv_transpose(x[:, :, :, 0], image, 1, "same", dilation_rate=(2, 3)),
        "line": lambda x: ops.conv_transpose(x[:, :, 0, 0], line, 1, "same", dilation_rate=3),
        "bias": lambda x: tf.nn.bias_add(x, offsets, "NCHW"),
    }
    composed = {"SpaceToBatchND", "BatchToSpaceND", "Conv2DBackpropInput", "BiasAdd"}
    return Case(composed, drawn(3, 6, 5, 4, 2), functions, only=Format.TFLITE)


def infinities() -> Case:
    """A convolution whose results are multiplied by infinity and then bounded."""
    from keras import ops

    kernel, mixed = drawn(2, 2, 2, 3), np.array([2.0, np.inf, -np.inf], np.float32)
    functions: Functions = {
        "bounded": lambda x: ops.relu6(ops.conv(x, kernel) * np.float32(np.inf)),
        "mixed": lambda x: ops.relu6(ops.conv(x, kernel) * mixed),
        "alone": lambda x: ops.relu6(x * -np.float32(np.inf)),
    }
    return Case({"Mul"}, drawn(3, 5, 4, 2), functions)


def bins() -> Case:
    from keras import layers, ops

    functions: dict[str, Callable[[Any], Any]] = {
        "digitized": lambda x: ops.digitize(x, np.array([-1.0, 0.0, 0.5])),
        "index": layers.Discretization(bin_boundaries=[-1.0, 0.0, 0.5]),
        "count": layers.Discretization(bin_boundaries=[-1.0, 0.0, 0.5], output_mode="count"),
    }
    values = drawn(3, 8)
    values[:, :4] = [-1.0, 0.0, 0.5, np.inf]
    return Case({"Bucketize", "DenseBincount"}, values, functions, error=0)


def counts(dtype: str) -> Case:
    from keras import layers, ops

    functions: dict[str, Callable[[Any], Any]] = {
        mode: layers.CategoryEncoding(7, output_mode=mode) for mode in ("multi_hot", "count")
    }
    functions["bincount"] = lambda x: ops.bincount(x, minlength=4)
    functions["weighted"] = lambda x: ops.bincount(x, weights=ops.cast(x, "float32") * 0.5, minlength=9)
    return Case({"DenseBincount"}, numbers(3, 6, dtype=dtype), functions, error=0)


def bits() -> Case:
    from keras import ops

    other = numbers(1, 8, low=-(2**31), high=2**31 - 1)
    shift = numbers(1, 8, high=31)
    divisor = numbers(1, 8, low=1, high=20) * np.array([1, -1] * 4, np.int32)
    functions: dict[str, Callable[[Any], Any]] = {
        "both": lambda x: ops.bitwise_and(x, other),
        "either": lambda x: ops.bitwise_or(x, other),
        "one": lambda x: ops.bitwise_xor(x, other),
        "none": ops.bitwise_not,
        "shifted": lambda x: ops.left_shift(x, shift),
        "modulo": lambda x: ops.mod(x, divisor),
        "quotient": lambda x: ops.floor_divide(x, divisor),
    }
    feed = numbers(3, 8, low=-(2**31), high=2**31 - 1)
    operations = {"BitwiseAnd", "BitwiseOr", "BitwiseXor", "Invert", "LeftShift", "FloorDiv", "FloorMod"}
    return Case(operations, feed, functions, error=0)


def slices() -> Case:
    from keras import ops

    def wide(x: Any) -> Any:
        return ops.reshape(x, (-1, 2, 3, 2, 4, 3))

    functions: dict[str, Callable[[Any], Any]] = {
        "rolled": lambda x: ops.roll(wide(x), (2, -1, 5), (2, 3, 4)),
        "rolled_batch": lambda x: ops.roll(x, 4, 0),
        "rolled_flat": lambda x: ops.roll(x, -50, 1),
        "last": lambda x: wide(x)[..., 1:],
        "backwards": lambda x: wide(x)[:, :, ::-1, :, -1:0:-2],
        "taken": lambda x: wide(x)[:, 1, :, -1],
        "with_new": lambda x: wide(x)[:, None, ..., 0, 1:, None],
        "batch": lambda x: wide(x)[1:],
        "padded": lambda x: ops.pad(wide(x), ((0, 0), (1, 0), (0, 0), (0, 2), (0, 0), (1, 1))),
        "padded_ones": lambda x: ops.pad(wide(x), ((0, 0), (0, 0), (0, 3), (0, 0), (0, 0), (0, 0)), constant_values=1),
        "product": lambda x: ops.matmul(wide(x)[..., :1, :], ops.swapaxes(wide(x), -1, -2)),
    }
    return Case({"Roll", "StridedSlice", "Pad", "PadV2", "BatchMatMulV2"}, drawn(3, 144), functions)


def vectors_beside_one_number() -> Case:
    """Before a dense layer at a fixed batch; what widens one number to a row."""
    import tensorflow as tf

    row, weights = np.array([2, 3, 5], np.float32), drawn(3, 4)

    def dense(x: Any) -> Any:
        return tf.reshape(tf.matmul(tf.reshape(x, (-1, 3)), weights), (-1, 11, 4))

    functions: Functions = {
        "product": lambda x: dense(x * row),
        "turned": lambda x: dense(row * x),
        "quotient": lambda x: dense(x / row),
        "divisor": lambda x: dense(row / x),
        "matrices": lambda x: dense(tf.matmul(x, row[None])),
        "transposed": lambda x: dense(tf.matmul(x, row[:, None], transpose_b=True)),
    }
    return Case({"Mul", "RealDiv", "BatchMatMulV2"}, drawn(3, 11, 1), functions, only=Format.TFLITE)


def open_sizes() -> Case:
    from keras import ops

    functions: dict[str, Callable[[Any], Any]] = {
        "mask": lambda x: ops.softmax(ops.where(x[:, None, :, :] > 0, x[:, None], -1e9)),
        "last": lambda x: x[..., None],
        "both_sides": lambda x: x[:, None, :, :, None],
        "fewer": lambda x: x[:, 1][:, None, :, None],
        "beside_a_slice": lambda x: x[1:, :, None, ::-1],
        "outer": lambda x: ops.einsum("bi,j->bij", x[:, :, 0], np.float32([1.0, 2.0])),
        "fft": lambda x: ops.fft((x, x * x))[0],
        "fft2": lambda x: ops.fft2((x, x * x))[0],
        "fft2_imaginary": lambda x: ops.fft2((x, x * x))[1],
        "ifft2": lambda x: ops.ifft2((x, x * x))[0],
    }
    return Case({"Einsum", "StridedSlice", "Real", "Imag"}, drawn(3, 5, 4), functions, open=True)


def resizes_of_open_sizes() -> Case:
    """Smaller and larger, the aspect kept or not; the file does not know of the size that it is fed."""
    from keras import ops

    kinds = [("lanczos3", True), ("lanczos3", False), ("lanczos5", True), ("bicubic", True), ("bilinear", True)]
    functions: dict[str, Callable[[Any], Any]] = {}
    for kind, smooth in kinds:
        for more in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
            options = {"interpolation": kind, "antialias": smooth, more: True}
            functions[f"{kind}_{smooth}_{more}"] = lambda x, options=options: ops.image.resize(x, (5, 13), **options)
    functions["translated"] = lambda x: ops.image.scale_and_translate(
        x, (3, 6, 17, 2), np.float32([0.7, 2.2]), np.float32([1.5, -3.0]), (1, 2), "lanczos3"
    )
    return Case({"ScaleAndTranslate"}, drawn(3, 9, 8, 2), functions, error=1e-5, open=True)


def more_resizes_of_open_sizes() -> Case:
    """For ONNX they are made from the graph that tf2onnx has."""
    from keras import ops

    functions: dict[str, Callable[[Any], Any]] = {}
    for kind in ("bicubic", "area"):
        for name, size, crop in (("down", (5, 3), False), ("up", (13, 17), True)):
            options = {"size": size, "interpolation": kind, "crop_to_aspect_ratio": crop}
            functions[f"{kind}_{name}"] = lambda x, options=options: ops.image.resize(x, **options)
    operations = {"ResizeBicubic", "ResizeArea"}
    return Case(operations, drawn(3, 9, 8, 2), functions, error=1e-5, only=Format.TFLITE, open=True)


def products_of_open_length() -> Case:
    import tensorflow as tf

    functions: dict[str, Callable[[Any], Any]] = {
        "plain": lambda x: tf.math.cumprod(x, 1),
        "backwards": lambda x: tf.math.cumprod(x, 2, exclusive=True, reverse=True),
        "exclusive": lambda x: tf.math.cumprod(x, 1, exclusive=True),
    }
    return Case({"Cumprod"}, drawn(3, 7, 3), functions, only=Format.TFLITE, open=True)


def of_nothing() -> Case:
    """Axes counted from both ends, alone and with others; what each reduction says of no values."""
    import tensorflow as tf
    from keras import ops

    functions: dict[str, Callable[[Any], Any]] = {"trapezoid": lambda x: ops.trapezoid(x[:, :1], axis=1)}
    for kind in ("Sum", "Prod", "Max", "Min", "Mean"):
        reduce = getattr(tf.raw_ops, kind)
        for axes, keep in (([1], False), ([-2], True), ([1, 2], False)):
            functions[f"{kind}{axes}"] = lambda x, reduce=reduce, axes=axes, keep=keep: tf.clip_by_value(
                reduce(input=x[:, :0], axis=axes, keep_dims=keep), -1e9, 1e9
            )
    functions["integers"] = lambda x: tf.reduce_max(tf.cast(x, tf.int32)[:, :0], 1)
    functions["all"] = lambda x: tf.reduce_all(x[:, :0] > 0, -2)
    functions["any"] = lambda x: tf.reduce_any(x[:, :0] > 0, [1, 2])
    functions["behind"] = lambda x: tf.reduce_sum(x[:, :0], -2) @ np.ones((4, 2), np.float32) + 1.0
    return Case({"Sum", "Prod", "Max", "Min", "Mean", "All", "Any"}, drawn(3, 5, 4), functions, error=0)


def quotients_of_many_axes() -> Case:
    import tensorflow as tf
    from keras import ops

    functions: dict[str, Callable[[Any], Any]] = {
        "same": lambda x: tf.math.divide_no_nan(x, tf.nn.relu(tf.math.ceil(x))),
        "wider": lambda x: tf.math.divide_no_nan(x[:, :1], tf.nn.relu(tf.math.ceil(x))),
        "narrower": lambda x: tf.math.divide_no_nan(x, tf.nn.relu(tf.math.ceil(x[..., :1]))),
        "zeros": lambda x: tf.math.divide_no_nan(x * 0.0, x * 0.0),
        "hypot": lambda x: ops.hypot(x, ops.ones_like(x)),
    }
    return Case({"DivNoNan"}, drawn(3, 2, 3, 2, 2), functions, only=Format.TFLITE)


def signs() -> Case:
    from keras import ops

    functions: dict[str, Callable[[Any], Any]] = {
        "sign": ops.sign,
        "absolute": ops.abs,
        "sign_int16": lambda x: ops.cast(ops.sign(ops.cast(x, "int16")), "int32"),
        "absolute_int8": lambda x: ops.cast(ops.abs(ops.cast(x, "int8")), "int32"),
    }
    return Case({"Sign", "Abs"}, numbers(3, 6, low=-5, dtype="int64"), functions, error=0)


def sorted_numbers() -> Case:
    import tensorflow as tf
    from keras import ops

    places = np.array([-1.0, -0.2, 0.0, 0.3, 0.3, 1.2], np.float32)
    spoilt = np.where(drawn(3, 6) > 1, np.inf, 0).astype(np.float32)
    functions: dict[str, Callable[[Any], Any]] = {
        side: lambda x, side=side: ops.reshape(ops.searchsorted(places, ops.reshape(x, (-1,)), side=side), (3, 6))
        for side in ("left", "right")
    }
    for k in (1, 3):
        functions[f"best{k}"] = lambda x, k=k: ops.in_top_k(ops.argmin(ops.abs(x), 1), x, k)
    functions["spoilt"] = lambda x: ops.in_top_k(ops.argmax(x, 1), x + spoilt[: x.shape[0]], 2)
    functions["no_target"] = lambda x: tf.raw_ops.InTopKV2(predictions=x, targets=ops.argmax(x, 1) * 2, k=3)
    values = drawn(3, 6)
    values[0, :2] = [0.3, -1.0]
    return Case({"LowerBound", "UpperBound", "InTopKV2"}, values, functions, error=0, batches=(3,))


def matrices() -> Case:
    import tensorflow as tf
    from keras import ops

    functions: dict[str, Callable[[Any], Any]] = {
        "product": lambda x: ops.cumprod(x, axis=1),
        "product_last": lambda x: ops.cumprod(x, axis=-1),
        "backwards": lambda x: tf.math.cumprod(x, 2, exclusive=True, reverse=True),
        "exclusive": lambda x: tf.math.cumprod(x, 1, exclusive=True),
        "cross": lambda x: ops.cross(x, ops.flip(x, 1)),
        "updated": lambda x: ops.slice_update(x, (0, 2, 1), x[:, :2, :1] * 2.0),
        "pushed_in": lambda x: ops.slice_update(x, (0, 6, 0), x[:, :3] * 2.0),
        "spaced": lambda x: ops.linspace(x[:, 0], x[:, 1], 5, axis=1),
    }
    for offset in (0, 1, -2):
        functions[f"diagonal{offset}"] = lambda x, offset=offset: ops.diagonal(x, offset, 1, 2)
    functions["bias"] = lambda x: tf.nn.bias_add(x, np.arange(7, dtype=np.float32), "NCHW")
    operations = {"Cumprod", "Cross", "XlaDynamicUpdateSlice", "MatrixDiagPartV3", "BroadcastArgs", "BiasAdd"}
    return Case(operations, drawn(3, 7, 3), functions)


def spectra() -> Case:
    import tensorflow as tf
    from keras import layers, ops

    functions: dict[str, Callable[[Any], Any]] = {
        "real": lambda x: ops.rfft(x)[0],
        "imaginary": lambda x: ops.rfft(x)[1],
        "padded": lambda x: ops.rfft(x, 40)[1],
        "cut": lambda x: ops.rfft(x, 15)[0],
        "frames": lambda x: ops.stft(x, 16, 8, 16)[1],
        "absolute": lambda x: tf.abs(tf.signal.rfft(x, [24])),
        "absolute_of_parts": lambda x: tf.abs(tf.signal.fft(tf.complex(x, -x))),
        "fft": lambda x: ops.fft((x, x * x))[0],
        "fft_imaginary": lambda x: ops.fft((x, x * x))[1],
        "back": lambda x: ops.irfft((x, x * x)),
        "back_odd": lambda x: ops.irfft((x, x * x), 13),
        "again": lambda x: ops.irfft(ops.rfft(x)),
        "wave": lambda x: ops.istft(ops.stft(x, 16, 8, 16), 16, 8, 16),
        "mel": layers.MelSpectrogram(num_mel_bins=4, sampling_rate=8000, fft_length=16, sequence_stride=8),
    }
    return Case({"Real", "Imag", "ComplexAbs", "IRFFT"}, drawn(3, 32), functions)


def colours() -> Case:
    from keras import ops

    values = np.random.default_rng(5).uniform(0, 1, (3, 5, 6, 3)).astype(np.float32)
    values[:, :, 0] = values[:, :, 0, :1]  # grey
    values[:, 0, 1] = 0
    functions = {"hsv": ops.image.rgb_to_hsv, "rgb": ops.image.hsv_to_rgb}
    return Case({"RGBToHSV", "HSVToRGB"}, values, functions)


def extremes() -> Case:
    from keras import ops

    functions = {
        f"{name}_{axis}_{keepdims}": lambda x, name=name, axis=axis, keepdims=keepdims: getattr(ops, name)(
            ops.softmax(x), axis=axis, keepdims=keepdims
        )
        for name in ("argmax", "argmin")
        for axis in (None, 1, -1)
        for keepdims in (False, True)
    }
    return Case(set(), drawn(3, 4, 5), functions, error=0)


CASES: dict[str, Callable[[], Case]] = {
    "resizes": resizes,
    "bicubic": bicubic,
    "functions_of_numbers": functions_of_numbers,
    "functions_near_one": functions_near_one,
    "unusual_numbers": unusual_numbers,
    "codes": codes,
    "volumes": volumes,
    "convolutions": convolutions,
    "infinities": infinities,
    "bins": bins,
    "counts_int32": lambda: counts("int32"),
    "counts_int64": lambda: counts("int64"),
    "bits": bits,
    "slices": slices,
    "extremes": extremes,
    "sorted_numbers": sorted_numbers,
    "matrices": matrices,
    "colours": colours,
    "spectra": spectra,
    "vectors_beside_one_number": vectors_beside_one_number,
    "open_sizes": open_sizes,
    "signs": signs,
    "resizes_of_open_sizes": resizes_of_open_sizes,
    "more_resizes_of_open_sizes": more_resizes_of_open_sizes,
    "products_of_open_length": products_of_open_length,
    "of_nothing": of_nothing,
    "quotients_of_many_axes": quotients_of_many_axes,
}
COMPARED = [
    pytest.param(name, batch, fmt, id=f"{name}-{batch or 'dynamic'}-{fmt.value}")
    for name in CASES
    for batch in (None, 3)
    for fmt in (Format.TFLITE, Format.ONNX)
]


@pytest.mark.parametrize(("name", "batch", "fmt"), COMPARED)
def test_a_file_computes_what_keras_computes(name: str, batch: int | None, fmt: Format, tmp_path: Path) -> None:
    case = CASES[name]()
    if case.only not in {None, fmt} or batch not in case.batches:
        return
    traced = trace(case.model(), batch)
    lacking = {row.operation for row in REWRITES if fmt in row.lacking}
    assert case.operations <= kinds_in(traced)
    made = traced.composed_for(fmt)
    assert made.signature == traced.signature
    assert not (case.operations & lacking - SOME_USES) & kinds_in(made)
    values = run_tflite(made, case.feed, tmp_path) if fmt is Format.TFLITE else run_onnx(made, case.feed, tmp_path)
    for output, truth in case.truth().items():
        assert values[output].shape == truth.shape, output
        if not case.error:
            np.testing.assert_array_equal(values[output], truth, err_msg=output)
        else:
            scale = max(float(np.nanmax(np.abs(truth))), 1.0)
            np.testing.assert_allclose(values[output], truth, rtol=1e-5, atol=case.error * scale, err_msg=output)


def test_gelu_stays_one_operation_of_tflite(tmp_path: Path) -> None:
    """The converter has a pattern for it, which a composed error function would not fit."""
    from keras import ops

    half = np.float32(0.5**0.5)
    functions: Functions = {
        "keras": lambda x: ops.gelu(x, approximate=False),
        "by_hand": lambda x: 0.5 * x * (1.0 + ops.erf(x * half)),
        "divided": lambda x: 0.5 * x * (1.0 + ops.erf(x / np.float32(2**0.5))),
    }
    traced = trace(Case(set(), drawn(3, 4), functions).model())
    assert traced.composed_for(Format.TFLITE) is traced
    other: Functions = {"turned": lambda x: x * (0.5 * (1.0 + ops.erf(x * half)))}
    case = Case({"Erf"}, drawn(3, 4), other)
    made = trace(case.model()).composed_for(Format.TFLITE)
    np.testing.assert_allclose(run_tflite(made, case.feed, tmp_path)["turned"], case.truth()["turned"], atol=1e-6)


def test_within_loops_and_branches_too(tmp_path: Path) -> None:
    from keras import ops

    functions: Functions = {
        "looped": lambda x: ops.map(lambda row: ops.log1p(ops.exp(row)) + ops.erf(row), x),
        "chosen": lambda x: ops.cond(ops.sum(x) > 1e6, lambda: x, lambda: ops.expm1(x) + ops.arctan(x)),
    }
    case = Case({"Log1p", "Erf", "Expm1", "Atan"}, drawn(3, 4), functions)
    traced = trace(case.model())
    for fmt, run in ((Format.TFLITE, run_tflite), (Format.ONNX, run_onnx)):
        values = run(traced.composed_for(fmt), case.feed, tmp_path)
        for name, truth in case.truth().items():
            np.testing.assert_allclose(values[name], truth, rtol=1e-5, atol=1e-6)


def test_a_model_without_such_operations_is_left_alone(zoo: Any) -> None:
    traced = trace(loaded_model(zoo.ZOO["convolutional"]()))
    assert all(traced.composed_for(fmt) is traced for fmt in (Format.TFLITE, Format.ONNX))


def test_every_row_of_the_table_is_held_against_keras() -> None:
    held = set[str]().union(*(make().operations for make in CASES.values()))
    assert held == {row.operation for row in REWRITES}


def test_the_documentation_shows_the_table() -> None:
    names = {Format.TFLITE: "TFLite", Format.ONNX: "ONNX"}
    lines = ["| operation | composed for | what stands for it | error |", "|---|---|---|---|"]
    for row in REWRITES:
        formats, becomes = ", ".join(names[fmt] for fmt in row.lacking), row.becomes.replace("|", "\\|")
        lines.append(f"| `{row.operation}` | {formats} | {becomes} | {row.error} |")
    page = (Path(__file__).parents[3] / "docs" / "precisions.md").read_text()
    assert "\n".join(lines) in page


def kinds_in(traced: Traced) -> set[str]:
    return {operation.type for operation in traced.concrete.graph.get_operations()}


def run_tflite(traced: Traced, feed: Array, folder: Path) -> Mapping[str, Array]:
    from ai_edge_litert.interpreter import Interpreter

    def saved() -> Path:
        write_saved_model(traced, folder / "saved")
        return folder / "saved"

    write_tflite(traced, saved, folder / "m.tflite")
    values: Mapping[str, Array] = Interpreter(str(folder / "m.tflite")).get_signature_runner()(x=feed)
    return values


def run_onnx(traced: Traced, feed: Array, folder: Path) -> Mapping[str, Array]:
    import onnxruntime

    write_onnx(traced, folder / "m.onnx")
    session = onnxruntime.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": feed}), strict=True))
