"""TFLite from the graph without its weights: each kernel is one number in it, and is written into the file afterwards.

The converter then folds, moves and checks a few thousand numbers instead of all of them. A number of its own marks each
kernel, so that no guess is needed to find its place. Where anything in the file cannot be accounted for, `converted`
gives up and the way over the SavedModel is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.compat.tensorflow import SCHEMA
from converters.signature import SIGNATURE_KEY, Signature
from converters.weightless_graph import WeightlessGraph
from converters.writers.tflite.fold import Folded, folded
from converters.writers.tflite.weights import float_constants

_MOST_KERNELS = 4000
_STEP = 2.0**-12  # marks are 1 + k * _STEP: exact in float32, and none is 1, by which a product would be dropped

_ARRANGED: Mapping[tuple[str, str], Callable[[Array], Array]] = {
    # TensorFlow            TFLite
    ("Conv2D", "CONV_2D"): lambda kernel: kernel.transpose(3, 0, 1, 2),
    ("DepthwiseConv2dNative", "DEPTHWISE_CONV_2D"): lambda kernel: kernel.reshape(1, *kernel.shape[:2], -1),
    ("MatMul", "FULLY_CONNECTED"): lambda kernel: kernel.transpose(1, 0),
}
"""How the format stores a kernel of each operation. The output channels of a depthwise kernel are its last axis."""


def converted(
    graph: WeightlessGraph, signature: Signature, scratch: Path, convert: Callable[[Path], bytearray]
) -> bytearray | None:
    """The file's content; None where the graph or what the converter makes of it is not fully understood.

    Args:
        scratch: an empty folder, for a SavedModel without variables.
        convert: TensorFlow's converter on a SavedModel folder.
    """
    plan = folded(graph)
    if plan is None or not 0 < len(plan.kernels) < _MOST_KERNELS:
        return None
    marks = {name: np.float32(1 + (k + 1) * _STEP) for k, name in enumerate(plan.kernels)}
    _write_saved_model(scratch, _marked(plan, marks), graph, signature)
    content = convert(scratch)
    places = _places(content, plan, marks)
    if places is None:
        return None
    for name, place in places.items():
        kernel = plan.kernels[name]
        arranged = _ARRANGED[kernel.operation, place.operation](graph.weights[name])
        if arranged.shape != place.values.shape:
            return None
        if not kernel.scale.size:
            np.copyto(place.values, arranged)
            continue
        last = place.operation == "DEPTHWISE_CONV_2D" or not kernel.scale.ndim
        scale = kernel.scale if last else kernel.scale.reshape(-1, *[1] * (arranged.ndim - 1))
        np.multiply(arranged, scale, out=place.values, casting="same_kind")
    return content


@dataclass(frozen=True)
class _Place:
    """Where a kernel goes: the numbers in the file, in the format's order, and the operation that reads them."""

    operation: str
    values: Array


def _marked(plan: Folded, marks: Mapping[str, np.float32]) -> Any:
    """The graph with a constant of one number in place of each kernel."""
    definition = type(plan.definition)()
    definition.CopyFrom(plan.definition)
    for node in definition.node:
        if node.name in marks:
            shape = node.attr["shape"].shape
            tensor = node.attr["value"].tensor
            tensor.dtype = node.attr["dtype"].type
            tensor.tensor_shape.CopyFrom(shape)
            tensor.float_val.append(float(marks[node.name]))
            node.op = "Const"
            del node.attr["shape"]
    return definition


def _write_saved_model(folder: Path, definition: Any, graph: WeightlessGraph, signature: Signature) -> None:
    """A SavedModel of a graph without variables, which needs no session and no saver."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta = saved.meta_graphs.add()
    meta.meta_info_def.tags.append(tf.saved_model.SERVING)
    meta.graph_def.CopyFrom(definition)
    served = meta.signature_def[SIGNATURE_KEY]
    served.method_name = tf.saved_model.PREDICT_METHOD_NAME
    sides = ((served.inputs, signature.inputs, graph.inputs), (served.outputs, signature.outputs, graph.outputs))
    for side, specs, tensors in sides:
        for spec, tensor in zip(specs, tensors, strict=True):
            shape = tf.TensorShape([d if isinstance(d, int) else None for d in spec.shape])
            side[spec.name].name = tensor
            side[spec.name].dtype = tf.dtypes.as_dtype(spec.dtype).as_datatype_enum
            side[spec.name].tensor_shape.CopyFrom(shape.as_proto())
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString(deterministic=True))


def _places(content: bytearray, plan: Folded, marks: Mapping[str, np.float32]) -> dict[str, _Place] | None:
    """Where each kernel goes; None unless every number of the file is either a mark in its place or a known constant.

    A constant that the converter computed from a mark would be wrong in the finished file, and is not a known one.
    """
    by_mark = {float(value): name for name, value in marks.items()}
    places: dict[str, _Place] = {}
    for values, readers in _read_constants(content):
        flat = values.reshape(-1)
        name = by_mark.get(float(flat[0]))
        if name is None or flat.size != plan.kernels[name].size:
            if flat.any() and flat.tobytes() not in plan.constants:  # a bias that is not there is written as zeros
                return None
            continue
        arranged = len(readers) == 1 and (plan.kernels[name].operation, readers[0]) in _ARRANGED
        if name in places or not arranged or not (flat == flat[0]).all():
            return None
        places[name] = _Place(readers[0], values)
    return places if len(places) == len(marks) else None


def _read_constants(content: bytearray) -> list[tuple[Array, list[str]]]:
    """Each float constant of the file as a view that can be written to, with the operations that read it as a kernel.

    A reader that takes it as anything but its second input appears as an empty name.
    """
    readers = _readers(content)
    constants: dict[int, tuple[Array, list[str]]] = {}
    for subgraph, tensor, buffer, values in float_constants(content):
        constants.setdefault(buffer, (values, []))[1].extend(readers.get((subgraph, tensor), []))
    return list(constants.values())


def _readers(content: bytearray) -> dict[tuple[int, int], list[str]]:
    """By (subgraph, tensor), the operations that read it: by name where it is their second input, else an empty one."""
    schema = SCHEMA.get()
    model = schema.Model.GetRootAs(content, 0)
    builtin = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = [builtin[model.OperatorCodes(k).BuiltinCode()] for k in range(model.OperatorCodesLength())]
    readers: dict[tuple[int, int], list[str]] = {}
    for index in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(index)
        for operator in (subgraph.Operators(k) for k in range(subgraph.OperatorsLength())):
            for position in range(operator.InputsLength()):
                reader = codes[operator.OpcodeIndex()] if position == 1 else ""
                readers.setdefault((index, operator.Inputs(position)), []).append(reader)
    return readers
