"""Resizing of images for tf2onnx, whose own rule takes an area for the nearest pixel and sizes for rounded scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.errors import UnsupportedError
from converters.writers.onnx.replacing import Replacement, channels_first, channels_last

_FLOAT, _INT64 = 1, 7
_TABLE = 1024
"""TensorFlow rounds the place between two pixels to this part of their distance, then looks up cubic weights."""


@dataclass(frozen=True)
class _Resize:
    """One of TensorFlow's operations.

    Attributes:
        sizes: of height and width, before and after; -1 where unknown.
    """

    kind: str
    corners: bool
    centers: bool
    sizes: tuple[tuple[int, int], ...]

    @property
    def is_known(self) -> bool:
        return all(min(pair) > 0 for pair in self.sizes)

    def is_whole(self, *, smaller: bool) -> bool:
        """Whether each pixel becomes a block, or each block a pixel where the image gets smaller."""
        ordered = [pair if smaller else pair[::-1] for pair in self.sizes]
        return self.is_known and not self.corners and all(large % small == 0 for large, small in ordered)

    def matrix(self, before: int, after: int) -> Array:
        """What TensorFlow makes of one axis: (after, before)."""
        import tensorflow as tf

        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            unit = np.eye(before, dtype=np.float32)[None, :, :, None]
            options = {"align_corners": self.corners}
            if self.kind != "ResizeArea":
                options["half_pixel_centers"] = self.centers
            rows = getattr(tf.raw_ops, self.kind)(images=unit, size=(after, before), **options)
            return np.asarray(session.run(rows))[0, :, :, 0]


def resized(ctx: Any, node: Any, name: str, _args: Any) -> None:
    """ResizeNearestNeighbor, ResizeBilinear, ResizeBicubic and ResizeArea of (images, [height, width])."""
    corners, centers = (bool(node.get_attr_value(word, 0)) for word in ("align_corners", "half_pixel_centers"))
    image, result = (ctx.get_shape(value) or [-1] * 4 for value in (node.input[0], node.output[0]))
    resize = _Resize(node.type, corners, centers, tuple(zip(image[1:3], result[1:3], strict=True)))
    if resize.kind == "ResizeBicubic" and not (resize.is_known or centers):
        raise UnsupportedError(
            f"The old bicubic of TensorFlow 1 ({name}) has no counterpart in ONNX for images of unknown size.",
            next_step="Give the model's input its size, or choose another interpolation.",
            step="convert",
        )
    images, wanted = node.input
    is_turned = resize.kind == "ResizeBilinear" and _is_turned(node.inputs[0])
    is_cast = ctx.get_dtype(images) != ctx.get_dtype(node.output[0])
    new = Replacement(ctx, node)
    if is_cast:
        images = new.add("Cast", [images], to=_FLOAT)
    if resize.kind == "ResizeNearestNeighbor" and not resize.is_whole(smaller=False):
        _gathered(new, images, wanted, resize)
        return
    images = new.add("Transpose", [images], perm=channels_first(4))
    if resize.kind == "ResizeArea" and resize.is_whole(smaller=True):
        factors = [before // after for before, after in resize.sizes]
        images = new.add("AveragePool", [images], kernel_shape=factors, strides=factors)
    elif resize.kind in _WEIGHTS:
        images = _multiplied(new, images, wanted, resize)
    elif is_turned:
        planes = new.add("Reshape", [images, new.constant([1, -1, 0, 0])])
        planes = _interpolated(new, planes, wanted, resize)
        images = new.add("Reshape", [planes, _stacked(new, images, image[3])])
    else:
        images = _interpolated(new, images, wanted, resize)
    new.finish("Transpose", [images], perm=channels_last(4))


def _stacked(new: Replacement, images: str, channels: int) -> str:
    """The shape of resized images whose planes were one image meanwhile; 0 keeps a size."""
    if channels > 0:
        return new.constant([-1, channels, 0, 0])
    first = new.add("Slice", [new.add("Shape", [images]), new.constant([0]), new.constant([2])])
    return new.add("Concat", [first, new.constant([0, 0])], axis=0)


_OF_LAYOUT = {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "Resize"}
"""What tf2onnx puts transposes around, and what ONNX Runtime moves none past."""


def _is_turned(node: Any) -> bool:
    """Whether a transpose of the model's own reaches the images.

    ONNX Runtime moves it past the Resize, and then has no kernel for the axes that it resizes. Past a Reshape, which
    costs nothing, it moves none.
    """
    pending, seen = [node], set[int]()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen or node.type in {*_OF_LAYOUT, "Reshape"}:
            continue
        seen.add(id(node))
        before = node.inputs[0] if node.type == "Transpose" else None
        if node.type == "Transpose" and (before is None or before.type not in _OF_LAYOUT):
            return True
        if before is None:
            pending += node.inputs
    return False


def _gathered(new: Replacement, images: str, wanted: str, resize: _Resize) -> None:
    """The nearest pixels by their numbers, which are computed in float32 as TensorFlow computes them."""
    for axis, (before, after) in enumerate(resize.sizes, 1):
        if min(before, after) > 0:
            numbers = new.constant(resize.matrix(before, after).argmax(1))
        else:
            numbers = _nearest(new, _Line(new, images, axis, _target(new, wanted, axis - 1)), resize)
        if axis == 1:
            images = new.add("Gather", [images, numbers], axis=axis)
    new.finish("Gather", [images, numbers], axis=2)


def _target(new: Replacement, wanted: str, axis: int) -> str:
    """The size that is wanted of the height (0) or the width (1)."""
    return new.add("Gather", [new.add("Cast", [wanted], to=_INT64), new.constant([axis])])


class _Line:
    """An axis of unknown size: names of values that are known when the file runs, float32 vectors but `before`.

    Attributes:
        before: the axis' size in the image, int64.
        old, after: the sizes before and after.
        places: the numbers of the new pixels.
    """

    def __init__(self, new: Replacement, images: str, axis: int, after: str) -> None:
        self.new = new
        self.before = new.add("Gather", [new.add("Shape", [images]), new.constant([axis])])
        self.old, self.after = (new.add("Cast", [size], to=_FLOAT) for size in (self.before, after))
        self.places = self.counted(after)

    def counted(self, size: str) -> str:
        """0, 1, 2, ... as many as `size` says."""
        zero, one = (self.new.constant(np.array(value)) for value in (0, 1))
        numbers = self.new.add("Range", [zero, self.new.add("Squeeze", [size]), one])
        return self.new.add("Cast", [numbers], to=_FLOAT)

    def calculated(self, operation: str, *values: str | float) -> str:
        """An operation whose operands are values by name, or numbers."""
        return self.new.add(
            operation, [v if isinstance(v, str) else self.new.constant(np.array([v], np.float32)) for v in values]
        )

    def scale(self, *, corners: bool) -> str:
        """How far it is in the image from one new pixel to the next."""
        if not corners:
            return self.calculated("Div", self.old, self.after)
        last = self.calculated("Max", self.calculated("Sub", self.after, 1.0), 1.0)
        return self.calculated("Div", self.calculated("Sub", self.old, 1.0), last)


def _nearest(new: Replacement, line: _Line, resize: _Resize) -> str:
    """The numbers of the pixels that are taken along an axis of unknown size."""
    places = line.calculated("Add", line.places, 0.5) if resize.centers else line.places
    places = line.calculated("Mul", places, line.scale(corners=resize.corners))
    if resize.corners:
        places = line.calculated("Add", places, 0.5)
    numbers = new.add("Cast", [new.add("Floor", [places])], to=_INT64)
    return new.add("Min", [numbers, new.add("Sub", [line.before, new.constant([1])])])


def _multiplied(new: Replacement, images: str, wanted: str, resize: _Resize) -> str:
    """One matrix for the rows, one for the columns."""
    matrices = []
    for axis, pair in enumerate(resize.sizes):
        if min(pair) > 0:
            matrices.append(new.constant(resize.matrix(*pair)))
        else:
            line = _Line(new, images, axis + 2, _target(new, wanted, axis))
            matrices.append(_WEIGHTS[resize.kind](line, resize))
    columns = new.add("Transpose", [matrices[1]], perm=[1, 0])
    return new.add("MatMul", [new.add("MatMul", [matrices[0], images]), columns])


def _areas(line: _Line, resize: _Resize) -> str:
    """How much of each old pixel lies in each new one: (after, before)."""
    at, scale = line.calculated, line.scale(corners=resize.corners)
    begin = at("Mul", line.new.add("Unsqueeze", [line.places, line.new.constant([1])]), scale)
    old = line.counted(line.before)
    overlap = at("Sub", at("Min", at("Add", begin, scale), at("Add", old, 1.0)), at("Max", begin, old))
    return at("Div", at("Max", overlap, 0.0), scale)


def _cubics(line: _Line, resize: _Resize) -> str:
    """Cubic weights by distance, of those pixels that there are: (after, before)."""
    at, number = line.calculated, line.new.constant
    place = at("Sub", at("Mul", at("Add", line.places, 0.5), line.scale(corners=False)), 0.5)
    place = at("Div", line.new.add("Round", [at("Mul", place, float(_TABLE))]), float(_TABLE))
    place = line.new.add("Unsqueeze", [place, number([1])])
    d = line.new.add("Abs", [at("Sub", place, line.counted(line.before))])
    near = at("Add", at("Mul", at("Mul", d, d), at("Sub", at("Mul", d, 1.5), 2.5)), 1.0)
    far = at("Add", at("Mul", d, at("Sub", at("Mul", d, at("Sub", 2.5, at("Mul", d, 0.5))), 4.0)), 2.0)
    far = line.new.add("Where", [at("Less", d, 2.0), far, number(np.array([0], np.float32))])
    weights = line.new.add("Where", [at("Less", d, 1.0), near, far])
    return at("Div", weights, line.new.add("ReduceSum", [weights, number([1])], keepdims=1))


_WEIGHTS: dict[str, Callable[[_Line, _Resize], str]] = {"ResizeArea": _areas, "ResizeBicubic": _cubics}
"""Interpolations that are a product with a matrix. ONNX has no area, and its cubic weights are not TensorFlow's, which
come from a table; ONNX Runtime has cubic ones only where tf2onnx's pass has not moved the channels."""


def _interpolated(new: Replacement, images: str, wanted: str, resize: _Resize) -> str:
    if resize.is_known:
        factors = [1.0, 1.0, *(_scale(*pair) for pair in resize.sizes)]
        sizes = [new.constant(np.zeros(0, np.float32)), new.constant(np.array(factors, np.float32))]
    else:
        shape = new.add("Slice", [new.add("Shape", [images]), new.constant([0]), new.constant([2])])
        shape = new.add("Concat", [shape, new.add("Cast", [wanted], to=_INT64)], axis=0)
        sizes = [*[new.constant(np.zeros(0, np.float32))] * 2, shape]
    places = "align_corners" if resize.corners else "half_pixel" if resize.centers else "asymmetric"
    how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": places}
    if resize.kind == "ResizeNearestNeighbor":
        how |= {"mode": "nearest", "nearest_mode": "round_prefer_ceil" if resize.centers else "floor"}
    return new.add("Resize", [images, *sizes], **how)


def _scale(before: int, after: int) -> np.float32:
    """The factor, the next larger number where it would come out one pixel short: runtimes round the product down."""
    scale = np.float32(after / before)
    while int(scale * np.float32(before)) < after or int(float(scale) * before) < after:
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale
