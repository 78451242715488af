"""Where a quantized file loses the signal: every tensor against the float file's, on a few samples. Worker side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays

_BYTES = 384 << 20
_FEWEST = 4
_MAPS = {"SOFTMAX", "LOGISTIC", "Softmax", "Sigmoid"}


@dataclass(frozen=True)
class Step:
    """One operation of the float file.

    Attributes:
        key: what keeps it in float, in the words of `converters.writers`.
        name: what its layer is read from.
        inputs, outputs: of computed tensors only.
        channel: the axis of its outputs that is a channel.
        elements: of its outputs, for one sample.
    """

    key: str
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int
    channel: int = -1
    elements: int = 0


def affordable(steps: Sequence[Step], samples: int) -> int:
    """The number of samples of which every tensor fits into the memory that a rescue may take."""
    row = 4 * sum(step.elements for step in steps)
    return max(_FEWEST, min(samples, _BYTES // max(1, row)))


def tflite_steps(path: Path) -> list[Step]:
    from converters.readers.tflite_graph import read_tflite_graph

    return [
        Step(
            ";".join(t.name for t in op.outputs),
            op.kind,
            ";".join(t.name for t in op.outputs),
            tuple(t.name for t in op.inputs if not t.constant),
            tuple(t.name for t in op.outputs),
            op.macs,
            elements=sum(t.elements for t in op.outputs),
        )
        for op in read_tflite_graph(path)
    ]


def onnx_steps(path: Path) -> list[Step]:
    from converters.readers.onnx_graph import read_onnx_graph

    graph = read_onnx_graph(path)
    return [
        Step(
            node.name,
            node.kind,
            node.name,
            tuple(n for n in node.inputs if n and n not in graph.constants),
            node.outputs,
            graph.macs(node) or 0,
            1 if len(graph.shapes.get(node.outputs[0], ())) == 4 else -1,
            math.prod(graph.shapes.get(node.outputs[0], (0,))),
        )
        for node in graph.nodes
    ]


def tflite_values(path: Path, inputs: Mapping[str, Array], batch: int = 8) -> Arrays:
    """Every float or quantized tensor by name, in real numbers, over all samples."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    names = _input_names(path)
    details = interpreter.get_input_details()
    parts: dict[str, list[Array]] = {}
    count = min(len(a) for a in inputs.values())
    fixed = all(len(d["shape_signature"]) and d["shape_signature"][0] > 0 for d in details)
    size = int(details[0]["shape_signature"][0]) if fixed else batch
    for start in range(0, count - (count % size if fixed else 0), size):
        rows = min(size, count - start)
        for entry in details:
            if not fixed:
                sizes = inputs[names[entry["index"]]].shape[1:]  # the file may leave these open too
                interpreter.resize_tensor_input(entry["index"], [rows, *sizes])
        interpreter.allocate_tensors()
        for entry in details:
            interpreter.set_tensor(entry["index"], inputs[names[entry["index"]]][start : start + rows])
        interpreter.invoke()
        for entry in interpreter.get_tensor_details():
            if not entry["name"]:  # a kernel's scratch space
                continue
            value = _tensor(interpreter, entry)
            if value is not None and value.ndim and len(value) == rows:
                parts.setdefault(entry["name"], []).append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


def _input_names(path: Path) -> dict[int, str]:
    """By tensor, the signature's names; asked of another interpreter, since a signature runner forbids resizing."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner(next(iter(interpreter.get_signature_list())))
    return {int(entry["index"]): str(name) for name, entry in runner.get_input_details().items()}


def _tensor(interpreter: Any, entry: Any) -> Array | None:
    try:
        value: Array = interpreter.get_tensor(entry["index"])
    except ValueError:  # no memory of its own
        return None
    scales, points = entry["quantization_parameters"]["scales"], entry["quantization_parameters"]["zero_points"]
    if value.dtype.kind == "f":
        return value.astype(np.float32)
    if len(scales) != 1:
        return None
    return ((value.astype(np.float32) - float(points[0])) * float(scales[0])).astype(np.float32)


def onnx_values(path: Path, inputs: Mapping[str, Array], names: Sequence[str], batch: int = 8) -> Arrays:
    """The named tensors as their consumers see them: behind a Q/DQ pair where there is one."""
    import onnx
    import onnxruntime as ort

    model = onnx.load(str(path))
    outputs = {name for node in model.graph.node for name in node.output}
    tensors = {}
    for name in names:
        dequantized = f"{name}_DequantizeLinear_Output"
        if (tensor := dequantized if dequantized in outputs else name) in outputs:
            tensors[name] = tensor
    graph_outputs = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name)
        for name in dict.fromkeys(tensors.values())
        if name not in graph_outputs
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    first = session.get_inputs()[0].shape
    size = first[0] if first and isinstance(first[0], int) else batch
    count = min(len(a) for a in inputs.values())
    parts: dict[str, list[Array]] = {name: [] for name in tensors}
    for start in range(0, count - count % size if count >= size else 0, size):
        feeds = {name: np.ascontiguousarray(array[start : start + size]) for name, array in inputs.items()}
        for name, value in zip(tensors, session.run(list(tensors.values()), feeds), strict=True):
            if value.dtype.kind == "f" and value.ndim:
                parts[name].append(value.astype(np.float32))
    return {name: np.concatenate(values) for name, values in parts.items() if values}


def decision(steps: Sequence[Step], outputs: Sequence[str]) -> dict[str, str]:
    """By output, the tensor that is judged: the one before a final softmax or sigmoid."""
    producers = {name: step for step in steps for name in step.outputs}
    tensors = {}
    for name in outputs:
        step = producers.get(name)
        tensors[name] = step.inputs[0] if step is not None and step.kind in _MAPS else name
    return tensors


def noise(floats: Array, quantized: Array, channel: int = -1) -> float:
    """Mean over the channels of error power over signal power, each at most 1: a lost channel counts like any other.

    One number for the whole tensor would hide a quiet channel next to a loud one, which is how int8 goes wrong.
    """
    axis = tuple(k for k in range(floats.ndim) if k != channel % floats.ndim)
    signal = np.square(floats - floats.mean(axis=0), dtype=np.float64).mean(axis=axis)
    error = np.square(floats - quantized, dtype=np.float64).mean(axis=axis)
    live = signal > 1e-12 * max(float(np.max(signal, initial=0.0)), 1e-30)
    if not np.any(live):
        return 0.0
    return float(np.minimum(error[live] / signal[live], 1.0).mean())
