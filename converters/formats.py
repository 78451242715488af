"""The vocabulary: formats and precisions, and how files are called after them."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path


class Format(StrEnum):
    """Format of an artifact: one value a target writer."""

    SAVEDMODEL = "savedmodel"
    TFLITE = "tflite"
    ONNX = "onnx"
    ORT = "ort"


class Precision(StrEnum):
    """How an artifact computes. `dynamic_` precisions have integer weights and float activations.

    `dynamic_int4_b32` scales each block of 32 weights of a dense layer on its own where `dynamic_int4` scales channels.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_INT8 = "dynamic_int8"
    INT8 = "int8"
    INT16X8 = "int16x8"
    DYNAMIC_INT4 = "dynamic_int4"
    DYNAMIC_INT4_B32 = "dynamic_int4_b32"


FLOATS = frozenset({Precision.FLOAT32, Precision.FLOAT16})
"""The precisions without integers."""

SUFFIXES: dict[Format, str] = {
    Format.SAVEDMODEL: ".savedmodel",
    Format.TFLITE: ".tflite",
    Format.ONNX: ".onnx",
    Format.ORT: ".ort",
}

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def model_name(source: str | Path) -> str:
    """The source's stem, cleaned to `[A-Za-z0-9_.-]`; never empty, never starting with `.` or `-`."""
    name = Path(source).name
    for suffix in (".weights.h5", ".keras", ".h5", ".hdf5", ".savedmodel", ".tflite", ".onnx", ".pb"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            name = name[: -len(suffix)]
            break
    cleaned = _UNSAFE.sub("_", name).lstrip(".-")[:100]
    return cleaned or "model"


def artifact_name(model: str, precision: Precision, fmt: Format) -> str:
    """`<model>.<precision>.<suffix>`, for example `digits.float32.onnx`."""
    return f"{model}.{precision.value}{SUFFIXES[fmt]}"


def format_of(path: Path) -> Format | None:
    """The artifact format that a path holds, by its shape on disk; None where it is not one of ours."""
    if path.is_dir():
        return Format.SAVEDMODEL if (path / "saved_model.pb").is_file() else None
    by_suffix = {suffix: fmt for fmt, suffix in SUFFIXES.items() if fmt is not Format.SAVEDMODEL}
    return by_suffix.get(path.suffix.lower())
