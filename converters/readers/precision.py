"""The precision that an artifact computes in, read from its tensors and operations and never from its name.

Every step that holds a file against a gate, or names its precision, asks here. A file that mixes precisions is as
precise as the coarsest of them: layers that were kept in float do not make an int8 file a float32 one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

from converters.errors import EdgeportError
from converters.formats import Format, Precision, format_of
from converters.readers.onnx_file import OnnxFacts, read_onnx
from converters.readers.ort_file import read_ort
from converters.readers.saved_model_file import read_saved_model
from converters.readers.tflite_file import TfliteFacts, read_tflite

_INDEX_TYPES = frozenset({"int64", "int32", "uint32", "uint64", "bool", "string", "resource", "variant"})
_BYTES = frozenset({"int8", "uint8"})
_WORDS = frozenset({"int16", "uint16"})
_BY_WIDTH = (frozenset({"int2", "uint2"}), frozenset({"int4", "uint4"}), _BYTES)
"""Types of quantized weights, the coarsest first."""

_WEIGHT_OPS = frozenset({"DequantizeLinear", "Cast", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"})
"""ONNX operations that read integer weights where activations are floats. Without any of them bytes are just bytes."""
_DYNAMIC_OPS = ("DynamicQuantize",)
_STATIC_OPS = ("QuantizeLinear", "QLinear", "QGemm")
_BLOCK_OPS = frozenset({"MatMulNBits", "GatherBlockQuantized"})


class Weight(Protocol):
    """A stored tensor, of any kind of file."""

    @property
    def dtype(self) -> str: ...
    @property
    def elements(self) -> int: ...


def precision_of(path: Path) -> str:
    """A word of `Precision`, or the dtype of a file that is of none of them (`float64`, `bfloat16`).

    Raises:
        RefusedError: it is damaged, or no artifact.
        UsageError: it cannot be read.
    """
    fmt = format_of(path)
    if fmt is Format.TFLITE:
        return of_tflite(read_tflite(path))
    if fmt is Format.SAVEDMODEL:
        return by_elements(read_saved_model(path).variables)
    return of_onnx(read_ort(path) if fmt is Format.ORT else read_onnx(path))


def known_precision(path: Path) -> Precision | None:
    """The precision of an artifact; None for a checkpoint, a file that cannot be read, and what has no name here."""
    if format_of(path) is None:
        return None
    try:
        word = precision_of(path)
    except EdgeportError:  # whoever opens the file says what is wrong with it
        return None
    return Precision(word) if word in set(Precision) else None


def by_elements(weights: Iterable[Weight]) -> str:
    """The dtype that holds most numbers; float32 where there are none but indices and shapes."""
    totals: Counter[str] = Counter()
    for weight in weights:
        if weight.dtype not in _INDEX_TYPES:
            totals[weight.dtype] += weight.elements
    return totals.most_common(1)[0][0] if totals else Precision.FLOAT32.value


def of_tflite(facts: TfliteFacts) -> str:
    """By the integers with a scale that operations compute; without any by those among the weights."""
    narrow, wide = (sum(facts.quantized[dtype] for dtype in kinds) for kinds in (_BYTES, _WORDS))
    if narrow or wide:  # recurrent kernels of int8 keep a few words
        return (Precision.INT8 if narrow >= wide else Precision.INT16X8).value
    weights = [tensor for tensor in facts.constants if tensor.quantized]
    if weights:
        return _weights_only({t.dtype for t in weights}, in_blocks=any(t.in_blocks for t in weights))
    return _floats(facts.constants, facts.activations)


def of_onnx(facts: OnnxFacts) -> str:
    """By the operations that quantize activations; without any by those that read integer weights."""
    names = {op.rpartition("::")[2] for op in facts.ops}
    if any(name.startswith(_STATIC_OPS) for name in names):
        words = facts.zero_point_dtypes & _WORDS and not facts.zero_point_dtypes & _BYTES
        return (Precision.INT16X8 if words else Precision.INT8).value
    if any(name.startswith(_DYNAMIC_OPS) for name in names):
        return Precision.DYNAMIC_INT8.value
    stored = {weight.dtype for weight in facts.initializers}
    if names & _BLOCK_OPS:
        return _weights_only({"int4"} if facts.packed_bits <= {4} else {f"int{max(facts.packed_bits)}"}, in_blocks=True)
    if names & _WEIGHT_OPS and stored & frozenset().union(*_BY_WIDTH):
        return _weights_only(stored, in_blocks=facts.in_blocks)
    ends = [tensor.dtype for tensor in (*facts.inputs, *facts.outputs)]
    return _floats(facts.initializers, [*ends, *facts.casts])


def _weights_only(dtypes: Collection[str], *, in_blocks: bool) -> str:
    """The name for float activations with weights of those dtypes: by the narrowest."""
    narrowest = next((kinds for kinds in _BY_WIDTH if kinds & set(dtypes)), _BYTES)
    word = f"dynamic_{min(narrowest & set(dtypes), default='int8').removeprefix('u')}"
    return Precision.DYNAMIC_INT4_B32.value if in_blocks and word == Precision.DYNAMIC_INT4 else word


def _floats(weights: Iterable[Weight], computed: Iterable[str]) -> str:
    """float16 where any number passes through it, else the dtype of most weights."""
    weights = list(weights)
    if Precision.FLOAT16.value in {*computed, *(weight.dtype for weight in weights)}:
        return Precision.FLOAT16.value
    return by_elements(weights)
