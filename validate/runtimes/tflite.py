"""LiteRT (`ai_edge_litert`): `.tflite` files by their signature's names, never by position."""

from __future__ import annotations

import contextlib
import functools
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.scan_file import flex_operations
from converters.errors import RefusedError
from converters.readers.tflite_signed import signed
from converters.shapes import sizes_to_try
from converters.signature import SIGNATURE_KEY, Signature, TensorSpec
from validate.compat.litert import RUNNER, has_variables, resized, subgraph_of
from validate.runtimes import base
from validate.runtimes.base import Prepared, Runtime, RuntimeOptions
from validate.runtimes.batching import run_in_fixed_batches
from validate.runtimes.devices import Device


class TfliteRuntime(Runtime):
    """A `.tflite` file in LiteRT's interpreter, called through its only signature, or that of several which is meant.

    One without a signature gets it of its tensors' names.

    Its order of inputs and outputs is the positional one that C, Swift and Java users meet. Integer tensors of a
    fully quantized file are given and taken as they are; `quantization` tells how to read them. A file that keeps a
    state between calls begins every run anew: samples do not depend on those before them.

    Args:
        path: the file.
        content: runs these bytes instead of the file's.

    Raises:
        RefusedError: the file is damaged, or needs operations that LiteRT does not have.
        UsageError: it has several signatures, and none is meant.
        DeviceUnavailableError: a device other than the CPU was asked for.
    """

    ordered = True
    device = Device.CPU

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> None:
        if options.device != Device.CPU:
            raise base.DeviceUnavailableError(
                f"{options.device} is not available to {path.name}: LiteRT has no Python delegate for it.",
                next_step="Time the .onnx file on that device.",
                file=path,
            )
        self.path = path
        content, self.notes = with_signature(path, options, content)
        self._content = content
        self._shapes: tuple[tuple[int, ...], ...] = ()
        try:
            self._interpreter = _allocated(path, options, content)
            self._runner = self._interpreter.get_signature_runner(_signature_key(path, self._interpreter))
        except RefusedError:
            raise
        except Exception as cause:
            if "Select TensorFlow op" in str(cause) and (flex := flex_operations(path)):
                raise RefusedError(
                    f"{path.name} needs operations of TensorFlow that LiteRT does not have here: {', '.join(flex)}.",
                    next_step="Run it in an application with the Flex delegate, or convert it without --allow-flex.",
                    file=path,
                ) from cause
            base.damaged(path, "a TFLite model", cause)
        inputs = _by_position(self._runner.get_input_details(), self._interpreter.get_input_details())
        outputs = _by_position(self._runner.get_output_details(), self._interpreter.get_output_details())
        self.signature = Signature(_specs(inputs), _specs(outputs))
        self.quantization = {
            name: (float(details["quantization"][0]), int(details["quantization"][1]))
            for tensors in (inputs, outputs)
            for name, details in tensors.items()
            if details["quantization"][0]
        }

    @functools.cached_property
    def _keeps_state(self) -> bool:
        with contextlib.ExitStack() as stack:
            content: Any = self._content
            if content is None:
                file = stack.enter_context(self.path.open("rb"))
                content = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return has_variables(content)

    def prepared(self, feed: Arrays) -> Prepared:
        """Sets, invokes and gets tensors by index, as an application with a fixed batch does.

        The signature runner resizes and allocates anew on every call: that is its cost and not the model's. It is what
        is left where this LiteRT is not as edgeport knows it.
        """
        if not RUNNER.usable():
            return (lambda: self._runner(**feed)), lambda results: {n: results[n] for n in self.signature.output_names}
        wrapper, subgraph = subgraph_of(self._runner)
        inputs = {name: int(d["index"]) for name, d in self._runner.get_input_details().items()}
        outputs = self._runner.get_output_details()
        shapes = tuple(array.shape for array in feed.values())
        if shapes != self._shapes:
            for name, array in feed.items():
                resized(self._runner, inputs[name], array.shape)
            wrapper.AllocateTensors(subgraph)
            self._shapes = shapes
        set_tensor, invoke, get_tensor = wrapper.SetTensor, wrapper.Invoke, wrapper.GetTensor
        indexed_inputs = tuple((inputs[name], array) for name, array in feed.items())
        output_indices = tuple(int(outputs[name]["index"]) for name in self.signature.output_names)
        reset = self._interpreter.reset_all_variables if self._keeps_state else None

        def run() -> list[Array]:
            if reset is not None:
                reset()
            for index, array in indexed_inputs:
                set_tensor(index, array, subgraph)
            invoke(subgraph)
            return [get_tensor(index, subgraph) for index in output_indices]

        return run, lambda results: dict(zip(self.signature.output_names, results, strict=True))

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        feeds = base.ordered_inputs(self.signature, inputs, self.path)
        return run_in_fixed_batches(self.signature, feeds, self._run)

    def refuses(self, feeds: Arrays) -> bool:
        """Whether these have another shape than the file states. LiteRT resizes inputs for whoever asks; asked to be
        strict, it changes no dimension that the file fixes, and that is what is asked here."""
        resize = functools.partial(self._interpreter.resize_tensor_input, strict=True)  # of the file's first subgraph
        if RUNNER.usable():
            resize = functools.partial(resized, self._runner, strict=True)
        indices = {name: int(d["index"]) for name, d in self._runner.get_input_details().items()}
        try:
            for name, array in base.ordered_inputs(self.signature, feeds, self.path).items():
                resize(indices[name], array.shape)
        except (ValueError, RuntimeError):
            return True
        return False

    def _run(self, feeds: Arrays) -> Arrays:
        try:
            if self._keeps_state:
                self._interpreter.reset_all_variables()
            results = self._runner(**feeds)
        except Exception as cause:
            base.failed(self.path, cause)
        return {name: results[name] for name in self.signature.output_names}


