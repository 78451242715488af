"""Writes an ONNX model with its weights streamed from the arrays: no protobuf ever holds a copy of them.

Field numbers are those of onnx.proto: ModelProto.graph is 7, GraphProto.initializer 5, TensorProto.raw_data 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from converters.arrays import Array
from converters.readers.protobuf import tag

EXTERNAL_OVER = 1536 << 20
"""Bytes of weights from which they go into `<name>.onnx.data`: protobuf messages end at 2 GiB."""

_ALIGNMENT = 4096  # a page: runtimes map the file instead of reading it
_EMBEDDED = 1024  # shapes, axes and small constants stay where shape inference sees them
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def write_model(model: Any, constants: Mapping[str, Array], path: Path) -> None:
    """Writes `path`, and `<path>.data` beside it when the constants are more than `EXTERNAL_OVER` bytes.

    Args:
        model: a ModelProto without initializers.
        constants: the graph's initializers by name; they are written in this order.
    """
    external = sum(value.nbytes for value in constants.values()) > EXTERNAL_OVER
    heads = _external_heads(constants, path) if external else {n: _head(n, v) for n, v in constants.items()}
    sizes = {name: _tensor_size(heads[name], constants[name], external) for name in constants}
    graph = model.graph.SerializeToString(deterministic=True)
    length = len(graph) + sum(len(tag(_INITIALIZER, size)) + size for size in sizes.values())
    with path.open("wb") as stream:
        stream.write(_without_graph(model))
        stream.write(tag(_GRAPH, length))
        stream.write(graph)
        for name, value in constants.items():
            stream.write(tag(_INITIALIZER, sizes[name]))
            stream.write(heads[name])
            if not _is_external(value, external):
                stream.write(tag(_RAW_DATA, value.nbytes))
                _write_array(stream, value)


def skeleton(model: Any, constants: Mapping[str, Array]) -> Any:
    """The model with its large constants as graph inputs: as valid as the whole, and a thousandth of its size."""
    from onnx import helper, numpy_helper

    light = type(model)()
    light.CopyFrom(model)
    for name, value in constants.items():
        if value.nbytes <= _EMBEDDED:
            light.graph.initializer.append(numpy_helper.from_array(value, name))
        else:
            dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
            light.graph.input.append(helper.make_tensor_value_info(name, dtype, value.shape))
    return light


def _external_heads(constants: Mapping[str, Array], path: Path) -> dict[str, bytes]:
    """Writes the data file and returns each tensor's description, which points into it."""
    from onnx import TensorProto

    heads = {}
    data = path.with_name(path.name + ".data")
    with data.open("wb") as stream:
        for name, value in constants.items():
            tensor = _tensor(name, value)
            if _is_external(value, True):
                stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))
                tensor.data_location = TensorProto.EXTERNAL
                entries = {"location": data.name, "offset": stream.tell(), "length": value.nbytes}
                for key, entry in entries.items():
                    tensor.external_data.add(key=key, value=str(entry))
                _write_array(stream, value)
            heads[name] = tensor.SerializeToString(deterministic=True)
    return heads


def _is_external(value: Array, external: bool) -> bool:
    return external and value.nbytes > _EMBEDDED


def _tensor(name: str, value: Array) -> Any:
    from onnx import TensorProto, helper

    return TensorProto(dims=value.shape, data_type=helper.np_dtype_to_tensor_dtype(value.dtype), name=name)


def _head(name: str, value: Array) -> bytes:
    head: bytes = _tensor(name, value).SerializeToString(deterministic=True)
    return head


def _tensor_size(head: bytes, value: Array, external: bool) -> int:
    if _is_external(value, external):
        return len(head)
    return len(head) + len(tag(_RAW_DATA, value.nbytes)) + value.nbytes


def _without_graph(model: Any) -> bytes:
    header = type(model)()
    header.CopyFrom(model)
    header.ClearField("graph")
    content: bytes = header.SerializeToString(deterministic=True)
    return content


def _write_array(stream: IO[bytes], value: Array) -> None:
    little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
    stream.write(little.reshape(-1).view(np.uint8).data)
