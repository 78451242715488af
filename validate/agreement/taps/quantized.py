"""Files whose float inputs or outputs became integers (`--io int8`): fed and read in the checkpoint's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.signature import Signature, TensorSpec
from validate.agreement.taps import Tapped, dequantized
from validate.runtimes.base import Array, Arrays


def in_floats(tapped: Tapped, reference: Signature) -> Tapped:
    """The same file behind float ends, where the reference has floats and the file has integers with a scale.

    A device does the same: it divides by the scale and rounds, which is part of what the precision costs.
    """
    scaled = set(getattr(tapped.runtime, "quantization", {}))
    floats = {s.name for s in (*reference.inputs, *reference.outputs) if s.dtype.startswith("float")}
    signature = tapped.runtime.signature
    ends = {
        s.name for s in (*signature.inputs, *signature.outputs) if s.name in scaled & floats and "int" in s.dtype
    }
    return _FloatEnds(tapped, ends) if ends else tapped


class _FloatRuntime:
    """What the structure check reads of a runtime, with float ends."""

    def __init__(self, runtime: Any, ends: set[str]) -> None:
        self._runtime, self._ends = runtime, ends
        self.device, self.ordered = runtime.device, runtime.ordered
        signature = runtime.signature
        told = sorted(
            f"{s.name} is {s.dtype} (scale {runtime.quantization[s.name][0]:.6g}, "
            f"zero point {runtime.quantization[s.name][1]})"
            for s in (*signature.inputs, *signature.outputs)
            if s.name in ends
        )
        self.notes: tuple[str, ...] = (*runtime.notes, *told)
        self.signature = Signature(*(
            tuple(TensorSpec(s.name, s.shape, "float32" if s.name in ends else s.dtype) for s in side)
            for side in (signature.inputs, signature.outputs)
        ))  # fmt: skip

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        outputs: Arrays = self._runtime.run(self.quantized(inputs))
        return self.floats(outputs)

    def quantized(self, inputs: Mapping[str, Array]) -> Arrays:
        result = dict(inputs)
        for spec in self._runtime.signature.inputs:
            if spec.name in self._ends:
                scale, zero_point = self._runtime.quantization[spec.name]
                limits = np.iinfo(spec.dtype)
                codes = np.rint(np.asarray(inputs[spec.name], dtype=np.float64) / scale) + zero_point
                result[spec.name] = np.clip(codes, limits.min, limits.max).astype(spec.dtype)
        return result

    def floats(self, outputs: Mapping[str, Array]) -> Arrays:
        return {k: dequantized(self._runtime, k, v) if k in self._ends else v for k, v in outputs.items()}


class _FloatEnds:
    def __init__(self, tapped: Tapped, ends: set[str]) -> None:
        self._tapped = tapped
        self.runtime = _FloatRuntime(tapped.runtime, ends)
        self.kinds = tapped.kinds

    def run(self, inputs: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        outputs, logits = self._tapped.run(self.runtime.quantized(inputs))
        return self.runtime.floats(outputs), logits
