"""Steps of `keras.ops`: what functional models of Keras 3 call on tensors directly."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from keras import ops

_POINTWISE: dict[str, Callable[[Any], Any]] = {
    "abs": ops.abs,
    "arctan": ops.arctan,
    "arcsinh": ops.arcsinh,
    "ceil": lambda x: ops.ceil(x * 1.7),
    "clip": lambda x: ops.clip(x, -0.5, 0.7),
    "cos": ops.cos,
    "cosh": lambda x: ops.cosh(ops.tanh(x)),
    "erf": ops.erf,
    "exp": lambda x: ops.exp(ops.tanh(x)),
    "expm1": lambda x: ops.expm1(ops.tanh(x)),
    "floor": lambda x: ops.floor(x * 1.7),
    "floor_divide": lambda x: ops.floor_divide(x, 0.37),
    "isfinite": lambda x: ops.cast(ops.isfinite(x), x.dtype) + x,
    "log": lambda x: ops.log(ops.abs(x) + 0.5),
    "log10": lambda x: ops.log10(ops.abs(x) + 0.5),
    "log1p": lambda x: ops.log1p(ops.abs(x)),
    "log2": lambda x: ops.log2(ops.abs(x) + 0.5),
    "logaddexp": lambda x: ops.logaddexp(x, -x),
    "maximum": lambda x: ops.maximum(x, 0.1),
    "mod": lambda x: ops.mod(x, 0.6),
    "nan_to_num": ops.nan_to_num,
    "negative": lambda x: -x,
    "power": lambda x: ops.power(ops.abs(x) + 0.1, 1.3),
    "reciprocal": lambda x: 1 / (ops.abs(x) + 0.5),
    "round": lambda x: ops.round(x * 1.7),
    "rsqrt": lambda x: ops.rsqrt(ops.abs(x) + 0.5),
    "sign": lambda x: ops.sign(x) + x,
    "sin": ops.sin,
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
    "any": lambda x, **more: ops.cast(ops.any(x > 1, **more), x.dtype),
    "argmax": lambda x, **more: ops.cast(ops.argmax(x, **more), x.dtype),
    "argmin": lambda x, **more: ops.cast(ops.argmin(x, **more), x.dtype),
    "count_nonzero": lambda x, axis, keepdims: ops.cast(ops.count_nonzero(x > 0, axis=axis), x.dtype),
    "norm": lambda x, **more: ops.norm(x + 0.01, **more),
    "median": ops.median,
}
_STRUCTURE: dict[str, Callable[[random.Random, Any, int], Any]] = {
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
    y = _STRUCTURE[r.choice(sorted(_STRUCTURE))](r, x, axis)
    return y if len(y.shape) > 1 else ops.expand_dims(y, -1)


def resized(r: random.Random, x: Any) -> Any:
    kind = r.randrange(4)
    if kind == 0:
        more = {
            "interpolation": r.choice(["bilinear", "nearest", "bicubic", "lanczos5"]),
            "antialias": r.random() < 0.3,
        }
        return ops.image.resize(x, (r.randint(3, 12), r.randint(3, 12)), **more)
    if kind == 1:
        return ops.image.rgb_to_grayscale(x)
    if kind == 2:
        return ops.image.extract_patches(x, 2, padding=r.choice(["valid", "same"]))
    return ops.space_to_depth(x, 2) if r.random() < 0.5 else ops.depth_to_space(x, 2)
