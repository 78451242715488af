"""TFLite in reduced precisions, made from the finished float32 file by ai-edge-quantizer. No TensorFlow is loaded.

Recipes are ordered rules `(regex over an operation's output names, operation, algorithm, settings)`; the last that fits
an operation counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.arrays import Array
from converters.compat.patch import is_our_mistake, misused
from converters.errors import StepError, UnsupportedError, words_of
from converters.formats import Precision
from converters.signature import SIGNATURE_KEY, Signature, TensorSpec
from converters.writers.integers import WITH_INTEGERS, without_integers
from converters.writers.tflite.buffers import buffers_apart
from converters.writers.tflite.io import IO_TYPES, integer_ends, repaired, with_sizes, without_sizes
from converters.writers.tflite.outputs import STAY_FLOAT, outputs_apart, outputs_together
from converters.writers.tflite.tables import graph_count, has_scales

Rule = dict[str, Any]

CONVERSION_PATH = "ai-edge-quantizer"
_MADE_FOR = "0.10.0"
_STATIC = frozenset({Precision.INT8, Precision.INT16X8})
_BATCH_BYTES = 4 << 20
_BLOCK = 32


class TfliteSource:
    """A float32 `.tflite` file that further precisions are made from; it is calibrated once for all of them.

    Args:
        calibration: arrays by input name, samples first; empty where no precision needs any.
    """

    def __init__(self, path: Path, signature: Signature, calibration: Mapping[str, Array], threads: int = 2) -> None:
        self._path, self._signature, self._calibration, self._threads = path, signature, calibration, threads
        self._ranges: dict[str, Any] | None = None

    def write(self, precision: Precision, path: Path, *, io: str = "float", keep: Sequence[str] = ()) -> Signature:
        """Writes `path` and returns its signature, which differs from the source's where `io` is an integer type.

        Args:
            io: `float`, `int8` or `uint8`: what a fully quantized file takes and gives.
            keep: operations, by the names of their output tensors, that stay float.

        Raises:
            UnsupportedError: the quantizer cannot make this precision of this model.
            MisfitError: edgeport's own code does not go with this quantizer.
        """
        try:
            recipe = _recipe(precision, self._path, keep)
            content = self._static(recipe) if precision in _STATIC else self._quantized(str(self._path), recipe)
        except (ValueError, LookupError, RuntimeError, TypeError) as cause:
            if is_our_mistake(cause):
                raise misused(cause, "ai_edge_quantizer", _MADE_FOR) from cause
            text = words_of(cause)
            raise UnsupportedError(
                f"ai-edge-quantizer cannot make {precision.value} of this model ({type(cause).__name__}: {text}).",
                next_step=f"Leave {precision.value} out for tflite, or replace the layer that it names.",
                step="convert",
            ) from cause
        if precision in WITH_INTEGERS and not keep and not has_scales(content):
            raise without_integers(precision, "LiteRT")
        if precision is Precision.INT8 and io != "float":
            content = integer_ends(content, io, self._calibrated())
        path.write_bytes(content)
        return _integer_signature(self._signature, IO_TYPES[io] if precision is Precision.INT8 else None)

    def _static(self, recipe: list[Rule]) -> bytes:
        """The file with integer activations. The quantizer is given it as it can work with it."""
        apart = outputs_apart(self._path)
        sizes = self._sizes()
        given: str | bytearray = apart or str(self._path)
        if sizes:
            given = with_sizes(apart or self._path.read_bytes(), sizes)
        content = self._quantized(given, recipe)
        content = outputs_together(content) if apart else content
        return without_sizes(content) if sizes else content

    def _quantized(self, given: str | bytearray, recipe: list[Rule]) -> bytes:
        from ai_edge_quantizer import quantizer

        maker = quantizer.Quantizer(buffers_apart(given) or given)
        maker.load_quantization_recipe(recipe)
        result = maker.quantize(self._calibrated() if maker.need_calibration else None)
        return repaired(bytes(result.quantized_model))

    def _sizes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample by input, where more than the batch is unknown in the file."""
        known = all(isinstance(size, int) for spec in self._signature.inputs for size in spec.shape[1:])
        return {} if known else {name: (1, *array.shape[1:]) for name, array in self._calibration.items()}

    def _calibrated(self) -> dict[str, Any]:
        """The minimum and maximum of every tensor over all samples: neither order nor batch size changes them.

        The quantizer's own default is a moving average, which forgets the first samples.
        """
        if self._ranges is None:
            from ai_edge_quantizer import calibrator, recipe_manager
            from ai_edge_quantizer.utils import qsv_utils

            manager = recipe_manager.RecipeManager()
            manager.load_quantization_recipe(_integers(8))
            key = _signature_key(self._path)
            sizes = self._sizes()
            measure = calibrator.Calibrator(
                with_sizes(self._path.read_bytes(), sizes) if sizes else str(self._path),
                num_threads=self._threads,
                mode=self._calibration_mode(),
                qsv_update_func=qsv_utils.min_max_update,
            )
            try:
                measure.calibrate({key: self._batches()}, manager)
            except (ValueError, RuntimeError, KeyError) as cause:
                raise StepError(
                    f"The float32 TFLite file failed on the calibration data ({words_of(cause)}).",
                    next_step="Check the calibration data's shapes, or leave the calibrated precisions out.",
                    step="calibrate",
                ) from cause
            self._ranges = measure.get_model_qsvs()
        return self._ranges

    def _calibration_mode(self) -> Any:
        """Every tensor is read after the run, which has no tensors of a loop's body: those are seen by a profiler."""
        from ai_edge_quantizer.calibrator import CalibrationMode as Mode

        looped = graph_count(self._path) > 1
        return Mode.CALIBRATION_PROFILER_BASED if looped else Mode.CALIBRATION_PRESERVE_ALL_TENSORS

    def _batches(self) -> list[dict[str, Array]]:
        """Few samples at a time: the interpreter keeps every tensor of a batch in memory while it calibrates."""
        count = min(len(array) for array in self._calibration.values())
        fixed = _fixed_batch(self._path)
        row = sum(array[:1].nbytes for array in self._calibration.values())
        size = fixed or max(1, min(32, _BATCH_BYTES // max(1, row)))
        return [
            {name: np.ascontiguousarray(array[k : k + size]) for name, array in self._calibration.items()}
            for k in range(0, count - (count % size if fixed else 0), size)
        ]


def _integer_signature(signature: Signature, dtype: str | None) -> Signature:
    """The signature of a file whose float inputs and outputs became integers; None leaves all as they are."""
    if dtype is None:
        return signature

    def of(spec: TensorSpec) -> TensorSpec:
        return TensorSpec(spec.name, spec.shape, dtype) if spec.dtype == "float32" else spec

    return replace(signature, inputs=tuple(map(of, signature.inputs)), outputs=tuple(map(of, signature.outputs)))


def _recipe(precision: Precision, path: Path, keep: Sequence[str]) -> list[Rule]:
    if precision is Precision.FLOAT16:
        rules = [
            _rule(
                ".*",
                "*",
                {
                    "weight_tensor_config": _tensor(16, dtype="FLOAT"),
                    "compute_precision": "FLOAT",
                    "explicit_dequantize": True,
                },
                "float_casting",
            )
        ]
    elif precision in _STATIC:
        rules = _integers(8 if precision is Precision.INT8 else 16)
        rules += [_float_rule(".*", "INPUT"), _float_rule(".*", "OUTPUT"), _float_rule(STAY_FLOAT, "*")]
    else:
        rules = [_dynamic(".*", "*", 8 if precision is Precision.DYNAMIC_INT8 else 4, "CHANNELWISE")]
        if precision is Precision.DYNAMIC_INT4_B32:
            wide = _divisible_layers(path)
            if not wide:
                raise UnsupportedError(
                    f"No dense layer of this model has a multiple of {_BLOCK} inputs to quantize in blocks.",
                    next_step="Ask for dynamic_int4, which scales each channel.",
                    step="convert",
                )
            rules += [_dynamic(f"^{re.escape(name)};?$", "FULLY_CONNECTED", 4, f"BLOCKWISE_{_BLOCK}") for name in wide]
    return rules + [_float_rule(f"^{re.escape(name)};?$", "*") for name in keep]


def _integers(bits: int) -> list[Rule]:
    """Activations in `bits` bits, weights in 8: symmetric by channel; 16-bit activations are symmetric too."""
    activation = _tensor(bits, symmetric=bits == 16)
    weight = _tensor(8, granularity="CHANNELWISE")
    return [
        _rule(
            ".*",
            "*",
            {
                "activation_tensor_config": activation,
                "weight_tensor_config": weight,
                "compute_precision": "INTEGER",
                "explicit_dequantize": False,
            },
        )
    ]


def _dynamic(regex: str, operation: str, bits: int, granularity: str) -> Rule:
    weight = _tensor(bits, granularity=granularity)
    return _rule(
        regex, operation, {"weight_tensor_config": weight, "compute_precision": "INTEGER", "explicit_dequantize": False}
    )


def _tensor(bits: int, *, symmetric: bool = True, granularity: str = "TENSORWISE", dtype: str = "INT") -> Rule:
    return {"num_bits": bits, "symmetric": symmetric, "granularity": granularity, "dtype": dtype}


def _rule(regex: str, operation: str, settings: Rule, algorithm: str = "min_max_uniform_quantize") -> Rule:
    return {"regex": regex, "operation": operation, "algorithm_key": algorithm, "op_config": settings}


def _float_rule(regex: str, operation: str) -> Rule:
    return _rule(regex, operation, {}, "no_quantize")


def _divisible_layers(path: Path) -> list[str]:
    """Output names of the dense layers whose weights divide into blocks."""
    from converters.readers.tflite_graph import read_tflite_graph

    return [
        ";".join(t.name for t in op.outputs)
        for op in read_tflite_graph(path)
        if op.kind == "FULLY_CONNECTED" and (op.inputs[1].shape[-1] or 0) % _BLOCK == 0
    ]


def _interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path))


def _signature_key(path: Path) -> str:
    keys = list(_interpreter(path).get_signature_list())
    return SIGNATURE_KEY if SIGNATURE_KEY in keys else str(keys[0])


def _fixed_batch(path: Path) -> int | None:
    """The batch size that the file fixes; None where it is free."""
    shapes = [details["shape_signature"] for details in _interpreter(path).get_input_details()]
    sizes = {int(shape[0]) for shape in shapes if len(shape)}
    return sizes.pop() if len(sizes) == 1 and -1 not in sizes else None
