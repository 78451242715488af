"""TensorFlow: SavedModel folders by their `serving_default` signature, or another that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.arrays import Array, Arrays, as_array
from converters.checkpoints.quick import import_keras
from converters.checkpoints.texts import texts_of_signature
from converters.errors import RefusedError, StepError, UsageError
from converters.signature import SIGNATURE_KEY, Signature, TensorSpec
from validate.runtimes import base
from validate.runtimes.base import Runtime, RuntimeOptions
from validate.runtimes.batching import run_in_fixed_batches
from validate.runtimes.devices import Device


class SavedModelRuntime(Runtime):
    """A SavedModel folder, restored without the code that made it.

    Raises:
        RefusedError: the folder is damaged or has no usable signature.
        DeviceUnavailableError: the device is not there, or is none of TensorFlow's.
    """

    ordered = False

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions()) -> None:
        prepare_tensorflow(options)
        self.path, self.device = path, options.device
        self.notes: tuple[str, ...] = ()
        self._tf_device = _device(path, options)
        self._loaded, self.function = load_signature(path, options.key)
        _, inputs = self.function.structured_input_signature
        self.signature = Signature(
            tuple(_spec(name, spec) for name, spec in inputs.items()),
            tuple(_spec(name, spec) for name, spec in _by_name(self.function.structured_outputs).items()),
        )
        self.texts = texts_of_signature(self.signature, self.function)

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        feeds = base.ordered_inputs(self.signature, inputs, self.path)
        return run_in_fixed_batches(self.signature, feeds, self._run)

    def _run(self, feeds: Arrays) -> Arrays:
        import tensorflow as tf

        try:
            with tf.device(self._tf_device):
                results = _by_name(self.function(**{k: tf.constant(v) for k, v in feeds.items()}))
        except Exception as cause:
            base.failed(self.path, cause)
        return {name: as_array(results[name].numpy()) for name in self.signature.output_names}


def prepare_tensorflow(options: RuntimeOptions) -> None:
    """Sets TensorFlow's thread pools; must come before its first operation.

    Raises:
        StepError: this process has used TensorFlow already, with other pools.
    """
    import_keras()
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as cause:
        raise StepError(
            f"TensorFlow already runs in this process with {tf.config.threading.get_intra_op_parallelism_threads()} "
            f"threads, not {options.threads}.",
            next_step="Use a worker of its own for each number of threads.",
        ) from cause


def load_signature(path: Path, key: str | None = None) -> tuple[Any, Any]:
    """The restored object (keep it alive: it owns the weights) and its serving function; of several that of `key`.

    Raises:
        RefusedError: the folder is damaged or has no signature.
        UsageError: it has several, and none is meant.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
        signatures = loaded.signatures
    except Exception as cause:
        base.damaged(path, "a SavedModel", cause)
    keys = list(signatures)
    wanted = keys[0] if len(keys) == 1 else key or SIGNATURE_KEY
    if wanted in keys:
        return loaded, signatures[wanted]
    if not keys:
        raise RefusedError(
            f"{path} has no signature.", next_step="Save it again with a serving_default signature.", file=path
        )
    raise UsageError(
        f"{path} has several signatures and none is called {wanted}; it has: {', '.join(sorted(keys))}.",
        next_step="Choose one of these with --signature NAME.",
        file=path,
    )


def _device(path: Path, options: RuntimeOptions) -> str:
    import tensorflow as tf

    if options.device == Device.CPU:
        return "/CPU:0"
    if options.device == Device.CUDA and tf.config.list_physical_devices("GPU"):
        return "/GPU:0"
    cause = "TensorFlow sees no GPU" if options.device == Device.CUDA else "TensorFlow cannot run a SavedModel on it"
    raise base.DeviceUnavailableError(
        f"{options.device} is not available to {path.name}: {cause}.",
        next_step="Install edgeport[tensorflow-cuda] in an environment of its own, or time the .onnx file.",
        file=path,
    )


def _by_name(outputs: Any) -> dict[str, Any]:
    return dict(outputs) if isinstance(outputs, Mapping) else {}


def _spec(name: str, spec: Any) -> TensorSpec:
    rank = spec.shape.rank
    sizes = () if rank is None else tuple(spec.shape.as_list())
    return TensorSpec(name, base.dimensions(name, sizes), spec.dtype.name)
