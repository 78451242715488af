"""The memory that a board needs for a model's tensors: what TFLM was measured to need, or an estimate from the tensors'
lifetimes in the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters.readers.tflite_graph import GraphOp, GraphTensor
from validate.runtimes.tflm_arena import Arena

_ALIGNMENT = 16
_TENSOR, _NODE, _CHANNEL, _FIXED = 24, 64, 8, 2048
"""Bytes besides the tensors on a 32-bit board, from TFLM's structures: a tensor's evaluation entry and scale, a node
with its operation's data, a channel's multiplier and shift, and the interpreter's own."""
_INFO, _ENTRY = 40, 36
"""Bytes that TFLM's planner takes for a tensor, and for one that has to be placed. Four recurrent files took 1.0 to
1.04 times as much."""
_MEASURED_MARGIN = 1.01
_MARGIN = 1.5
"""Of ten int8 files that TFLM ran (x86-64, November 2026) the least arena was 0.95 to 1.1 times the count."""
_PRODUCTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
_SUM = 4
"""Bytes of an int32 sum: TFLM's transposed convolution keeps one for each number of its output."""
_BITS = {"float32": 32, "int32": 32, "uint32": 32, "float16": 16, "int16": 16, "int64": 64, "float64": 64, "int4": 4}


@dataclass(frozen=True)
class Measured:
    """An arena that TFLM was seen to start in, on a machine with pointers of 64 bits.

    Attributes:
        version: of the package `tflite-micro`.
    """

    arena: Arena
    version: str

    @property
    def size(self) -> int:
        """The size to give a board: one hundredth more than the least, in steps of 16.

        A 32-bit core has smaller pointers, so that it needs less: the margin is for an array that does not begin at the
        alignment, and for another version's structures.
        """
        return math.ceil(self.arena.least * _MEASURED_MARGIN / _ALIGNMENT) * _ALIGNMENT

    def to_json(self) -> dict[str, Any]:
        told = {f"{name}_bytes": size for name, size in vars(self.arena).items()}
        return {"bytes": self.size, "basis": "measured", **told, "runtime_version": self.version}


@dataclass(frozen=True)
class Estimate:
    """Bytes of a tensor arena, estimated.

    Attributes:
        planned: of the tensors, laid out so that those alive at once do not overlap, and of the sums that a transposed
            convolution keeps; other scratch buffers of kernels are not in it.
        planning: that TFLM's planner takes meanwhile, in the same room: more, where many tensors are small.
        overhead: of the interpreter's structures, by rule of thumb.
        at_least: the maximum sum of tensors alive at once: no plan can do with less.
    """

    planned: int
    planning: int
    overhead: int
    at_least: int

    @property
    def size(self) -> int:
        """The size to begin with, in whole kibibytes: 1.5 times the count, since too small an arena does not start.

        `arena_used_bytes()` on the board tells the truth.
        """
        return math.ceil((max(self.planned, self.planning) + self.overhead) * _MARGIN / 1024) * 1024

    def to_json(self) -> dict[str, Any]:
        return {"bytes": self.size, "basis": "estimated", **{f"{name}_bytes": n for name, n in vars(self).items()}}


@dataclass(frozen=True)
class _Life:
    size: int
    first: int
    last: int

    def meets(self, other: _Life) -> bool:
        return self.first <= other.last and other.first <= self.last


def estimate_of(ops: Sequence[GraphOp], outputs: Sequence[str]) -> Estimate:
    """The arena for operations that run in this order on one sample.

    Args:
        outputs: names of the model's output tensors, which live to the end.
    """
    lives = _lives(ops, outputs)
    tensors = {id(t) for op in ops for t in (*op.inputs, *op.outputs)}
    channels = sum(op.outputs[0].shape[-1] for op in ops if op.kind in _PRODUCTS and op.outputs and op.outputs[0].shape)
    overhead = _FIXED + _TENSOR * len(tensors) + _NODE * len(ops) + _CHANNEL * channels
    peak = max((sum(x.size for x in lives if x.first <= k <= x.last) for k in range(len(ops))), default=0)
    return Estimate(_planned(lives), _INFO * len(tensors) + _ENTRY * len(lives), overhead, peak)


def _lives(ops: Sequence[GraphOp], outputs: Sequence[str]) -> list[_Life]:
    """From the operation that writes a tensor (inputs: from the start) to the last that reads it."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for k, op in enumerate(ops):
        for tensor in op.inputs:
            if not tensor.constant:
                first.setdefault(id(tensor), 0)
                last[id(tensor)] = k
                sizes[id(tensor)] = _bytes(tensor)
        for tensor in op.outputs:
            first.setdefault(id(tensor), k)
            last[id(tensor)] = len(ops) - 1 if tensor.name in outputs else k
            sizes[id(tensor)] = _bytes(tensor)
    sums = [_Life(_SUM * op.outputs[0].elements, k, k) for k, op in enumerate(ops) if op.kind == "TRANSPOSE_CONV"]
    return [_Life(size, first[key], last[key]) for key, size in sizes.items()] + sums


def _bytes(tensor: GraphTensor) -> int:
    size = math.ceil(tensor.elements * _BITS.get(tensor.dtype, 8) / 8)
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _planned(lives: Sequence[_Life]) -> int:
    """Greedy by size, as TFLM's planner: the largest first, each at the lowest offset that is free while it lives.

    Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.
    """
    placed: list[tuple[int, _Life]] = []
    for life in sorted(lives, key=lambda x: (-x.size, x.first)):
        at = 0
        for start, other in sorted(((s, o) for s, o in placed if o.meets(life)), key=lambda pair: pair[0]):
            if at + life.size <= start:
                break
            at = max(at, start + other.size)
        placed.append((at, life))
    return max((start + life.size for start, life in placed), default=0)
