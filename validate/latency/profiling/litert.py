"""LiteRT's profiler, through its C interface: the Python one has none. It reports every XNNPACK operator.

Structures and symbols: LiteRT 2.x, litert/c (litert_profiler.h, litert_profiler_event.h, litert_model.h) and
tflite/core/api/profiler.h for the kinds of events. Where the library at hand is another one, the profile is refused.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import UnsupportedError
from converters.readers.tflite_file import read_tflite
from validate.compat.litert import operations_in
from validate.latency.profiling.nodes import RUNS, SECONDS, WARM, Node, kind_of

_OPERATOR, _DELEGATE_OPERATOR = 2, 8
_CPU = 1
_HOST_MEMORY = 1
_ELEMENT_BYTES = {1: 4, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 2, 11: 8, 16: 4, 17: 2}  # by TfLiteType
_V = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_RANK_BITS = 0x7F


class _Layout(ctypes.Structure):
    _fields_ = [("bits", ctypes.c_uint32), ("sizes", ctypes.c_int32 * 8), ("strides", ctypes.c_uint32 * 8)]


class _TensorType(ctypes.Structure):
    _fields_ = [("element", ctypes.c_int), ("layout", _Layout)]


class _Event(ctypes.Structure):
    """ProfiledEventData; its two memory records are three words each."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("us", ctypes.c_uint64),
        ("memory", ctypes.c_int64 * 6),
        ("index", ctypes.c_uint64),
        ("more", ctypes.c_uint64),
        ("source", ctypes.c_int),
    ]


_CLEANUP = ctypes.CFUNCTYPE(None, _V)(lambda _: None)


@dataclass(frozen=True)
class Event:
    """One record of the profiler: the operator's index is -1 where only its name is known, in a delegate."""

    tag: str
    operator: int
    micros: int


def profile(path: Path, threads: int, batch: int) -> tuple[list[Node], int]:
    """Mean microseconds of every operator as it ran, inside XNNPACK too.

    Raises:
        UnsupportedError: this LiteRT has no profiler, or not this one; or the file leaves sizes open.
    """
    if any(size is None for tensor in read_tflite(path).inputs for size in (tensor.shape or ())[1:]):
        raise UnsupportedError(
            f"{path.name} leaves sizes open, at which LiteRT's profiler cannot run it.",
            next_step="Profile the .onnx file, or export a checkpoint of known sizes.",
            file=path,
            step="profile",
        )
    try:
        events, runs = _events(path, threads, batch)
    except (OSError, AttributeError, _CallError) as cause:
        raise UnsupportedError(
            f"{path.name} cannot be profiled: this ai-edge-litert has no profiler that is known here ({cause}).",
            next_step="Install ai-edge-litert 2.3, or profile the .onnx file.",
            file=path,
            step="profile",
        ) from cause
    return attributed(events, operators(path, batch), runs), runs


def attributed(events: Sequence[Event], graph: Sequence[Node], runs: int) -> list[Node]:
    """The graph's operators with the time of the events that belong to them.

    An event of the interpreter names its operator by index. One of a delegate has a name alone, but delegates keep the
    graph's order: the events of a run are aligned with the operators by kind, and operations that the delegate added
    (a copy, a reshape) count to the operator before them.
    """
    spent = [0.0] * len(graph)
    places: dict[tuple[str, ...], list[int]] = {}
    for run in _by_run(events):
        tags = tuple(event.tag for event in run if event.operator < 0)
        if tags not in places:
            places[tags] = aligned([_family(tag) for tag in tags], [_family(node.operation) for node in graph])
        place = iter(places[tags])
        for event in run:
            spent[next(place) if event.operator < 0 else min(event.operator, len(graph) - 1)] += event.micros / runs
    return [Node(n.name, n.operation, micros, n.macs) for n, micros in zip(graph, spent, strict=True)]


def aligned(events: Sequence[str], graph: Sequence[str]) -> list[int]:
    """For each event its operator: a longest common subsequence, in which convolutions weigh most."""
    best = np.zeros((len(events) + 1, len(graph) + 1), np.int64)
    for i in range(len(events) - 1, -1, -1):
        weight = _weight(events[i])
        for j in range(len(graph) - 1, -1, -1):
            match = best[i + 1, j + 1] + weight if events[i] == graph[j] else 0
            best[i, j] = max(match, best[i + 1, j], best[i, j + 1])
    result, i, j = [], 0, 0
    while i < len(events):
        weight = _weight(events[i])
        if j < len(graph) and events[i] == graph[j] and best[i, j] == best[i + 1, j + 1] + weight:
            result.append(j)
            i, j = i + 1, j + 1
        elif j < len(graph) and best[i, j + 1] >= best[i + 1, j]:
            j += 1
        else:
            result.append(result[-1] if result else 0)
            i += 1
    return result


