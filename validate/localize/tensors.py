"""The artifact's side: the values of every tensor inside a file, and the operations that link them. Worker side.

Nothing is fused or delegated here, so that each tensor that the file names can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.errors import UsageError
from converters.isolation import Channel, Message
from converters.signature import SIGNATURE_KEY, Signature
from validate.agreement.arrays import path_of
from validate.compat.litert import operations_in
from validate.compat.tensorflow import FREEZE
from validate.runtimes import RuntimeOptions, fixed_batch, runtime_name
from validate.runtimes.base import damaged, failed
from validate.runtimes.quantized import FloatEnds


@dataclass(frozen=True)
class Node:
    """One operation: its type, and the names of the tensors it takes and gives."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_tensors(request: Message, _channel: Channel) -> Message:
    """Runs a file on the reference's inputs and writes each floating tensor with a row a sample as `<stem>.<k>.npy`.

    With `run` false nothing is run, and there are no `tensors`.

    Returns:
        `nodes` as `[op, inputs, outputs]` in the order of execution, `tensors` (name to k), and `inputs`, the names of
        the file's own inputs in the reference's order.
    """
    work, path = Path(request["work"]), Path(request["path"])
    names = list(request["input_names"])
    arrays = [np.load(path_of(work, "in", k)) for k in range(len(names))]
    options = RuntimeOptions(threads=int(request["threads"]), signature=request["key"])
    opened = _OPENERS[runtime_name(path)](path, names, options)
    tensors: dict[str, int] = {}
    samples = len(arrays[0])
    for name, value in opened.values(arrays) if request["run"] else ():
        if value.dtype.kind == "f" and value.ndim and value.shape[0] == samples:
            np.save(path_of(work, request["stem"], len(tensors)), value)
            tensors[name] = len(tensors)
    nodes = [[node.op, list(node.inputs), list(node.outputs)] for node in opened.nodes]
    return {"nodes": nodes, "tensors": tensors, "inputs": opened.inputs}


def _check_inputs(path: Path, signature: Signature, names: Sequence[str]) -> None:
    """Raises UsageError where the file takes other inputs than the reference: it was made from another checkpoint."""
    if sorted(signature.input_names) != sorted(names):
        raise UsageError(
            f"{path.name} takes the inputs {', '.join(signature.input_names)}, the checkpoint {', '.join(names)}.",
            next_step="Give the checkpoint that the file was made from.",
            file=path,
            step="localize",
        )


def load_onnx(path: Path) -> Any:
    """The model without its external data. Raises RefusedError where it is damaged."""
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as cause:
        damaged(path, "an ONNX model", cause)


class _Onnx:
    def __init__(self, path: Path, names: list[str], options: RuntimeOptions) -> None:
        import onnx

        from validate.runtimes.onnxruntime import OnnxRuntime

        model = load_onnx(path)
        self.inputs = names
        self.nodes = [Node(n.op_type, tuple(n.input), tuple(o for o in n.output if o)) for n in model.graph.node]
        output_names = {output.name for output in model.graph.output}
        for node in self.nodes:
            model.graph.output.extend(onnx.ValueInfoProto(name=o) for o in node.outputs if o not in output_names)
        plain = replace(options, graph_optimization="off")
        self._runtime = OnnxRuntime(path, plain, model.SerializeToString())
        _check_inputs(path, self._runtime.signature, names)

    def values(self, arrays: list[Array]) -> Iterator[tuple[str, Array]]:
        feeds = dict(zip(self.inputs, arrays, strict=True))
        yield from feeds.items()
        yield from _in_pieces(self._runtime.signature, feeds, self._run).items()

    def _run(self, feeds: Arrays) -> Arrays:
        session = self._runtime.session
        names = [output.name for output in session.get_outputs()]
        try:
            return dict(zip(names, session.run(names, feeds), strict=True))
        except Exception as cause:
            failed(self._runtime.path, cause)


def filled(signature: Signature, feeds: Arrays) -> Arrays:
    """The feeds, the last sample repeated until a file of a fixed batch size can take them in pieces."""
    size = fixed_batch(signature) or 1
    return {k: np.concatenate([v, np.repeat(v[-1:], -len(v) % size, axis=0)]) for k, v in feeds.items()}


def _in_pieces(signature: Signature, feeds: Arrays, run: Callable[[Arrays], Arrays]) -> Arrays:
    """A file of a fixed batch size takes the samples in pieces; inner tensors are joined like outputs."""
    size = fixed_batch(signature)
    count = len(next(iter(feeds.values())))
    if size is None or size == count:
        return run(feeds)
    full = filled(signature, feeds)
    pieces = [run({k: v[i : i + size] for k, v in full.items()}) for i in range(0, count, size)]
    batched = [name for name, value in pieces[0].items() if value.ndim and value.shape[0] == size]
    return {name: np.concatenate([piece[name] for piece in pieces])[:count] for name in batched}


