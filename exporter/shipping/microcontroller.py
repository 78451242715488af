"""`--profile microcontroller`: an int8 `.tflite` file as C++ source for TensorFlow Lite for Microcontrollers (TFLM)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.artifact import Artifact
from converters.contract import Contract
from converters.errors import UsageError
from converters.readers.tflite_file import read_tflite
from converters.readers.tflite_graph import read_tflite_graph
from converters.stamping import tflite
from exporter.shipping.arena import Estimate, Measured, estimate_of

_NAMES = """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
    BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
    DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD
    FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS
    LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM
    MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU
    RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX
    SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF
    TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""
_KERNELS = frozenset(_NAMES.split())
"""Operators that TFLM has kernels for, of some types. Source: its micro_mutable_op_resolver.h of August 2026, `Add` and
the name in mixed case. Where TFLM is installed it is asked instead."""

_SPELLED = {
    "PADV2": "PadV2",
    "CUMSUM": "CumSum",
    "BATCH_MATMUL": "BatchMatMul",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
_COLUMNS = 16


def c_name(model: str) -> str:
    """The model's name as part of C identifiers and file names.

    Raises:
        UsageError: nothing of it is left.
    """
    name = _identifier(model)
    if not name:
        raise UsageError(
            f"The model is called `{model}`, of which no C identifier can be made.",
            next_step="Rename the checkpoint's file; the artifacts take their name from it.",
        )
    return name


def check_outputs(contract: Contract) -> None:
    """Raises UsageError where two outputs with labels would be one identifier in C."""
    names: dict[str, str] = {}
    for row in contract.outputs:
        if row.labels:
            other = names.setdefault(_camel(_identifier(row.name)), row.name)
            if other != row.name:
                raise UsageError(
                    f"The outputs `{other}` and `{row.name}` would have one name in C.",
                    next_step="Rename one of their layers, or give labels for one of them alone.",
                )


def _identifier(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def missing_kernels(path: Path) -> list[str]:
    """Operators of a `.tflite` file that TFLM has no kernel for."""
    return sorted({op.kind for op in read_tflite_graph(path) if op.custom or op.kind not in _KERNELS})


def write_microcontroller(
    folder: Path, model: str, artifact: Artifact, contract: Contract, measured: Measured | None
) -> dict[str, Any]:
    """Writes `<name>_model.h`, `<name>_model.cc` and `<name>_ops.h`; returns a row of `shipping.microcontroller`.

    The array is the file without its metadata, which only takes room on a board.

    Args:
        measured: the arena that TFLM takes; None where it was not asked, which leaves an estimate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = c_name(model)
    content = tflite.plain(artifact.path.read_bytes())
    ops = read_tflite_graph(artifact.path)
    used = sorted({op.kind for op in ops})
    arena = measured or estimate_of(ops, [tensor.name for tensor in read_tflite(artifact.path).outputs])
    (folder / f"{name}_model.h").write_text(_header(name, artifact.path.name, used, arena, contract), encoding="utf-8")
    (folder / f"{name}_ops.h").write_text(_resolver(name, artifact.path.name, used), encoding="utf-8")
    (folder / f"{name}_model.cc").write_text(_source(name, artifact.path.name, content), encoding="utf-8")
    return {
        "artifact": artifact.path.name,
        "operators": used,
        "missing_kernels": missing_kernels(artifact.path),
        "model_bytes": len(content),
        "arena": arena.to_json(),
    }


def _header(name: str, file: str, used: Sequence[str], arena: Measured | Estimate, contract: Contract) -> str:
    guard, camel = f"{name.upper()}_MODEL_H_", _camel(name)
    return f"""// {file} for TensorFlow Lite for Microcontrollers. Written by edgeport; do not edit.
#ifndef {guard}
#define {guard}

#include <cstddef>

extern const unsigned char g_{name}_model[];
extern const std::size_t g_{name}_model_size;

{_told(arena)}
constexpr std::size_t k{camel}ArenaSize = {arena.size};
constexpr unsigned int k{camel}OpCount = {len(used)};
{_labels(name, contract)}
#endif  // {guard}
"""


def _told(arena: Measured | Estimate) -> str:
    """Where the arena's size is from, as a comment."""
    if isinstance(arena, Measured):
        return f"""// MEASURED: TFLM itself (tflite-micro {arena.version}, reference kernels, x86-64) starts the
// model in {arena.arena.least} bytes and not in 16 less; this is one hundredth more. A 32-bit core has smaller pointers
// and needs less; kernels with scratch buffers of their own (CMSIS-NN, ESP-NN) may need more: set it by
// MicroInterpreter::arena_used_bytes() after AllocateTensors() on the board."""
    return f"""// An ESTIMATE, since tflite-micro was not there to measure it: {arena.planned} bytes of tensors, laid
// out greedily by size as TFLM's planner does, {arena.overhead} bytes for the interpreter's structures by rule of
// thumb, and half of both again, since too small an arena does not start. Kernels with scratch buffers (CMSIS-NN,
// ESP-NN) may need more. Begin with it, read MicroInterpreter::arena_used_bytes() after AllocateTensors(), and set it
// so."""


def _resolver(name: str, file: str, used: Sequence[str]) -> str:
    guard, camel = f"{name.upper()}_OPS_H_", _camel(name)
    calls = "\n".join(f"  if (resolver->{_method(kind)}() != kTfLiteOk) return kTfLiteError;" for kind in used)
    return f"""// The operators of {file}. Written by edgeport; do not edit.
// UNTESTED: edgeport does not compile this file against TensorFlow Lite for Microcontrollers.
//   {camel}OpResolver resolver;
//   Register{camel}Ops(&resolver);
#ifndef {guard}
#define {guard}

#include "{name}_model.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

using {camel}OpResolver = tflite::MicroMutableOpResolver<k{camel}OpCount>;

inline TfLiteStatus Register{camel}Ops({camel}OpResolver* resolver) {{
{calls}
  return kTfLiteOk;
}}

#endif  // {guard}
"""


def _labels(name: str, contract: Contract) -> str:
    blocks = []
    for row in contract.outputs:
        if row.labels:
            output = _identifier(row.name)
            words = ",\n".join(f"    {_c_string(label)}" for label in row.labels)
            blocks.append(f"\nconstexpr const char* k{_camel(name)}{_camel(output)}Names[] = {{\n{words},\n}};\n")
    return "".join(blocks)


def _c_string(text: str) -> str:
    """A C string literal. Bytes beyond ASCII are written in octal, which ends after three digits."""
    octets = text.encode()
    return '"' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in octets) + '"'


def _source(name: str, file: str, content: bytes) -> str:
    rows = [
        "    " + " ".join(f"0x{b:02x}," for b in content[k : k + _COLUMNS]) for k in range(0, len(content), _COLUMNS)
    ]
    body = "\n".join(rows)
    return f"""// {file} for TensorFlow Lite for Microcontrollers. Written by edgeport; do not edit.
#include "{name}_model.h"

// The flatbuffer is read where it lies, and wants 16-byte alignment.
alignas(16) const unsigned char g_{name}_model[] = {{
{body}
}};
const std::size_t g_{name}_model_size = sizeof(g_{name}_model);
"""


def _method(kind: str) -> str:
    """`CONV_2D` -> `AddConv2D`."""
    words = _SPELLED.get(kind) or "".join(word.capitalize() for word in kind.split("_"))
    return f"Add{words.replace('2d', '2D')}"


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
