"""ONNX in reduced precisions, made from the finished float32 file by ONNX Runtime's tools. No TensorFlow is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.compat.onnxruntime import MADE_FOR
from converters.compat.patch import is_our_mistake, misused
from converters.errors import StepError, UnsupportedError, words_of
from converters.formats import Precision
from converters.writers.integers import WITH_INTEGERS, without_integers
from converters.writers.onnx.order import inputs_of

CONVERSION_PATH = "onnxruntime"
METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
"""Methods that find the activations' ranges from the calibration data."""

_BATCH_BYTES = 4 << 20
_FLOAT16_MIN, _FLOAT16_MAX = 5.96e-08, 65504.0


@dataclass(frozen=True)
class OnnxQuantization:
    """Settings of int8.

    Attributes:
        device: `cpu` takes unsigned activations with signed weights; `tensorrt` symmetric signed ones of both, float
            biases, and Q/DQ pairs on weights too.
        method: a key of `METHODS`.
        keep: names of nodes that stay float.
    """

    device: str = "cpu"
    method: str = "minmax"
    keep: tuple[str, ...] = ()


class OnnxSource:
    """A float32 `.onnx` file that further precisions are made from.

    Args:
        scratch: a folder for the preprocessed model and what calibration writes.
        calibration: arrays by input name, samples first; empty where no precision needs any.
    """

    def __init__(self, path: Path, scratch: Path, calibration: Mapping[str, Array]) -> None:
        self._path, self._scratch, self._calibration = path, scratch, calibration
        self._prepared: Path | None = None

    def write(self, precision: Precision, path: Path, how: OnnxQuantization = OnnxQuantization()) -> None:
        """Writes `path`; inputs and outputs keep their names and stay float32.

        Raises:
            UnsupportedError: ONNX Runtime's tools cannot make this precision of this model.
            StepError: what they made is not a valid ONNX file.
            MisfitError: edgeport's own code does not go with this ONNX Runtime.
        """
        import onnx

        makers: dict[Precision, Callable[[Path, OnnxQuantization], None]] = {
            Precision.FLOAT16: self._float16,
            Precision.DYNAMIC_INT8: self._dynamic,
            Precision.INT8: self._static,
        }
        raw = self._scratch / f"raw.{precision.value}.onnx"
        try:
            makers[precision](raw, how)
        except (ValueError, LookupError, RuntimeError, TypeError, AttributeError) as cause:
            if is_our_mistake(cause):
                raise misused(cause, "onnxruntime", MADE_FOR) from cause
            text = words_of(cause)
            raise UnsupportedError(
                f"ONNX Runtime cannot make {precision.value} of this model ({type(cause).__name__}: {text}).",
                next_step=f"Leave {precision.value} out for onnx, or replace the operation that it names.",
                step="convert",
            ) from cause
        model = onnx.load(str(raw))
        raw.unlink()
        if precision in WITH_INTEGERS and not how.keep and not self._has_new_integers(model):
            raise without_integers(precision, "ONNX Runtime")
        _sort(model.graph)
        _tidy(model)
        _check(model)
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _has_new_integers(self, model: Any) -> bool:
        import onnx

        source = onnx.load(str(self._path), load_external_data=False)
        return _integers(model) > _integers(source)

    def prepared(self) -> Path:
        """The float32 model with inferred shapes and fused products, as quantization and its judges want it."""
        if self._prepared is None:
            from onnxruntime.quantization.shape_inference import quant_pre_process

            path = self._scratch / "prepared.onnx"
            # Symbolic shape inference needs sympy, and adds nothing to what ONNX itself infers of our files.
            quant_pre_process(str(self._path), str(path), skip_symbolic_shape=True)
            self._prepared = path
        return self._prepared

    def _float16(self, path: Path, how: OnnxQuantization) -> None:
        import onnx
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

        source = onnx.load(str(self._path))
        model = convert_float_to_float16(
            source,
            min_positive_val=_FLOAT16_MIN,
            max_finite_val=_FLOAT16_MAX,
            keep_io_types=True,
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_without_float16(source)],
            node_block_list=list(how.keep) or None,
        )
        _drop_repeated_casts(model.graph)
        onnx.save(model, str(path))

    def _dynamic(self, path: Path, how: OnnxQuantization) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            str(self.prepared()),
            str(path),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(how.keep),
        )

    def _static(self, path: Path, how: OnnxQuantization) -> None:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        tensorrt = how.device == "tensorrt"
        extra: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": tensorrt}
        if tensorrt:
            extra |= {"QuantizeBias": False, "AddQDQPairToWeight": True}
        quantize_static(
            str(self.prepared()),
            str(path),
            _Reader(self._feeds()),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if tensorrt else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, METHODS[how.method]),
            nodes_to_exclude=list(how.keep),
            extra_options=extra,
            **self._cache(how),
        )

    def _cache(self, how: OnnxQuantization) -> dict[str, Any]:
        """Finds ranges once for all files that are made of this source, where ONNX Runtime can keep them."""
        from onnxruntime.quantization import quantize_static

        if "calibration_cache_path" not in inspect.signature(quantize_static).parameters:
            return {}
        return {"calibration_cache_path": self._scratch / f"ranges.{how.method}.{how.device}.json"}

    def _feeds(self) -> list[dict[str, Array]]:
        """Few samples at a time: calibration gives out every activation of a batch."""
        import onnx

        inputs = onnx.load(str(self._path), load_external_data=False).graph.input
        first = inputs[0].type.tensor_type.shape.dim[0] if inputs[0].type.tensor_type.shape.dim else None
        fixed = first.dim_value if first is not None and first.HasField("dim_value") else None
        count = min(len(array) for array in self._calibration.values())
        row = sum(array[:1].nbytes for array in self._calibration.values())
        size = fixed or max(1, min(32, _BATCH_BYTES // max(1, row)))
        while not fixed and count % size:  # the histogram of calibration wants batches of one size
            size -= 1
        return [
            {name: np.ascontiguousarray(array[k : k + size]) for name, array in self._calibration.items()}
            for k in range(0, count - (count % size), size)
        ]


class _Reader:
    """Feeds for ONNX Runtime's calibration, which asks for the next one; None at the end."""

    def __init__(self, feeds: Sequence[dict[str, Array]]) -> None:
        self._feeds = list(feeds)
        self._next = 0

    def get_next(self) -> dict[str, Array] | None:
        if self._next >= len(self._feeds):
            return None
        self._next += 1
        return self._feeds[self._next - 1]

    def set_range(self, start_index: int, end_index: int) -> None:
        raise NotImplementedError("the data is small enough to be read in one go")

    def __len__(self) -> int:
        return len(self._feeds)


def _sort(graph: Any) -> None:
    """Topological order, the file's own order otherwise: conversions append what they add at the end, and overlook what
    the body of a loop reads of the graph around it."""
    ready = {value.name for value in (*graph.input, *graph.initializer)} | {""}
    waiting, ordered = list(graph.node), []
    while waiting:
        blocked = []
        for node in waiting:
            if all(name in ready for name in inputs_of(node)):
                ready.update(node.output)
                ordered.append(node)
            else:
                blocked.append(node)
        if len(blocked) == len(waiting):  # inputs from an outer graph: leave it to the checker
            ordered += blocked
            break
        waiting = blocked
    del graph.node[:]
    graph.node.extend(ordered)


def _without_float16(model: Any) -> list[str]:
    """The kinds of its operations that ONNX defines for float32 and not for float16 in the opset of this file."""
    from onnx import defs

    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    kinds = sorted({node.op_type for node in model.graph.node if node.domain == "" and defs.has(node.op_type)})
    return [kind for kind in kinds if _is_for_float32_alone(defs.get_schema(kind, opset))]


def _is_for_float32_alone(schema: Any) -> bool:
    """By its first input; what others want beside it, as Resize its scales, the converter knows."""
    types = schema.inputs[0].types if schema.inputs else ()
    return "tensor(float)" in types and "tensor(float16)" not in types


def _drop_repeated_casts(graph: Any) -> None:
    """Where several operations that stay in float32 read one value, each brings the same cast, under the same name."""
    seen: set[bytes] = set()
    for node in list(graph.node):
        if node.op_type == "Cast":
            content = node.SerializeToString(deterministic=True)
            if content in seen:
                graph.node.remove(node)
            seen.add(content)


def _integers(model: Any) -> int:
    """How many of its constants are of eight bits: weights, or the zero points of activations."""
    from onnx import TensorProto

    return sum(t.data_type in {TensorProto.INT8, TensorProto.UINT8} for t in model.graph.initializer)


def _tidy(model: Any) -> None:
    """Only the operator sets that are used, and the producer that wrote the float32 file."""
    used = {node.domain for node in model.graph.node} | {""}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    model.producer_name, model.producer_version = "edgeport", ""
    del model.metadata_props[:]


def _check(model: Any) -> None:
    from onnx import checker

    try:
        checker.check_model(model, full_check=False)
    except checker.ValidationError as cause:
        raise StepError(
            f"The quantized ONNX graph is not valid ({str(cause).splitlines()[0]}).",
            next_step="Report this model's architecture; leave the precision out for onnx meanwhile.",
            step="convert",
        ) from cause