def _allocated(path: Path, options: RuntimeOptions, content: bytes | None) -> Any:
    """An interpreter whose tensors are there, so that an operation that LiteRT lacks is refused here.

    A file that leaves sizes open states 1 for each, at which a convolution may have nothing left: others are tried.
    """
    interpreter = _interpreter(path, options, content)
    try:
        interpreter.allocate_tensors()
    except RuntimeError:
        stated = {int(d["index"]): [int(k) for k in d["shape_signature"]] for d in interpreter.get_input_details()}
        if all(size != -1 for sizes in stated.values() for size in sizes[1:]):
            raise
        for size in sizes_to_try(stated.values()):
            interpreter = _interpreter(path, options, content)
            for index, sizes in stated.items():
                shape = [size if k and known == -1 else abs(known) for k, known in enumerate(sizes)]
                interpreter.resize_tensor_input(index, shape)
            with contextlib.suppress(RuntimeError):
                interpreter.allocate_tensors()
                return interpreter
        raise
    return interpreter


def _interpreter(path: Path, options: RuntimeOptions, content: bytes | None) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if options.delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    source = {"model_path": str(path)} if content is None else {"model_content": content}
    return Interpreter(**source, num_threads=options.threads, experimental_op_resolver_type=resolver)


def with_signature(
    path: Path, options: RuntimeOptions, content: bytes | None = None
) -> tuple[bytes | None, tuple[str, ...]]:
    """The bytes to open instead of the file, and notes, where it has no signature or several; see `tflite_signed`."""
    if content is not None:
        return content, ()
    single = signed(path, options.key)
    return single.content, single.notes


def _signature_key(path: Path, interpreter: Any) -> str:
    keys = list(interpreter.get_signature_list())
    if SIGNATURE_KEY in keys:
        return SIGNATURE_KEY
    if len(keys) == 1:
        return str(keys[0])
    raise RefusedError(
        f"{path.name} has no signature and is larger than 2 GiB: it cannot be given one of its tensors' names.",
        next_step="Convert it again with a serving_default signature.",
        file=path,
    )


def _by_position(tensors: Mapping[str, Any], positional: list[Any]) -> dict[str, Any]:
    """The signature's tensors in the subgraph's order; names that share a tensor stay together."""
    order = {int(details["index"]): k for k, details in enumerate(positional)}
    return dict(sorted(tensors.items(), key=lambda item: order.get(int(item[1]["index"]), len(order))))


def _specs(tensors: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    result = []
    for name, details in tensors.items():
        declared = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
        shape = base.dimensions(name, tuple(int(size) for size in declared))
        result.append(TensorSpec(name, shape, np.dtype(details["dtype"]).name))
    return tuple(result)
