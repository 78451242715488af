"""The artifact cut at some of its tensors, and run as an application runs it: fusions and delegates on. Worker side.

A runtime computes fused operations as such only while no tensor between them is asked for. So a file is cut at the
tensor of interest: that becomes its output, and the operations after it are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.isolation import Channel, Message
from converters.readers.tflite_signed import signed
from validate.agreement.arrays import path_of
from validate.localize.tensors import FrozenSavedModel, filled, load_onnx
from validate.runtimes import RuntimeOptions, open_artifact, runtime_name
from validate.runtimes.base import Runtime, damaged
from validate.runtimes.devices import Device
from validate.runtimes.quantized import FloatEnds
from validate.runtimes.variant import Variant


def run_cut(request: Message, _channel: Channel) -> Message:
    """Runs the file up to each of `tensors` on the reference's inputs where the request says; writes `<stem>.<k>.npy`
    for the k-th."""
    work, path = Path(request["work"]), Path(request["path"])
    names, tensors = list(request["input_names"]), list(request["tensors"])
    feeds = {name: np.load(path_of(work, "in", k)) for k, name in enumerate(names)}
    options = Variant.from_json(request["variant"]).options(Device(request["device"]), int(request["threads"]))
    options = replace(options, machine=request["machine"], signature=request["key"])
    values = _CUTS[runtime_name(path)](path, feeds, tensors, options)
    for k, tensor in enumerate(tensors):
        np.save(path_of(work, request["stem"], k), values[tensor])
    return {}


def _onnx(path: Path, feeds: Arrays, tensors: Sequence[str], options: RuntimeOptions) -> Arrays:
    return _run(open_artifact(path, options, cut_onnx(load_onnx(path), tensors)), feeds)


def cut_onnx(model: Any, tensors: Sequence[str]) -> bytes:
    """The model up to these tensors: later operations, and the weights that only they read, are taken out of it."""
    import onnx

    graph = model.graph
    places = needed([(_read_by(node), list(node.output)) for node in graph.node], tensors)
    for k in reversed(range(len(graph.node))):
        if k not in places:
            del graph.node[k]
    read = {name for node in graph.node for name in _read_by(node)}
    for k in reversed(range(len(graph.initializer))):
        if graph.initializer[k].name not in read:
            del graph.initializer[k]
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in tensors)
    content: bytes = model.SerializeToString()
    return content


def _read_by(node: Any) -> list[str]:
    """Names that an operation reads, and those that the graphs inside it read from outside them."""
    graphs = [g for attribute in node.attribute for g in (attribute.g, *attribute.graphs)]
    return [*node.input, *(name for graph in graphs for inner in graph.node for name in _read_by(inner))]


def needed(operations: Sequence[tuple[Iterable[Any], Iterable[Any]]], targets: Iterable[Any]) -> set[int]:
    """Places of the operations, `(inputs, outputs)` in the order of execution, on which `targets` depend."""
    open_names, places = set(targets), set()
    for k in reversed(range(len(operations))):
        inputs, outputs = operations[k]
        if open_names.intersection(outputs):
            open_names.update(inputs)
            places.add(k)
    return places


def _tflite(path: Path, feeds: Arrays, tensors: Sequence[str], options: RuntimeOptions) -> Arrays:
    runtime = open_artifact(path, options, cut_tflite(path, [int(t) for t in tensors], options.key))
    return _run(FloatEnds(runtime, [*feeds, *tensors]), feeds)


def cut_tflite(path: Path, tensors: Sequence[int], key: str | None = None) -> bytes:
    """The file up to these tensors of its first subgraph, each an output of every signature, by its number.

    Args:
        key: of a file that has several signatures, the one that is the first subgraph's then.

    Raises:
        RefusedError: the file is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    try:
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(signed(path, key).content or path.read_bytes()))
    except Exception as cause:
        damaged(path, "a TFLite model", cause)
    graph = model.subgraphs[0]
    places = needed([(list(op.inputs), list(op.outputs)) for op in graph.operators], tensors)
    graph.operators = [op for k, op in enumerate(graph.operators) if k in places]
    graph.outputs = list(tensors)
    for signature in model.signatureDefs or ():
        signature.outputs = [schema.TensorMapT() for _ in tensors]
        for entry, tensor in zip(signature.outputs, tensors, strict=True):
            entry.name, entry.tensorIndex = str(tensor), tensor
    used = set(_buffers(model))
    for k, buffer in enumerate(model.buffers):
        # Packed as an array in one go; bytes are packed one at a time, a megabyte a second.
        buffer.data = None if buffer.data is None or k not in used else np.frombuffer(bytes(buffer.data), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _buffers(model: Any) -> Iterator[int]:
    """Buffers of the tensors that are still read or computed, and of the metadata."""
    for k, graph in enumerate(model.subgraphs):
        named = {int(t) for op in graph.operators for t in (*op.inputs, *op.outputs)}
        yield from (int(t.buffer) for i, t in enumerate(graph.tensors) if k or i in named)
    yield from (int(entry.buffer) for entry in model.metadata or ())


def _run(runtime: Runtime, feeds: Arrays) -> Arrays:
    count = len(next(iter(feeds.values())))
    return {name: value[:count] for name, value in runtime.run(filled(runtime.signature, feeds)).items()}


def _saved_model(path: Path, feeds: Arrays, tensors: Sequence[str], options: RuntimeOptions) -> Arrays:
    cut = FrozenSavedModel(path, list(feeds), options, tensors)
    return dict(cut.values(list(feeds.values())))


_CUTS: dict[str, Callable[[Path, dict[str, Array], Sequence[str], RuntimeOptions], Arrays]] = {
    "onnxruntime": _onnx,
    "tflite": _tflite,
    "saved_model": _saved_model,
}
