"""LiteRT's CompiledModel: the newer of its two interfaces, with tensor buffers instead of an interpreter's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.signature import SIGNATURE_KEY, Signature
from validate.runtimes import base
from validate.runtimes.base import Prepared, Runtime, RuntimeOptions
from validate.runtimes.devices import Device
from validate.runtimes.tflite import TfliteRuntime, with_signature


class CompiledModelRuntime(Runtime):
    """A `.tflite` file in LiteRT's CompiledModel on the CPU; the interpreter reads its signature.

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
                f"{options.device} is not available to {path.name}: LiteRT's accelerators are for phones.",
                next_step="Time the .onnx file on that device.",
                file=path,
            )
        self.path = path
        content, self.notes = with_signature(path, options, content)
        self.signature: Signature = TfliteRuntime(path, options, content).signature
        try:
            self._model = _open(path, content, options.threads)
            keys = list(self._model.get_signature_list())
        except Exception as cause:
            base.damaged(path, "a TFLite model", cause)
        self._key = SIGNATURE_KEY if SIGNATURE_KEY in keys else keys[0]
        self._sizes: tuple[tuple[int, ...], ...] = ()
        self._buffers: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def prepared(self, feed: Arrays) -> Prepared:
        """Writes the inputs, runs, and reads the outputs."""
        self._resize(feed)
        inputs, outputs = self._buffers
        shapes = self._output_shapes()
        model, key = self._model, self._key
        writes = [(inputs[name].write, array) for name, array in feed.items()]
        reads = [
            (outputs[spec.name].read, int(np.prod(shapes[spec.name])), np.dtype(spec.dtype).type)
            for spec in self.signature.outputs
        ]

        def run() -> list[Array]:
            for write, array in writes:
                write(array)
            model.run_by_name(key, inputs, outputs)
            return [read(count, dtype) for read, count, dtype in reads]

        def results_by_name(results: list[Array]) -> Arrays:
            names = self.signature.output_names
            return {name: np.asarray(r).reshape(shapes[name]) for name, r in zip(names, results, strict=True)}

        return run, results_by_name

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        call, named = self.prepared(base.ordered_inputs(self.signature, inputs, self.path))
        try:
            return named(call())
        except Exception as cause:
            base.failed(self.path, cause)

    def _resize(self, feed: Arrays) -> None:
        """Buffers for these shapes; made once as long as the shapes stay."""
        sizes = tuple(array.shape for array in feed.values())
        if sizes == self._sizes:
            return
        try:
            for spec in self.signature.inputs:
                if any(isinstance(d, str) for d in spec.shape):
                    self._model.resize_input_tensor_by_name(self._key, spec.name, list(feed[spec.name].shape))
            self._buffers = (
                {n: self._model.create_input_buffer_by_name(self._key, n) for n in self.signature.input_names},
                {n: self._model.create_output_buffer_by_name(self._key, n) for n in self.signature.output_names},
            )
        except Exception as cause:
            base.failed(self.path, cause)
        self._sizes = sizes

    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        details = self._model.get_output_tensor_details(self._key)
        return {name: tuple(int(d) for d in details[name]["shape"]) for name in self.signature.output_names}


def _open(path: Path, content: bytes | None, threads: int) -> Any:
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import CpuOptions, Options

    cpu = CpuOptions(num_threads=threads)
    options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=cpu)
    if content is not None:
        return CompiledModel.from_buffer(content, options=options)
    return CompiledModel.from_file(str(path), options=options)