def _weight(kind: str) -> int:
    return 10 if kind == "convolution" else 1


def operators(path: Path, batch: int) -> list[Node]:
    """The file's operators in order, named by their output tensor, with multiply-adds for this batch."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), num_threads=1, experimental_op_resolver_type=resolver)
    for entry in interpreter.get_input_details():
        signature = entry["shape_signature"]
        if len(signature) and signature[0] == -1:
            interpreter.resize_tensor_input(entry["index"], [batch, *entry["shape"][1:]])
    interpreter.allocate_tensors()
    tensors = {entry["index"]: entry for entry in interpreter.get_tensor_details()}
    result = []
    for entry in operations_in(interpreter):
        if entry["op_name"] == "DELEGATE":
            continue
        output = tensors.get(int(entry["outputs"][0])) if len(entry["outputs"]) else None
        name = str(output["name"]) if output else entry["op_name"]
        shapes = [list(tensors[int(i)]["shape"]) if int(i) in tensors else [] for i in entry["inputs"]]
        macs = multiply_adds(entry["op_name"], shapes, list(output["shape"]) if output else [])
        result.append(Node(name, entry["op_name"], 0.0, macs))
    return result


def multiply_adds(operation: str, inputs: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    """TFLite's weights are (out, height, width, in), depthwise (1, height, width, out), dense (out, in)."""
    elements = math.prod(int(d) for d in output)
    if operation == "CONV_2D":
        return elements * math.prod(int(d) for d in inputs[1][1:])
    if operation == "DEPTHWISE_CONV_2D":
        return elements * int(inputs[1][1]) * int(inputs[1][2])
    if operation in {"FULLY_CONNECTED", "BATCH_MATMUL"}:
        return elements * int((inputs[1] if operation == "FULLY_CONNECTED" else inputs[0])[-1])
    if operation == "TRANSPOSE_CONV":
        return math.prod(int(d) for d in inputs[2]) * math.prod(int(d) for d in inputs[1][:3])
    return 0


class _CallError(Exception):
    """A C function returned a status other than 0."""


def _by_run(events: Sequence[Event]) -> list[list[Event]]:
    """The events between one call of the model and the next."""
    runs: list[list[Event]] = []
    for event in events:
        if event.tag == "Invoke":
            runs.append([])
        elif runs:
            runs[-1].append(event)
    return runs


def _family(operation: str) -> str:
    """Kinds that delegates exchange for each other count as one: a 1x1 convolution runs as a matrix product."""
    kind = kind_of(operation)
    return "convolution" if kind == "dense" else kind


def _events(path: Path, threads: int, batch: int) -> tuple[list[Event], int]:
    """Every event of the steady runs, in order, and how many runs there were."""
    library = _Library()
    model, run, profiler = library.open(path, threads, batch)
    del model
    for _ in range(WARM):
        run()
    library.call("LiteRtStartProfiler", profiler)
    began, runs = time.monotonic(), 0
    while runs < RUNS and (runs < 3 or time.monotonic() - began < SECONDS):
        run()
        runs += 1
    library.call("LiteRtStopProfiler", profiler)
    count = ctypes.c_int()
    library.call("LiteRtGetNumProfilerEvents", profiler, ctypes.byref(count))
    records = (_Event * count.value)()
    library.call("LiteRtGetProfilerEvents", profiler, count.value, ctypes.byref(records))
    result = []
    for event in records:
        tag = (event.tag or b"").decode(errors="replace")
        if event.kind == _DELEGATE_OPERATOR:
            result.append(Event(tag, -1, int(event.us)))
        elif event.kind == _OPERATOR:
            result.append(Event(tag, int(event.index), int(event.us)))
        elif tag == "Invoke" and event.kind == 1:
            result.append(Event(tag, -1, 0))
    return result, runs


