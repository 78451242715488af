"""Files whose float inputs or outputs became integers (`--io int8`): fed and read in the checkpoint's own numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from converters.arrays import Array, Arrays
from converters.signature import Signature, TensorSpec
from validate.runtimes.base import Runtime


class FloatEnds(Runtime):
    """A runtime whose integer ends are floats to its caller.

    A device does the same: it divides by the scale and rounds, which is part of what the precision costs.

    Args:
        floats: the names that are floats in the checkpoint; those that are integers with a scale here are converted.

    Attributes:
        ends: the names that are converted.
    """

    def __init__(self, runtime: Runtime, floats: Collection[str]) -> None:
        self._runtime = runtime
        self.device, self.ordered = runtime.device, runtime.ordered
        specs = (*runtime.signature.inputs, *runtime.signature.outputs)
        self.ends = {s.name for s in specs if s.name in floats and s.name in runtime.quantization and "int" in s.dtype}
        self.notes = (*runtime.notes, *(self._note(s) for s in specs if s.name in self.ends))
        self.signature = Signature(
            tuple(map(self._float_spec, runtime.signature.inputs)),
            tuple(map(self._float_spec, runtime.signature.outputs)),
        )

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        return self.in_floats(self._runtime.run(self.in_codes(inputs)))

    def in_codes(self, inputs: Mapping[str, Array]) -> Arrays:
        """The inputs as the file takes them."""
        result = dict(inputs)
        for spec in self._runtime.signature.inputs:
            if spec.name in self.ends:
                scale, zero_point = self._runtime.quantization[spec.name]
                limits = np.iinfo(spec.dtype)
                codes = np.rint(np.asarray(inputs[spec.name], dtype=np.float64) / scale) + zero_point
                result[spec.name] = np.clip(codes, limits.min, limits.max).astype(spec.dtype)
        return result

    def in_floats(self, outputs: Mapping[str, Array]) -> Arrays:
        """The outputs as the numbers that their codes stand for."""
        return {k: dequantized(self._runtime, k, v) if k in self.ends else v for k, v in outputs.items()}

    def _float_spec(self, spec: TensorSpec) -> TensorSpec:
        return TensorSpec(spec.name, spec.shape, "float32") if spec.name in self.ends else spec

    def _note(self, spec: TensorSpec) -> str:
        scale, zero_point = self._runtime.quantization[spec.name]
        return f"{spec.name} is {spec.dtype} (scale {scale:.6g}, zero point {zero_point})"


def dequantized(runtime: Runtime, name: str, values: Array) -> Array:
    """Integer codes of a quantized file's tensor as the numbers they stand for; other values as they are."""
    if values.dtype.kind not in "iu" or name not in runtime.quantization:
        return values
    scale, zero_point = runtime.quantization[name]
    numbers: Array = ((values.astype(np.int64) - zero_point) * scale).astype(np.float32)
    return numbers
