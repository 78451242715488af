"""The contract as a ModelMetadata flatbuffer.

Source: metadata_schema.fbs 1.1.0 of TFLite's support library. Numbers are those of its fields and enum values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.contract import Contract, InputContract, OutputContract, labels_file

_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
_DESCRIPTIONS, _AXIS_LABELS = 1, 2  # AssociatedFileType
_FEATURE, _IMAGE = 1, 2  # ContentProperties
_NORMALIZATION, _THRESHOLDING = 1, 3  # ProcessUnitOptions
_COLOURS = {"RGB": 1, "GRAY": 2}  # ColorSpaceType, which has no BGR


@dataclass(frozen=True)
class _Byte:
    value: int


@dataclass(frozen=True)
class _Uint:
    value: int


_Value = Any
"""A string, a float, `_Byte`, `_Uint`, a table as `{field number: value}`, or a list of tables, strings or floats."""


def model_metadata(contract: Contract, name: str, files: Sequence[str]) -> bytes:
    """The bytes of TFLITE_METADATA.

    Args:
        name: of the model.
        files: names in the archive; label files are listed with their outputs, the others with the model.
    """
    labels = {labels_file(row.name) for row in contract.outputs if row.labels}
    contract_files = [
        {0: file, 1: "The whole contract, as JSON.", 2: _Byte(_DESCRIPTIONS)} for file in files if file not in labels
    ]
    subgraph = {2: [_input(row) for row in contract.inputs], 3: [_output(row) for row in contract.outputs]}
    return _flatbuffer(
        {0: name, 1: "Written by edgeport.", 3: [subgraph], 6: contract_files or None, 7: _PARSER_VERSION}
    )


def _input(row: InputContract) -> Mapping[int, _Value]:
    sentences = [
        f"{key} {value}" for key, value in (("Colour order", row.colour_order), ("Resize", row.resize)) if value
    ]
    if row.in_model:
        sentences.append(f"The model's layer {row.in_model['layer']} scales it")
    units = None
    if row.scale is not None and row.mean is not None and row.std is not None:
        # A device computes (x * scale - mean) / std; the schema's formula is (x - mean) / std.
        normalization = {0: [m / row.scale for m in row.mean], 1: [s / row.scale for s in row.std]}
        units = [{0: _Byte(_NORMALIZATION), 1: normalization}]
    stats = {0: [float(row.range[1])], 1: [float(row.range[0])]} if row.range else None
    return {0: row.name, 1: f"{'. '.join(sentences)}." if sentences else None, 3: _content(row), 4: units, 5: stats}


def _content(row: InputContract) -> Mapping[int, _Value]:
    if row.layout != "NHWC":
        return {0: _Byte(_FEATURE), 1: {}}
    height, width = row.shape[1:3]
    fixed = isinstance(height, int) and isinstance(width, int)
    size = {0: _Uint(int(width)), 1: _Uint(int(height))} if fixed else None
    return {0: _Byte(_IMAGE), 1: {0: _Byte(_COLOURS.get(row.colour_order or "", 0)), 1: size}}


def _output(row: OutputContract) -> Mapping[int, _Value]:
    units = None if row.threshold is None else [{0: _Byte(_THRESHOLDING), 1: {0: float(row.threshold)}}]
    labels = None
    if row.labels:
        labels = [{0: labels_file(row.name), 1: "One label a line.", 2: _Byte(_AXIS_LABELS)}]
    description = f"After {row.activation}." if row.activation else None
    return {0: row.name, 1: description, 3: {0: _Byte(_FEATURE), 1: {}}, 4: units, 6: labels}


def _flatbuffer(root: Mapping[int, _Value]) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, root), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: Any, fields: Mapping[int, _Value]) -> int:
    """Writes a table after everything that it points to; returns its offset."""
    present = {number: value for number, value in fields.items() if value is not None}
    offsets = {
        number: _target(builder, value)
        for number, value in present.items()
        if not isinstance(value, _Byte | _Uint | float)
    }
    builder.StartObject(max(fields, default=-1) + 1)
    for number, value in present.items():
        if isinstance(value, _Byte):
            builder.PrependUint8Slot(number, value.value, 0)
        elif isinstance(value, _Uint):
            builder.PrependUint32Slot(number, value.value, 0)
        elif isinstance(value, float):
            builder.PrependFloat32Slot(number, value, 0.0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, offsets[number], 0)
    return int(builder.EndObject())


def _target(builder: Any, value: _Value) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, Mapping):
        return _table(builder, value)
    if isinstance(value[0], float):
        builder.StartVector(4, len(value), 4)
        for number in reversed(value):
            builder.PrependFloat32(number)
        return int(builder.EndVector())
    offsets = [_target(builder, element) for element in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
