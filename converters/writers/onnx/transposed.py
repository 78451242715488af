"""Transposed convolutions for tf2onnx, whose own rule is wrong where the output is larger than the kernels reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters.writers.onnx.replacing import Replacement, channels_first, channels_last


@dataclass(frozen=True)
class _Axis:
    """One spatial axis of the whole product of values and kernels, and what of it is the output.

    Attributes:
        stride: rows of the product between two rows of the input.
        before: rows that are cut off at the begin; None where it is half of what is too much, as SAME has it.
        surplus: rows that the product has too much, negative where it is too short; None where a size is unknown.
    """

    stride: int
    before: int | None
    surplus: int | None

    @property
    def pads(self) -> tuple[int, int, int]:
        """ONNX's padding at both ends, and the rows that no kernel reaches, which hold the bias alone."""
        if self.surplus is None:
            return 0, 0, self.stride - 1  # the most there can be; what is too much is cut off afterwards
        before = max(0, self.surplus) // 2 if self.before is None else self.before
        after = self.surplus - before
        return before, max(0, after), max(0, -after)


def transposed_convolution(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """Conv2DBackpropInput and Conv3DBackpropInputV2 of (sizes, kernel, values, and a bias that tf2onnx put there)."""
    last = not node.data_format.startswith("NC")
    sizes, kernel, values, *bias = node.input
    kernel_shape = ctx.get_shape(kernel)
    rank = len(kernel_shape)
    spatial = range(1, rank - 1) if last else range(2, rank)
    strides, gaps = ([_numbers(node, word, rank)[k] for k in spatial] for word in ("strides", "dilations"))
    spans = [(size - 1) * gap + 1 for size, gap in zip(kernel_shape, gaps, strict=False)]
    axes = _axes(ctx, node, spatial, list(zip(strides, spans, strict=True)))

    new = Replacement(ctx, node)
    kernel = new.add("Transpose", [kernel], perm=[rank - 1, rank - 2, *range(rank - 2)])
    values = new.add("Transpose", [values], perm=channels_first(rank)) if last else values
    begins, ends, unreached = zip(*(axis.pads for axis in axes), strict=True)
    how = {
        "strides": strides,
        "dilations": gaps,
        "kernel_shape": kernel_shape[:-2],
        "pads": [*begins, *ends],
        "output_padding": unreached,
    }
    if not any(unreached):
        del how["output_padding"]
    whole = new.add("ConvTranspose", [values, kernel, *bias], **how)
    unknown = [k for k, axis in enumerate(axes) if axis.surplus is None]
    if unknown:
        whole = _cut(new, whole, sizes, [axes[k] for k in unknown], [(k + 2, spatial[k]) for k in unknown])
    if last:
        new.finish("Transpose", [whole], perm=channels_last(rank))
    else:
        new.finish("Identity", [whole])


def _numbers(node: Any, word: str, rank: int) -> list[int]:
    attribute = node.get_attr(word)
    return list(attribute.ints) if attribute is not None else [1] * rank


def _axes(ctx: Any, node: Any, spatial: Sequence[int], reach: Sequence[tuple[int, int]]) -> list[_Axis]:
    """Args: `reach` has the stride and the kernel's span with its gaps, by axis."""
    padding = node.get_attr_value("padding").decode()
    entered, left = ctx.get_shape(node.input[2]), ctx.get_shape(node.output[0])
    explicit = node.get_attr_value("explicit_paddings", []) if padding == "EXPLICIT" else []
    axes = []
    for k, (stride, span) in zip(spatial, reach, strict=True):
        surplus = None
        if entered and left and min(entered[k], left[k]) > 0:
            surplus = (entered[k] - 1) * stride + span - left[k]
        elif stride == 1 and not explicit:  # whatever the size is
            surplus = span - 1 if padding == "SAME" else 0
        before = None if padding == "SAME" else explicit[2 * k] if explicit else 0
        axes.append(_Axis(stride, before, surplus))
    return axes


def _cut(new: Replacement, whole: str, sizes: str, axes: Sequence[_Axis], places: Sequence[tuple[int, int]]) -> str:
    """The output out of the whole product, once both sizes are known.

    Args:
        places: of each axis its index in `whole`, and in `sizes`.
    """
    ours, theirs = zip(*places, strict=True)
    wanted = new.add("Cast", [new.add("Gather", [sizes, new.constant(theirs)])], to=7)  # int64
    there = new.add("Gather", [new.add("Shape", [whole]), new.constant(ours)])
    starts = new.constant([axis.before or 0 for axis in axes])
    if any(axis.before is None for axis in axes):
        there = new.add("Sub", [there, new.constant([axis.stride - 1 for axis in axes])])
        surplus = new.add("Max", [new.add("Sub", [there, wanted]), new.constant([0])])
        starts = new.add("Div", [surplus, new.constant([2])])
    ends = new.add("Add", [starts, wanted])
    return new.add("Slice", [whole, starts, ends, new.constant(ours)])
