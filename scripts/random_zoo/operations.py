"""Steps of `keras.ops`: what functional models of Keras 3 call on tensors directly."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from keras import ops

_POINTWISE: dict[str, Callable[[Any], Any]] = {
    "abs": ops.abs,
    "arccos": lambda x: ops.arccos(ops.tanh(x) * 0.9),
    "arccosh": lambda x: ops.arccosh(ops.abs(x) + 1.1),
    "arcsin": lambda x: ops.arcsin(ops.tanh(x) * 0.9),
    "arctan": ops.arctan,
    "arctan2": lambda x: ops.arctan2(x, 0.7 - x),
    "arctanh": lambda x: ops.arctanh(ops.tanh(x) * 0.9),
    "bitwise": lambda x: ops.cast(ops.bitwise_and(ops.cast(x * 9, "int32"), 5), x.dtype) + x,
    "cbrt": lambda x: ops.cbrt(ops.abs(x) + 0.1),
    "deg2rad": ops.deg2rad,
    "digitize": lambda x: ops.cast(ops.digitize(x, [-0.5, 0.1, 0.8]), x.dtype) + x,
    "divide_no_nan": lambda x: ops.divide_no_nan(x, ops.relu(ops.ceil(x))),
    "arcsinh": ops.arcsinh,
    "ceil": lambda x: ops.ceil(x * 1.7),
    "clip": lambda x: ops.clip(x, -0.5, 0.7),
    "cos": ops.cos,
    "cosh": lambda x: ops.cosh(ops.tanh(x)),
    "erf": ops.erf,
    "erfc": ops.erfc,
    "exp2": lambda x: ops.exp2(ops.tanh(x)),
    "exp": lambda x: ops.exp(ops.tanh(x)),
    "expm1": lambda x: ops.expm1(ops.tanh(x)),
    "floor": lambda x: ops.floor(x * 1.7),
    "floor_divide": lambda x: ops.floor_divide(x, 0.37),
    "heaviside": lambda x: ops.heaviside(x, 0.5) + x,
    "hypot": lambda x: ops.hypot(x, ops.ones_like(x)),
    "isin": lambda x: ops.cast(ops.isin(ops.cast(x * 2, "int32"), [0, 2]), x.dtype) + x,
    "isnan": lambda x: ops.where(ops.isnan(x), 0.0, x),
    "isfinite": lambda x: ops.cast(ops.isfinite(x), x.dtype) + x,
    "log": lambda x: ops.log(ops.abs(x) + 0.5),
    "log10": lambda x: ops.log10(ops.abs(x) + 0.5),
    "log1p": lambda x: ops.log1p(ops.abs(x)),
    "log2": lambda x: ops.log2(ops.abs(x) + 0.5),
    "logaddexp": lambda x: ops.logaddexp(x, -x),
    "logaddexp2": lambda x: ops.logaddexp2(x, -x),
    "logical_xor": lambda x: ops.cast(ops.logical_xor(x > 0.3, x < -0.3), x.dtype) + x,
    "maximum": lambda x: ops.maximum(x, 0.1),
    "mod": lambda x: ops.mod(x, 0.6),
    "nan_to_num": ops.nan_to_num,
    "negative": lambda x: -x,
    "power": lambda x: ops.power(ops.abs(x) + 0.1, 1.3),
    "reciprocal": lambda x: 1 / (ops.abs(x) + 0.5),
    "round": lambda x: ops.round(x * 1.7),
    "rsqrt": lambda x: ops.rsqrt(ops.abs(x) + 0.5),
    "saturate_cast": lambda x: ops.cast(ops.saturate_cast(x * 200, "uint8"), x.dtype) / 100,
    "sign": lambda x: ops.sign(x) + x,
    "sin": ops.sin,
    "sinc": ops.sinc,
    "sinh": lambda x: ops.sinh(ops.tanh(x)),
    "sqrt": lambda x: ops.sqrt(ops.abs(x) + 0.01),
    "square": lambda x: ops.square(ops.tanh(x)),
    "tan": lambda x: ops.tan(ops.tanh(x)),
    "true_divide": lambda x: x / (ops.square(x) + 1),
    "trunc": lambda x: ops.trunc(x * 1.7),
    "where": lambda x: ops.where(x > 0.2, x, x * 0.1 - 1),
    "logical": lambda x: ops.where(ops.logical_and(x > -0.5, ops.logical_not(x > 0.5)), x, ops.zeros_like(x)),
    "cast": lambda x: ops.cast(ops.cast(x * 3, "int32"), x.dtype),
}
_REDUCE: dict[str, Callable[..., Any]] = {
    "mean": ops.mean,
    "max": ops.max,
    "min": ops.min,
    "sum": ops.sum,
    "var": ops.var,
    "std": lambda x, **more: ops.std(x + 0.01, **more),
    "prod": ops.prod,
    "logsumexp": ops.logsumexp,
    "all": lambda x, **more: ops.cast(ops.all(x > -0.83, **more), x.dtype),
    "average": lambda x, axis, keepdims: ops.average(x, axis=axis),
    "nanmean": lambda x, **more: ops.nanmean(x, **more),
    "ptp": ops.ptp,
    "quantile": lambda x, **more: ops.quantile(x, 0.3, **more),
    "rms": lambda x, **more: ops.sqrt(ops.mean(ops.square(x), **more) + 0.1),
    "trapezoid": lambda x, axis, keepdims: ops.trapezoid(x, axis=axis if isinstance(axis, int) else axis[0]),
    "any": lambda x, **more: ops.cast(ops.any(x > 0.83, **more), x.dtype),
    "argmax": lambda x, **more: ops.cast(ops.argmax(x, **more), x.dtype),
    "argmin": lambda x, **more: ops.cast(ops.argmin(x, **more), x.dtype),
    "count_nonzero": lambda x, axis, keepdims: ops.cast(ops.count_nonzero(x > 0, axis=axis), x.dtype),
    "norm": lambda x, **more: ops.norm(x + 0.01, **more),
    "median": ops.median,
}
_STRUCTURE: dict[str, Callable[[random.Random, Any, int], Any]] = {
    "array_split": lambda r, x, axis: ops.array_split(x, 2, axis=axis)[r.randint(0, 1)],
    "choice": lambda r, x, axis: ops.where(ops.mean(x, axis=axis, keepdims=True) > 0, ops.tanh(x), -x),
    "concatenate": lambda r, x, axis: ops.concatenate([x, ops.flip(x, -1)], axis=axis),
    "diagonal": lambda r, x, axis: ops.diagonal(ops.matmul(x, ops.swapaxes(x, -1, -2)), axis1=-2, axis2=-1),
    "in_top_k": lambda r, x, axis: ops.cast(x >= ops.top_k(x, 2)[0][..., -1:], x.dtype),
    "layer_normalization": lambda r, x, axis: ops.layer_normalization(x, axis=-1, epsilon=0.01),
    "multi_hot": lambda r, x, axis: ops.multi_hot(ops.cast(ops.clip(x * 2, 0, 3), "int32"), 4, dtype="float32"),
    "slice_update": lambda r, x, axis: ops.slice_update(x, [0] * len(x.shape), ops.tanh(x[:, :1])),
    "take_along_axis": lambda r, x, axis: ops.take_along_axis(x, ops.argsort(x, axis=axis), axis=axis),
    "tensordot": lambda r, x, axis: ops.tensordot(x, ops.ones((x.shape[-1], 3)) * 0.2, axes=1),
    "trace": lambda r, x, axis: ops.trace(ops.expand_dims(x, -1) * ops.expand_dims(x, -2), axis1=-2, axis2=-1),
    "triu": lambda r, x, axis: ops.triu(x, k=r.randint(-1, 1)),
    "unstack": lambda r, x, axis: ops.unstack(x, axis=axis)[0],
    "cumsum": lambda r, x, axis: ops.cumsum(x, axis=axis),
    "cumprod": lambda r, x, axis: ops.cumprod(x, axis=axis),
    "diff": lambda r, x, axis: ops.diff(x, axis=axis),
    "flip": lambda r, x, axis: ops.flip(x, axis=axis),
    "roll": lambda r, x, axis: ops.roll(x, r.choice([1, 2, -1]), axis=axis),
    "sort": lambda r, x, axis: ops.sort(x, axis=axis),
    "argsort": lambda r, x, axis: ops.cast(ops.argsort(x, axis=-1), x.dtype),
    "repeat": lambda r, x, axis: ops.repeat(x, 2, axis=axis),
    "tile": lambda r, x, axis: ops.tile(x, [1] * (len(x.shape) - 1) + [2]),
    "stack": lambda r, x, axis: ops.stack([x, ops.tanh(x)], axis=axis),
    "split": lambda r, x, axis: ops.split(x, [1], axis=axis)[r.randint(0, 1)],
    "swapaxes": lambda r, x, axis: ops.swapaxes(x, axis, -1),
    "moveaxis": lambda r, x, axis: ops.moveaxis(x, axis, -1),
    "take": lambda r, x, axis: ops.take(x, [0, -1], axis=axis),
    "pad": lambda r, x, axis: ops.pad(
        x, [(0, 0), *[(r.randint(0, 1), r.randint(0, 1))] * (len(x.shape) - 1)], r.choice(["constant", "reflect"])
    ),
    "top_k": lambda r, x, axis: ops.top_k(x, 1 if r.random() < 0.5 else 2)[0],
    "slice": lambda r, x, axis: x[:, r.randint(0, 1) :: r.randint(1, 2)],
    "newest": lambda r, x, axis: x[:, -1],
    "ellipsis": lambda r, x, axis: x[..., ::-1],
    "new_axis": lambda r, x, axis: x[:, None, ..., :1],
    "squeeze": lambda r, x, axis: ops.squeeze(ops.expand_dims(x, axis), axis),
    "tril": lambda r, x, axis: ops.tril(x, k=r.randint(-1, 1)),
    "matmul": lambda r, x, axis: ops.matmul(x, ops.swapaxes(x, -1, -2)),
    "einsum": lambda r, x, axis: ops.einsum("abc,adc->abd", x, x),
    "outer": lambda r, x, axis: ops.expand_dims(x, -1) * ops.expand_dims(x, -2),
    "softmax": lambda r, x, axis: ops.softmax(x, axis=axis),
    "normalize": lambda r, x, axis: ops.normalize(x + 0.01, axis=axis),
    "one_hot": lambda r, x, axis: ops.one_hot(ops.cast(ops.clip(x * 2, 0, 3), "int32"), 4),
    "broadcast": lambda r, x, axis: x + ops.mean(x, axis=axis, keepdims=True),
    "meshless": lambda r, x, axis: x + ops.cast(ops.arange(x.shape[-1]), x.dtype),
    "linspace": lambda r, x, axis: x * ops.cast(ops.linspace(0.0, 1.0, x.shape[-1]), x.dtype),
}


_OF_MATRICES = {"tril", "triu", "matmul", "diagonal"}


def pointwise(r: random.Random, x: Any) -> Any:
    return _POINTWISE[r.choice(sorted(_POINTWISE))](x)


def reduction(r: random.Random, x: Any) -> Any:
    axes = range(1, len(x.shape))
    axis: Any = r.choice(axes)
    name = r.choice(sorted(_REDUCE))
    if len(axes) > 1 and r.random() < 0.25 and name not in {"argmax", "argmin"}:
        axis = tuple(sorted(r.sample(axes, 2)))
    y = _REDUCE[name](x, axis=axis, keepdims=r.random() < 0.5)
    return y if len(y.shape) > 1 else ops.expand_dims(y, -1)


def structure(r: random.Random, x: Any) -> Any:
    axis = r.randint(1, len(x.shape) - 1)
    name = r.choice(sorted(_STRUCTURE))
    if name in _OF_MATRICES and len(x.shape) < 3:
        raise ValueError("it would mix samples")
    y = _STRUCTURE[name](r, x, axis)
    return y if len(y.shape) > 1 else ops.expand_dims(y, -1)


def resized(r: random.Random, x: Any) -> Any:
    kind = r.randrange(8)
    if kind == 4:
        return ops.image.pad_images(x, 1, r.randint(0, 2), 0, 1)
    if kind == 5:
        return ops.image.crop_images(x, 1, 0, target_height=3, target_width=2)
    if kind == 6:
        return ops.image.gaussian_blur(x, (3, 3), (1.0, 0.8))
    if kind == 7:
        return ops.image.rgb_to_hsv(ops.sigmoid(x))
    if kind == 0:
        more = {
            "interpolation": r.choice(["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"]),
            "antialias": r.random() < 0.3,
        }
        return ops.image.resize(x, (r.randint(3, 12), r.randint(3, 12)), **more)
    if kind == 1:
        return ops.image.rgb_to_grayscale(x)
    if kind == 2:
        return ops.image.extract_patches(x, 2, padding=r.choice(["valid", "same"]))
    return ops.space_to_depth(x, 2) if r.random() < 0.5 else ops.depth_to_space(x, 2)
