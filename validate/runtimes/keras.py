"""The checkpoint itself, whatever its kind, as a traced function in inference mode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from converters.arrays import Array, Arrays, as_array
from validate.runtimes.base import DeviceUnavailableError, Runtime, RuntimeOptions, failed, ordered_inputs
from validate.runtimes.batching import run_in_fixed_batches
from validate.runtimes.devices import Device
from validate.runtimes.saved_model import prepare_tensorflow


class KerasRuntime(Runtime):
    """A checkpoint of any kind that `converters.checkpoints` opens, run by TensorFlow.

    Raises:
        RefusedError: the checkpoint is damaged, unsafe or unsupported.
        DeviceUnavailableError: a device other than the CPU was asked for.
    """

    ordered = True
    device = Device.CPU

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions()) -> None:
        if options.device != Device.CPU:
            raise DeviceUnavailableError(
                f"{options.device} is not available to {path.name}: checkpoints run on the CPU alone.",
                next_step="Export it, and time the .onnx file on that device.",
                file=path,
            )
        from converters.checkpoints.identify import identify
        from converters.checkpoints.load_options import LoadOptions
        from converters.checkpoints.loading import load
        from converters.checkpoints.texts import texts_of

        # refused before a framework sees it
        checkpoint = options.checkpoint or identify(path, options.opening or LoadOptions())
        prepare_tensorflow(options)
        import tensorflow as tf

        self.path = path
        self.loaded = load(checkpoint)
        self.notes: tuple[str, ...] = tuple(self.loaded.notes)
        self.signature = self.loaded.signature
        self.texts = texts_of(self.loaded)
        self._function = tf.function(self.loaded.function, reduce_retracing=True)

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        import tensorflow as tf

        feeds = ordered_inputs(self.signature, inputs, self.path)

        def call(arrays: Arrays) -> Arrays:
            try:
                results = self._function([tf.constant(array) for array in arrays.values()])
            except Exception as cause:
                failed(self.path, cause)
            return {
                name: as_array(result.numpy())
                for name, result in zip(self.signature.output_names, results, strict=True)
            }

        return run_in_fixed_batches(self.signature, feeds, call)