class _Library:
    """libLiteRt.so, every call checked."""

    def __init__(self) -> None:
        import ai_edge_litert

        self._c = ctypes.CDLL(str(Path(next(iter(ai_edge_litert.__path__))) / "libLiteRt.so"))
        self._references: list[Any] = []

    def call(self, name: str, *arguments: Any) -> None:
        """Raises _CallError, or AttributeError where the library has no such function."""
        status = getattr(self._c, name)(*arguments)
        if status != 0:
            raise _CallError(f"{name} returned {status}")

    def handle_from(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Calls a function whose last argument receives a handle, and returns that."""
        handle = _V()
        self.call(name, *arguments, ctypes.byref(handle))
        self._references.append(handle)
        return handle

    def open(self, path: Path, threads: int, batch: int) -> tuple[Any, Any, ctypes.c_void_p]:
        """The compiled model, a function that runs it once, and its profiler."""
        environment = self.handle_from("LiteRtCreateEnvironment", 0, None)
        model = self.handle_from("LiteRtCreateModelFromFile", environment, str(path).encode())
        options = self.handle_from("LiteRtCreateOptions")
        self.call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        for kind, text in (("runtime", "enable_profiling = true\n"), ("cpu", f"num_threads = {threads}\n")):
            payload = ctypes.create_string_buffer(text.encode())
            self._references.append(payload)
            identifier = f"{kind}_options_string".encode()
            opaque = self.handle_from("LiteRtCreateOpaqueOptions", identifier, ctypes.cast(payload, _V), _CLEANUP)
            self.call("LiteRtAddOpaqueOptions", options, opaque)
        compiled = self.handle_from("LiteRtCreateCompiledModel", environment, model, options)
        profiler = self.handle_from("LiteRtCompiledModelGetProfiler", compiled)
        if not profiler:
            raise _CallError("it was built without one")
        signature = self.handle_from("LiteRtGetModelSignature", model, _SIZE(0))
        self._resize(compiled, signature, batch)
        inputs, outputs = (self._buffers(environment, signature, k, batch) for k in ("Input", "Output"))
        input_array, output_array = (_V * len(inputs))(*inputs), (_V * len(outputs))(*outputs)

        def run() -> None:
            counts = _SIZE(len(inputs)), _SIZE(len(outputs))
            self.call("LiteRtRunCompiledModel", compiled, _SIZE(0), counts[0], input_array, counts[1], output_array)

        return compiled, run, profiler

    def _resize(self, compiled: Any, signature: Any, batch: int) -> None:
        for index in range(self._count("Input", signature)):
            sizes, dynamic = self._shape("Input", signature, index, batch)
            if dynamic:
                shape = (ctypes.c_int * len(sizes))(*sizes)
                place = _SIZE(0), _SIZE(index)
                self.call("LiteRtCompiledModelResizeInputTensor", compiled, *place, shape, _SIZE(len(sizes)))

    def _buffers(self, environment: Any, signature: Any, kind: str, batch: int) -> list[Any]:
        result = []
        for index in range(self._count(kind, signature)):
            tensor = self._type(kind, signature, index)
            for k in range(tensor.layout.bits & _RANK_BITS):
                if tensor.layout.sizes[k] < 0:
                    tensor.layout.sizes[k] = batch
            sizes = [int(tensor.layout.sizes[k]) for k in range(tensor.layout.bits & _RANK_BITS)]
            size = _SIZE(math.prod(sizes) * _ELEMENT_BYTES.get(tensor.element, 8))
            place = environment, _HOST_MEMORY, ctypes.byref(tensor), size
            result.append(self.handle_from("LiteRtCreateManagedTensorBuffer", *place))
        return result

    def _count(self, kind: str, signature: Any) -> int:
        count = _SIZE()
        self.call(f"LiteRtGetNumSignature{kind}s", signature, ctypes.byref(count))
        return int(count.value)

    def _type(self, kind: str, signature: Any, index: int) -> _TensorType:
        tensor = self.handle_from(f"LiteRtGetSignature{kind}TensorByIndex", signature, _SIZE(index))
        tensor_type = _TensorType()
        self.call("LiteRtGetRankedTensorType", tensor, ctypes.byref(tensor_type))
        return tensor_type

    def _shape(self, kind: str, signature: Any, index: int, batch: int) -> tuple[list[int], bool]:
        layout = self._type(kind, signature, index).layout
        sizes = [int(layout.sizes[k]) for k in range(layout.bits & _RANK_BITS)]
        return [batch if size < 0 else size for size in sizes], min(sizes, default=0) < 0
