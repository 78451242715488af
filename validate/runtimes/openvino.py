"""OpenVINO: `.onnx` and `.tflite` files on the CPU, in float32 or in what OpenVINO takes for this processor.

Told nothing, it computes float32 files in bfloat16 or half precision where the processor has instructions for that
(INFERENCE_PRECISION_HINT, https://docs.openvino.ai). `arithmetic` says what came of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array, Arrays
from converters.checkpoints.parts import parts_of
from converters.errors import RefusedError
from converters.formats import Format, format_of
from converters.readers.tflite_file import read_tflite
from converters.readers.tflite_quantization import read_end_quantization
from converters.readers.tflite_signed import signed
from converters.signature import Signature, TensorSpec
from validate.runtimes import base
from validate.runtimes.base import Prepared, Runtime, RuntimeOptions
from validate.runtimes.batching import run_in_fixed_batches
from validate.runtimes.devices import Arithmetic, Device

INSTALL = "pip install 'edgeport[openvino]'"
_FRONT_ENDS = {Format.ONNX: "onnx", Format.TFLITE: "tflite"}
_ARITHMETICS = {"f16": Arithmetic.FLOAT16, "bf16": Arithmetic.BFLOAT16, "f32": None}
_DTYPES = {
    "f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16", "boolean": "bool", "string": "str",
    **{f"{s}{n}": f"{word}{n}" for s, word in (("i", "int"), ("u", "uint")) for n in (8, 16, 32, 64)},
}  # fmt: skip


class OpenVinoRuntime(Runtime):
    """A file compiled by OpenVINO for the CPU.

    Args:
        path: the file.
        content: runs these bytes instead of the file's.

    Raises:
        RefusedError: the file is damaged, or holds what OpenVINO does not read.
        DeviceUnavailableError: the package is not installed.
    """

    ordered = True
    device = Device.OPENVINO
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, options: RuntimeOptions = RuntimeOptions(), content: bytes | None = None) -> None:
        self.path = path
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": options.threads}
        if options.float32:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        core = _core()
        if content is None and path.suffix == ".tflite":
            content = signed(path, options.key).content
        with tempfile.TemporaryDirectory() as folder:
            file = path
            if content is not None:
                file = Path(folder) / path.name
                file.write_bytes(content)
                for part in parts_of(path)[1:]:  # weights in files of their own are looked for beside the model
                    (Path(folder) / part.name).symlink_to(part.absolute())
            try:
                model = _read(file)
                self._compiled = core.compile_model(model, "CPU", settings)
                names = _names(file, model)
            except Exception as cause:
                raise _refused(path, cause) from cause
            self.quantization = read_end_quantization(file) if path.suffix == ".tflite" else {}
        inputs, outputs = names
        self.signature = Signature(
            tuple(_spec(name, port) for name, port in zip(inputs, model.inputs, strict=True)),
            tuple(_spec(name, port) for name, port in zip(outputs, model.outputs, strict=True)),
        )
        self.arithmetic = _arithmetic(self._compiled)
        self._request = self._compiled.create_infer_request()

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        feeds = base.ordered_inputs(self.signature, inputs, self.path)
        return run_in_fixed_batches(self.signature, feeds, self._run)

    def prepared(self, feed: Arrays) -> Prepared:
        """Infers with the caller's arrays as they lie in memory; OpenVINO's own copy of the results is part of it."""
        by_index = dict(enumerate(feed.values()))
        return partial(self._request.infer, by_index, share_inputs=True), self._by_name

    def refuses(self, feeds: Arrays) -> bool:
        return base.turned_away(self._run, base.ordered_inputs(self.signature, feeds, self.path))

    def _run(self, feeds: Arrays) -> Arrays:
        try:
            results = self._request.infer(dict(enumerate(feeds.values())), share_inputs=True)
        except Exception as cause:
            base.failed(self.path, cause)
        return self._by_name(results)

    def _by_name(self, results: Any) -> Arrays:
        """The results in the signature's order. A file may name one tensor twice: results are looked up by place."""
        return {name: np.asarray(results[k]) for k, name in enumerate(self.signature.output_names)}


def default_arithmetic() -> Arithmetic | None:
    """What OpenVINO computes float32 files in on this processor, told nothing; None is float32. Raises as `_core`."""
    return _arithmetic(_core(), "CPU")


def _core() -> Any:
    """OpenVINO. Raises DeviceUnavailableError where it is not installed."""
    try:
        import openvino
    except ImportError as cause:
        raise base.DeviceUnavailableError(
            f"openvino is not available: the package is not installed ({cause}).", next_step=f"Run {INSTALL}."
        ) from cause
    return openvino.Core()


def _refused(path: Path, cause: Exception) -> RefusedError:
    """What OpenVINO says in its last line; the lines before it are places in its source."""
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return RefusedError(
        f"{path.name} is not read by OpenVINO: {lines[-1].strip()[:300] if lines else type(cause).__name__}",
        next_step="Ship another artifact of the model there, or the same in another format.",
        file=path,
    )


def _read(file: Path) -> Any:
    """The model, read by the front end of its format alone: none guesses at bytes that may be hostile."""
    from openvino.frontend import FrontEndManager

    front_end = FrontEndManager().load_by_framework(_FRONT_ENDS[format_of(file) or Format.ONNX])
    return front_end.convert(front_end.load(str(file)))


def _names(file: Path, model: Any) -> tuple[list[str], list[str]]:
    """The names of the inputs and outputs in the model's order: a `.tflite` file's are those of its signature."""
    if file.suffix != ".tflite":
        return [port.any_name for port in model.inputs], [port.any_name for port in model.outputs]
    signature = read_tflite(file).signature()
    if signature is None:
        raise ValueError("it has several signatures and none is the default")
    inputs, outputs = signature.tensors
    return _matched(inputs, model.inputs), _matched(outputs, model.outputs)


def _matched(tensors: Mapping[str, str], ports: list[Any]) -> list[str]:
    """By port, the signature's name of its tensor."""
    names = {tensor: name for name, tensor in tensors.items()}
    if len(names) != len(tensors) or len(ports) != len(names):
        raise ValueError("several names of its signature are one tensor, which OpenVINO has once")
    return [next(names[name] for name in port.names if name in names) for port in ports]


def _spec(name: str, port: Any) -> TensorSpec:
    shape = port.partial_shape
    sizes = tuple(d.get_length() if d.is_static else None for d in shape) if shape.rank.is_static else ()
    return TensorSpec(name, base.dimensions(name, sizes), _DTYPES[port.element_type.get_type_name()])


def _arithmetic(owner: Any, *device: str) -> Arithmetic | None:
    return _ARITHMETICS[owner.get_property(*device, "INFERENCE_PRECISION_HINT").get_type_name()]
