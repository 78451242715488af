"""What every rule for tf2onnx builds with, apart from them: several nodes in the place of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.arrays import Array


class Replacement:
    """Takes the node out of its graph; `finish` puts the last of what stands for it in its place."""

    def __init__(self, ctx: Any, node: Any) -> None:
        self._ctx, self._name, self._output = ctx, node.name, node.output[0]
        self.shape, self._dtype = ctx.get_shape(self._output), ctx.get_dtype(self._output)
        ctx.remove_node(node.name)

    def constant(self, value: Array | Sequence[int]) -> str:
        """Integers are int64, as ONNX wants sizes and axes."""
        from tf2onnx import utils

        array = value if isinstance(value, np.ndarray) else np.array(value, np.int64)
        name: str = self._ctx.make_const(utils.make_name(self._name), array).output[0]
        return name

    def add(self, operation: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node named after the one that is replaced; tf2onnx's counter behind it goes in the end."""
        from tf2onnx import utils

        name = utils.make_name(self._name)
        output: str = self._ctx.make_node(operation, list(inputs), attributes, name=name).output[0]
        return output

    def finish(self, operation: str, inputs: Sequence[str], **attributes: Any) -> None:
        self._ctx.make_node(
            operation,
            list(inputs),
            attributes,
            name=self._name,
            outputs=[self._output],
            shapes=[self.shape],
            dtypes=[self._dtype],
        )


def channels_first(rank: int) -> list[int]:
    """The permutation of (batch, ..., channels) to (batch, channels, ...)."""
    return [0, rank - 1, *range(1, rank - 1)]


def channels_last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1]