class _Tflite:
    def __init__(self, path: Path, names: list[str], options: RuntimeOptions) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        from validate.runtimes.tflite import TfliteRuntime, with_signature

        content, _ = with_signature(path, options)
        runtime = TfliteRuntime(path, content=content)
        _check_inputs(path, runtime.signature, names)
        self._ends = FloatEnds(runtime, names)
        self.path, self.signature = path, self._ends.signature
        self._interpreter = Interpreter(
            **({"model_path": str(path)} if content is None else {"model_content": content}),
            num_threads=options.threads,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        keys = list(self._interpreter.get_signature_list())
        key = SIGNATURE_KEY if SIGNATURE_KEY in keys else keys[0]
        self._runner = self._interpreter.get_signature_runner(key)
        self._names = names
        indices = {name: str(detail["index"]) for name, detail in self._runner.get_input_details().items()}
        self.inputs = [indices[name] for name in names]
        self.nodes = [
            Node(o["op_name"], tuple(str(i) for i in o["inputs"]), tuple(str(i) for i in o["outputs"]))
            for o in operations_in(self._interpreter)
        ]

    def values(self, arrays: list[Array]) -> Iterator[tuple[str, Array]]:
        feeds = dict(zip(self._names, arrays, strict=True))
        yield from _in_pieces(self.signature, feeds, self._run).items()

    def _run(self, feeds: Arrays) -> Arrays:
        try:
            self._runner(**self._ends.in_codes(feeds))
        except Exception as cause:
            failed(self.path, cause)
        values = {}
        computed_names = {*self.inputs, *(o for node in self.nodes for o in node.outputs)}
        for detail in self._interpreter.get_tensor_details():
            if str(detail["index"]) in computed_names:
                value = self._tensor(detail)
                if value is not None:
                    values[str(detail["index"])] = value
        return values

    def _tensor(self, detail: Any) -> Array | None:
        try:
            value = np.array(self._interpreter.get_tensor(detail["index"]))
        except ValueError:  # a tensor without data, such as an optional state
            return None
        parameters = detail["quantization_parameters"]
        scales, zeros = parameters["scales"], parameters["zero_points"]
        if value.dtype.kind in "iu" and len(scales) == 1:
            return ((value.astype(np.int64) - int(zeros[0])) * float(scales[0])).astype(np.float32)
        return value


class FrozenSavedModel:
    """A SavedModel's function with its variables as constants; `outputs` limits the tensors that it gives."""

    def __init__(
        self, path: Path, names: list[str], options: RuntimeOptions, outputs: Sequence[str] | None = None
    ) -> None:
        from validate.runtimes.saved_model import SavedModelRuntime, load_signature

        self.path, self.signature = path, SavedModelRuntime(path, options).signature
        _check_inputs(path, self.signature, names)
        self._loaded, function = load_signature(path, options.key)
        frozen = FREEZE.get()(function, lower_control_flow=False, aggressive_inlining=True)
        _, keywords = function.structured_input_signature
        order = sorted(keywords)
        placeholders = dict(zip(order, frozen.inputs, strict=False))
        tables = frozen.inputs[len(order) :]  # the variables are constants now
        variables = {id(variable.handle) for variable in function.graph.variables}
        resources = [handle for handle in function.captured_inputs if handle.dtype.name == "resource"]
        handles = [handle for handle in resources if id(handle) not in variables]
        self._tables = {table.op.name: handle for table, handle in zip(tables, handles, strict=True)}
        self._feeds = [placeholders[name] for name in names]
        self.inputs = [tensor.name for tensor in self._feeds]
        operations = [op for op in frozen.graph.get_operations() if op.type not in {"Const", "NoOp", "Placeholder"}]
        self.nodes = [
            Node(op.type, tuple(t.name for t in op.inputs), tuple(t.name for t in op.outputs)) for op in operations
        ]
        tensors = [t for op in operations for t in op.outputs if t.dtype.is_floating]
        self._tensors = [t for t in tensors if outputs is None or t.name in outputs]
        self._function = frozen.prune([*self._feeds, *tables], self._tensors)

    def values(self, arrays: list[Array]) -> Iterator[tuple[str, Array]]:
        import tensorflow as tf

        yield from zip(self.inputs, arrays, strict=True)
        try:
            feeds = {t.op.name: tf.constant(a, t.dtype) for a, t in zip(arrays, self._feeds, strict=True)}
            results = self._function(**feeds, **self._tables)
        except Exception as cause:
            failed(self.path, cause)
        for tensor, value in zip(self._tensors, results, strict=True):
            yield tensor.name, value.numpy()


_OPENERS: dict[str, Callable[[Path, list[str], RuntimeOptions], Any]] = {
    "onnxruntime": _Onnx,
    "tflite": _Tflite,
    "saved_model": FrozenSavedModel,
}
